//! Text from the outside made harmless: what is not to be seen and does something all the same, in words, in JSON, in cells of tables.
//!
//! Knows no report. Whoever puts a name, a title, a comment into words calls [`printable`]; what leaves the program is looked at
//! once more where it leaves.

use std::borrow::Cow;
use std::io::{self, Write};

/// Whether a character is not to be seen but does something: control characters, line ends, the marks of writing direction, what
/// has no width.
pub const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

/// Text from the outside as one line in which nothing steers a terminal, a reader's eye or a parser: each such character becomes
/// `U+FFFD`.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect()
}

/// The sequences that colour the program's words: those of the reports and of the help, between `ESC [` and `m`.
const COLOURS: [&str; 9] = ["0", "1", "4", "31", "31;1", "32", "33", "35", "36"];

/// Whether text begins with a colour of the program; how long it is.
fn colour(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("\u{1b}[")?;
    let own = COLOURS.iter().find(|own| rest.strip_prefix(**own).is_some_and(|rest| rest.starts_with('m')))?;
    Some(own.len() + 3)
}

/// Words as they may go to a terminal, whatever was forgotten where they were put together: ends of lines stay, and colours where they are
/// wanted; every other hidden character becomes `U+FFFD`.
pub fn tamed(text: &str, coloured: bool) -> Cow<'_, str> {
    let special = |text: &str| text.bytes().position(|byte| !matches!(byte, b'\n' | b' '..=b'~'));
    let Some(mut at) = special(text) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut indent) = (text, true);
    loop {
        // Most of it is plain, and goes as it is.
        let (plain, behind) = rest.split_at(at);
        out.push_str(plain);
        let (line, begins) = plain.rsplit_once('\n').map_or((plain, false), |(_, line)| (line, true));
        indent = (indent || begins) && line.bytes().all(|byte| byte == b' ');
        let Some(c) = behind.chars().next() else { return Cow::Owned(out) };
        let own = if c == '\u{1b}' && coloured { colour(behind) } else { None };
        if let Some((sequence, after)) = own.and_then(|length| behind.split_at_checked(length)) {
            out.push_str(sequence);
            rest = after;
        } else {
            rest = &behind[c.len_utf8()..];
            let ends = c == '\r' && rest.starts_with('\n');
            // Lines to paste are indented by tabs.
            let stays = ends || c == '\t' && indent || !is_hidden(c);
            out.push(if stays { c } else { '\u{fffd}' });
            indent = indent && c == '\t';
        }
        at = special(rest).unwrap_or(rest.len());
    }
}

/// JSON in which no hidden character stands as it is: `\u202e` in its place is the same text to every reader of JSON.
pub fn json(text: &str) -> Cow<'_, str> {
    // Outside of its strings JSON is plain, and in them no control character below the blank may stand.
    let special = |text: &str| text.bytes().position(|byte| byte >= 0x7f);
    let Some(mut at) = special(text) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    loop {
        let (plain, behind) = rest.split_at(at);
        out.push_str(plain);
        let Some(c) = behind.chars().next() else { return Cow::Owned(out) };
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
        rest = &behind[c.len_utf8()..];
        at = special(rest).unwrap_or(rest.len());
    }
}

/// A sink for JSON that does the same with what is written into it. It takes whole characters, as a serialiser writes them.
#[derive(Debug)]
pub struct JsonSink<W>(pub W);

impl<W: Write> Write for JsonSink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_ascii() && !bytes.contains(&0x7f) {
            return self.0.write(bytes);
        }
        self.0.write_all(json(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A sink for words that does the same as [`tamed`], line by line.
#[derive(Debug)]
pub struct WordSink<W> {
    out: W,
    coloured: bool,
    /// What came behind the last end of a line.
    line: Vec<u8>,
}

impl<W: Write> WordSink<W> {
    /// In front of another sink.
    pub const fn new(out: W, coloured: bool) -> WordSink<W> {
        WordSink { out, coloured, line: Vec::new() }
    }

    fn pass(&mut self) -> io::Result<()> {
        let text = String::from_utf8_lossy(&self.line);
        self.out.write_all(tamed(&text, self.coloured).as_bytes())?;
        self.line.clear();
        Ok(())
    }
}

impl<W: Write> Write for WordSink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (lines, rest) = bytes.split_at(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        self.line.extend_from_slice(lines);
        if !lines.is_empty() {
            self.pass()?;
        }
        self.line.extend_from_slice(rest);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass()?;
        self.out.flush()
    }
}

/// Text from the outside as a field of CSV (RFC 4180), safe to open with a spreadsheet: what that would calculate gets a quote in
/// front.
pub fn field(text: &str) -> String {
    let plain = printable(text);
    let calculates = plain.trim_start().starts_with(['=', '+', '-', '@']) && plain.parse::<f64>().is_err() && plain != "-";
    let plain = if calculates { format!("'{plain}") } else { plain };
    if plain.contains(['"', ',']) || plain.starts_with(' ') || plain.ends_with(' ') {
        return format!("\"{}\"", plain.replace('"', "\"\""));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown() {
        let text = "a\u{1b}[31m\r\nb\u{202e}c\u{2028}\u{e0041}\u{9b}\u{200b}ä→";
        assert_eq!(printable(text), "a\u{fffd}[31m\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}\u{fffd}\u{fffd}ä→");
    }

    #[test]
    fn only_colours_of_the_program_pass_and_only_where_they_are_wanted() {
        assert_eq!(tamed("a\n \tb\tc\u{9b}", true), "a\n \tb\u{fffd}c\u{fffd}");
        let own = "\u{1b}[31;1mcut\u{1b}[0m ä\n\u{1b}[1m\u{1b}[4mUsage:\u{1b}[0m";
        assert_eq!(tamed(own, true), own);
        assert_eq!(tamed("\u{1b}[31;1mcut\u{1b}[0m", false), "\u{fffd}[31;1mcut\u{fffd}[0m");
        for foreign in
            ["\u{1b}[8m", "\u{1b}[2J", "\u{1b}]0;x\u{7}", "\u{1b}[", "\u{1b}", "\u{9b}31m", "\r", "a\t", "\u{8}", "\u{202e}", "\u{7f}"]
        {
            assert!(!tamed(foreign, true).chars().any(is_hidden), "{foreign:?}");
        }
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!({ "a\u{9b}": "\u{202e}\u{7f}\u{1b}\u{e0041}\u{feff}ä→ \\u202e" });
        let raw = value.to_string();
        let text = json(&raw);
        assert!(!text.chars().any(is_hidden), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).ok(), Some(value.clone()));
        let mut sink = JsonSink(Vec::new());
        assert!(serde_json::to_writer(&mut sink, &value).is_ok());
        assert_eq!(sink.0, text.as_bytes());
    }

    #[test]
    fn words_written_in_pieces_are_tamed_as_a_whole() {
        let text = "\u{1b}[31mcut\u{1b}[0m ä\n\u{1b}[8mx\u{202e}\r\nlast";
        for piece in 1..8 {
            let mut sink = WordSink::new(Vec::new(), true);
            assert!(text.as_bytes().chunks(piece).all(|bytes| sink.write_all(bytes).is_ok()));
            assert!(sink.flush().is_ok());
            assert_eq!(String::from_utf8(sink.out).as_deref(), Ok(&*tamed(text, true)));
        }
    }

    #[test]
    fn a_spreadsheet_calculates_nothing() {
        let fields = [("=1+1", "'=1+1"), (" @x", "' @x"), ("-3.5", "-3.5"), ("-x", "'-x"), ("a=b", "a=b"), ("\t=1", "\u{fffd}=1")];
        for (text, safe) in
            fields.into_iter().chain([("x,y", "\"x,y\""), ("=\"a\"", "\"'=\"\"a\"\"\""), ("-", "-"), ("a\nb", "a\u{fffd}b")])
        {
            assert_eq!(field(text), safe);
        }
    }
}
