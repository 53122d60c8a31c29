//! What a file is that was given in the wrong place, and which file was probably meant: the second half of an error.
//!
//! Nothing here reads a file for its content; a command has tried that already, and failed.

use super::Failure;
use crate::capture::{CaptureError, Input};
use crate::policy::hint::nearest;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// What a command wanted a file for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// A capture.
    Capture,
    /// A scenario.
    Scenario,
    /// The settings of boxes, behind `--box @`.
    Boxes,
    /// What a machine shows of itself.
    Texts,
    /// Recordings of kernels.
    Recordings,
    /// Rows of segments or flows, or what is known of an archive.
    Rows,
}

/// What a file is by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Is {
    Directory,
    Empty,
    Capture,
    /// Compressed, so that nothing is known.
    Packed,
    Scenario,
    Json,
    Text,
    Other,
}

/// Why a file cannot be read, with the file that was probably meant, or what to do with this one.
pub fn unreadable(path: &Path, error: &io::Error, wanted: Wanted) -> Failure {
    Failure(format!("{}: {}", path.display(), why(path, error, wanted)))
}

/// The same without the file's name.
pub fn why(path: &Path, error: &io::Error, wanted: Wanted) -> String {
    match error.kind() {
        ErrorKind::NotFound => match near(path) {
            Some(near) => format!("no such file; did you mean '{near}'?"),
            None => "no such file; check the path".to_owned(),
        },
        ErrorKind::PermissionDenied => "permission denied; check who may read it".to_owned(),
        _ => hint(path, wanted).unwrap_or_else(|| format!("cannot be read: {error}")),
    }
}

/// Why a file cannot be written.
pub fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let folder = path.parent().filter(|folder| error.kind() == ErrorKind::NotFound && !folder.exists());
    Failure(match folder {
        Some(folder) => format!("{}: cannot be written: there is no directory '{}'", path.display(), folder.display()),
        None => format!("{}: cannot be written: {}", path.display(), super::outlet::reason(error)),
    })
}

/// The same for captures, of which the error names the one that is wrong.
pub fn no_capture(error: &CaptureError, inputs: &[Input]) -> Failure {
    let (CaptureError::Unreadable { input: wrong, .. }
    | CaptureError::Directory { input: wrong }
    | CaptureError::Foreign { input: wrong, .. }
    | CaptureError::Empty { input: wrong }) = error
    else {
        return Failure(error.to_string());
    };
    let path = inputs.iter().find_map(|input| match input {
        Input::Path(path) if input.name() == *wrong => Some(path),
        _ => None,
    });
    match (path, error) {
        (Some(path), CaptureError::Unreadable { source, .. }) => unreadable(path, source, Wanted::Capture),
        // A format that is known by its name, even if it is text.
        (_, CaptureError::Foreign { what, .. }) if what.starts_with("it is") => Failure(error.to_string()),
        (Some(path), _) => match hint(path, Wanted::Capture) {
            Some(hint) => Failure(format!("{}: {hint}", path.display())),
            None => Failure(error.to_string()),
        },
        _ => Failure(error.to_string()),
    }
}

/// What a file is that is not what was wanted, and which command takes it. Nothing where it may be what was wanted.
pub fn hint(path: &Path, wanted: Wanted) -> Option<String> {
    let name = path.display();
    let is = look(path)?;
    let is_capture = || format!("is a capture: flowlapse replay {name} --box conntrack");
    let is_scenario = || format!("is a scenario: flowlapse run {name}");
    Some(match (is, wanted) {
        // What is what it should be; a table that may well be empty, a listing that may hold anything.
        (_, Wanted::Recordings | Wanted::Rows)
        | (Is::Empty | Is::Other, Wanted::Texts)
        | (Is::Capture, Wanted::Capture)
        | (Is::Scenario, Wanted::Scenario) => return None,
        (Is::Directory, Wanted::Scenario) => format!("is a directory; name its scenarios, as in flowlapse run {}", inside(path, "*.json")),
        (Is::Directory, Wanted::Capture) => format!("is a directory; name the captures in it, as in {}", inside(path, "*.pcap")),
        (Is::Directory, _) => "is a directory; name a file in it".to_owned(),
        (Is::Empty, Wanted::Capture) => "is empty; expected pcap or pcapng (was the capture stopped before a packet came?)".to_owned(),
        (Is::Empty, _) => "is empty".to_owned(),
        (Is::Capture, Wanted::Boxes) => "is a capture, not a box: it stands without --box".to_owned(),
        (Is::Capture, Wanted::Scenario | Wanted::Texts) => is_capture(),
        (Is::Scenario, Wanted::Boxes) => format!("is a scenario, not a box (its boxes stand under 'path'): flowlapse run {name}"),
        (Is::Scenario, Wanted::Capture) => {
            format!("{}; sweep, tune, diff and capacity take it too, alone, with the ending .json", is_scenario())
        }
        (Is::Scenario, Wanted::Texts) => is_scenario(),
        (Is::Json, Wanted::Capture) => "is JSON, not a capture; boxes are given with --box @FILE".to_owned(),
        (Is::Text, Wanted::Capture) => {
            "is text, not a capture; what a machine shows of itself is for flowlapse audit, settings of a box for --box @FILE".to_owned()
        }
        (Is::Text, Wanted::Scenario) => "is text, but no JSON; a scenario is a JSON object: flowlapse run --schema".to_owned(),
        (Is::Packed, Wanted::Scenario | Wanted::Texts | Wanted::Boxes) => "is compressed; captures may be, this may not".to_owned(),
        (Is::Other, Wanted::Scenario | Wanted::Boxes) => "is no text".to_owned(),
        _ => return None,
    })
}

fn inside(path: &Path, pattern: &str) -> String {
    path.join(pattern).display().to_string()
}

fn look(path: &Path) -> Option<Is> {
    // A pipe is not looked into: that would take from it.
    let meta = fs::metadata(path).ok()?;
    if meta.is_dir() {
        return Some(Is::Directory);
    }
    if !meta.is_file() {
        return None;
    }
    let mut head = Vec::new();
    fs::File::open(path).ok()?.take(4096).read_to_end(&mut head).ok()?;
    Some(kind(&head))
}

/// Classic pcap in both orders of bytes and both units of time, and pcapng.
const CAPTURES: [[u8; 4]; 5] =
    [[0xa1, 0xb2, 0xc3, 0xd4], [0xd4, 0xc3, 0xb2, 0xa1], [0xa1, 0xb2, 0x3c, 0x4d], [0x4d, 0x3c, 0xb2, 0xa1], [0x0a, 0x0d, 0x0d, 0x0a]];

fn kind(head: &[u8]) -> Is {
    match head {
        [] => Is::Empty,
        [first, second, third, fourth, ..] if CAPTURES.contains(&[*first, *second, *third, *fourth]) => Is::Capture,
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => Is::Packed,
        _ => {
            // The head may end within a letter.
            let whole = std::str::from_utf8(head).or_else(|error| std::str::from_utf8(&head[..error.valid_up_to()]));
            let text = whole.unwrap_or_default();
            if text.is_empty() || head.len() > text.len() + 3 || text.contains('\0') {
                return Is::Other;
            }
            let is_object = text.trim_start_matches('\u{feff}').trim_start().starts_with('{');
            let has = |key: &str| text.contains(&format!("\"{key}\""));
            if is_object && (has("script") || has("population") || has("client") && has("server")) {
                Is::Scenario
            } else if is_object || text.trim_start().starts_with('[') {
                Is::Json
            } else {
                Is::Text
            }
        }
    }
}

/// The file beside a missing one whose name is nearest to its name.
pub fn near(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    let best = nearest(wanted, names.iter().map(String::as_str)).or_else(|| {
        // The right name with another ending, or with none.
        let stem = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        let mut alike = names.iter().map(String::as_str).filter(|name| stem(name) == stem(wanted));
        alike.next().filter(|_| alike.next().is_none() && !stem(wanted).is_empty())
    })?;
    Some(folder.map_or_else(|| best.to_owned(), |folder| folder.join(best).display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        for (head, is) in [
            (&b""[..], Is::Empty),
            (b"\xd4\xc3\xb2\xa1\x02\0", Is::Capture),
            (b"\x0a\x0d\x0d\x0a\0\0", Is::Capture),
            (b"\x1f\x8b\x08", Is::Packed),
            (b"{ \"client\": {}, \"server\": {} }", Is::Scenario),
            (b"{ \"ipvs\": {} }", Is::Json),
            (b"net.ipv4.tcp_keepalive_time = 7200\n", Is::Text),
            (b"\x7fELF\x02\x01\x01\0\0\0", Is::Other),
            ("schön".as_bytes(), Is::Text),
            (&"schö".as_bytes()[..4], Is::Text),
        ] {
            assert_eq!(kind(head), is, "{head:?}");
        }
    }
}
