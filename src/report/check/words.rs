//! Words that the formats of the gate share: text from the outside made harmless, paths, counts.

pub use crate::report::plain::printable as plain;

use crate::policy::At;
use std::fmt::Write;

/// A path without `.` and without `..` behind a folder: `scenarios/../gw/x.conf` is `gw/x.conf`. No file is looked at.
pub fn path(name: &str) -> String {
    let absolute = name.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if absolute => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// A path as a part of a URI: everything but letters, digits, `-._~` and slashes is percent-encoded.
pub fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A place as people write it, harmless: `gw/90-conntrack.conf:3`.
pub fn place(at: &At) -> String {
    format!("{}:{}", plain(&path(&at.origin)), at.line)
}

/// A count with the right word.
pub fn several(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// A hash that is the same on every machine and in every version: FNV-1a over the parts, each closed by a byte that is in no text.
pub fn fingerprint(parts: &[&str]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain(std::iter::once(0xff)) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_short() {
        for (long, short) in [
            ("scenarios/../gw/x.conf", "gw/x.conf"),
            ("./a//b/./c", "a/b/c"),
            ("../a/../../b", "../../b"),
            ("/a/../../b", "/b"),
            ("a/..", "."),
            ("-", "-"),
        ] {
            assert_eq!(path(long), short, "{long}");
        }
    }

    #[test]
    fn uris_hold_nothing_special() {
        assert_eq!(uri("a b/ä:%#?[x].conf"), "a%20b/%C3%A4%3A%25%23%3F%5Bx%5D.conf");
    }

    #[test]
    fn a_fingerprint_tells_parts_apart_and_stays() {
        assert_eq!(fingerprint(&[]), "cbf29ce484222325");
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
    }
}
