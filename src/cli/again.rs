//! The command line that gives an answer again, for a page that somebody else reads.

use std::ffi::OsString;

/// Options that say where an answer goes or how fast it comes, and not what it is; each takes a value.
const LEFT_OUT: [&str; 4] = ["--html", "--threads", "--color", "--draw"];

/// The command line of this program, in words that a shell reads as they are meant, with a page of the same content as its result.
pub fn line() -> String {
    line_of(std::env::args_os().skip(1))
}

fn line_of(words: impl Iterator<Item = OsString>) -> String {
    let mut out = "flowlapse".to_owned();
    let mut words = words.map(|word| word.to_string_lossy().into_owned());
    let mut options = true;
    while let Some(word) = words.next() {
        if options && LEFT_OUT.contains(&word.as_str()) {
            words.next();
            continue;
        }
        options &= word != "--";
        let name = word.split('=').next().unwrap_or_default();
        if options && word.contains('=') && LEFT_OUT.contains(&name) {
            continue;
        }
        out.push(' ');
        out.push_str(&quoted(&word));
    }
    out.push_str(" --html page.html");
    out
}

/// A word as a shell reads it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_change_the_answer_is_left_out() {
        let words = ["replay", "a b.pcap", "--box", "ipvs:nat,tcp=900", "--html", "x.html", "--threads=3", "--filter", "host 'a'"];
        let line = line_of(words.into_iter().map(OsString::from));
        assert_eq!(line, "flowlapse replay 'a b.pcap' --box ipvs:nat,tcp=900 --filter 'host '\\''a'\\''' --html page.html");
    }
}
