//! Where in a JSON text a key stands, for complaints about what is well written and makes no sense.

/// Line and column, from 1, of the value that a path such as `events[2].fail_over` leads to, or of the last part of it that
/// exists. Nothing where the text is no JSON.
pub fn locate(text: &str, path: &str) -> Option<(usize, usize)> {
    locate_steps(text, &steps(path).collect::<Vec<_>>())
}

/// The same for a path that is given step by step, as keys with dots in them need.
pub fn locate_steps(text: &str, path: &[Step<'_>]) -> Option<(usize, usize)> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0 };
    scan.blank();
    let mut best = scan.at;
    for step in path {
        let found = match step {
            Step::Key(key) => scan.enter_key(key),
            Step::Index(index) => scan.enter_index(*index),
        };
        if found.is_none() {
            break;
        }
        best = scan.at;
    }
    let before = text.get(..best)?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    Some((line, column))
}

/// One step into a JSON text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'p> {
    /// To the value of a key.
    Key(&'p str),
    /// To an element, from 0.
    Index(usize),
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split(['.', '[']).filter(|part| !part.is_empty()).map(|part| {
        let inner = part.trim_end_matches(']');
        if part.ends_with(']') { inner.parse().map_or(Step::Key(inner), Step::Index) } else { Step::Key(inner) }
    })
}

/// A walk over text that is known to be JSON.
struct Scan<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Reads a string and returns what stands between its quotes.
    fn string(&mut self) -> Option<(usize, usize)> {
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        let from = self.at;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => break,
                _ => self.at += 1,
            }
        }
        let to = self.at;
        self.at += 1;
        Some((from, to))
    }

    /// Passes one value by.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            self.blank();
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    while self.peek().is_some_and(|b| !b.is_ascii_whitespace() && !b",]}:".contains(&b)) {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn next_or_end(&mut self, end: u8) -> Option<bool> {
        self.blank();
        match self.peek()? {
            b',' => {
                self.at += 1;
                self.blank();
                Some(true)
            }
            byte if byte == end => Some(false),
            _ => Some(true),
        }
    }

    fn enter_key(&mut self, key: &str) -> Option<()> {
        self.open(b'{')?;
        while self.next_or_end(b'}')? {
            let (from, to) = self.string()?;
            self.blank();
            self.at += 1;
            self.blank();
            if self.bytes.get(from..to) == Some(key.as_bytes()) {
                return Some(());
            }
            self.skip()?;
        }
        None
    }

    fn enter_index(&mut self, index: usize) -> Option<()> {
        self.open(b'[')?;
        let mut position = 0;
        while self.next_or_end(b']')? {
            if position == index {
                return Some(());
            }
            self.skip()?;
            position += 1;
        }
        None
    }

    fn open(&mut self, with: u8) -> Option<()> {
        self.blank();
        (self.peek()? == with).then(|| self.at += 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_key() {
        let text = "{\n  \"a\": [1, {\"b\": \"x,]\"}],\n  \"events\": [\n    {\"at\": 1},\n    {\"at\": 2, \"forget\": 9}\n  ]\n}";
        for (path, place) in [
            ("events[1].forget", (5, 25)),
            ("events[1]", (5, 5)),
            ("events[7]", (3, 13)),
            ("a[1].b", (2, 18)),
            ("none", (1, 1)),
            ("", (1, 1)),
        ] {
            assert_eq!(locate(text, path), Some(place), "{path}");
        }
        for broken in ["", "{", "[", "{\"a\"", "{\"a\":", "\"", "{\"a\":\"\\"] {
            let _ = locate(broken, "a.b[3]");
        }
    }
}
