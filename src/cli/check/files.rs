//! Which files a run is about: walks what was named, reads what may be of ours, and finds each capture's policy.

use crate::check::Failure;
use crate::check::discover::{self, Named, What};
use crate::policy::At;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that is run or looked at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Found {
    /// As it is called everywhere: as it was named, or below what was named, with slashes.
    pub(super) name: String,
    /// What it is.
    pub(super) what: What,
    /// Where it is.
    pub(super) path: PathBuf,
    /// The named folder that it was found in, for the search for policies.
    pub(super) root: String,
    /// Its text, where it was read.
    pub(super) text: Option<Arc<str>>,
}

/// Everything that was found.
#[derive(Default, Debug)]
pub(super) struct Files {
    /// The files, by name.
    pub(super) found: Vec<Found>,
    /// What cannot be read.
    pub(super) failures: Vec<Failure>,
    /// How many files are nothing of ours.
    pub(super) left_alone: usize,
    /// The places that were seen, so that nothing is run twice.
    seen: BTreeSet<PathBuf>,
}

/// Folders that hold what was built or fetched.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// A name with slashes, without the dot of the current folder in front and without a slash behind.
pub(super) fn slashed(path: &Path) -> String {
    let name = path.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
    let mut name = name.as_str();
    while let Some(rest) = name.strip_prefix("./") {
        name = rest.trim_start_matches('/');
    }
    let short = name.trim_end_matches('/');
    match (short, name) {
        (".", _) => String::new(),
        // The root has no other name.
        ("", "/") => "/".to_owned(),
        _ => short.to_owned(),
    }
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() || folder.ends_with('/') { format!("{folder}{name}") } else { format!("{folder}/{name}") }
}

/// Finds everything under some paths.
///
/// # Errors
/// A path that does not exist, in one line.
pub(super) fn find(paths: &[PathBuf]) -> Result<Files, String> {
    let mut files = Files::default();
    for path in paths {
        let about = fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("{}: no such file or folder; check the path", path.display()),
            _ => format!("{}: cannot be read: {error}", path.display()),
        })?;
        let name = slashed(path);
        if about.is_dir() {
            files.walk(path, &name, &name);
        } else {
            let folder = name.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
            files.file(path.clone(), name, &folder, true);
        }
    }
    files.found.sort();
    Ok(files)
}

impl Files {
    fn fail(&mut self, name: &str, line: Option<usize>, what: String) {
        let at = line.map(|line| At::new(&Arc::from(name), line));
        self.failures.push(Failure { file: name.to_owned(), at, what });
    }

    fn walk(&mut self, folder: &Path, name: &str, root: &str) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.fail(name, None, format!("{name}: cannot be read: {error}")),
        };
        let mut names: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| (entry.file_name(), entry.path()))).collect();
        names.sort();
        for (own, path) in names {
            let own = own.to_string_lossy().into_owned();
            // A link to a folder is not followed: what is behind it stands elsewhere, or here again.
            let is_folder = fs::symlink_metadata(&path).is_ok_and(|about| about.is_dir());
            if own.starts_with('.') || is_folder && SKIPPED.contains(&own.as_str()) {
                continue;
            }
            let full = joined(name, &own);
            if is_folder {
                self.walk(&path, &full, root);
            } else if fs::metadata(&path).is_ok_and(|about| about.is_file()) {
                self.file(path, full, root, false);
            }
        }
    }

    /// Takes one file. One that was named itself is looked into whatever its name is.
    fn file(&mut self, path: PathBuf, name: String, root: &str, is_named: bool) {
        if !self.seen.insert(fs::canonicalize(&path).unwrap_or_else(|_| path.clone())) {
            return;
        }
        let mut named = discover::by_name(&name);
        if is_named && named == Named::Other {
            let mut head = Vec::new();
            let read = fs::File::open(&path).and_then(|file| file.take(8).read_to_end(&mut head));
            named = if read.is_ok() && discover::is_capture(&head) { Named::Capture } else { Named::Text };
        }
        let (what, text) = match named {
            Named::Other => (What::Other, None),
            Named::Capture => (What::Capture, None),
            Named::Json | Named::Policy | Named::Text => match fs::read(&path).map(String::from_utf8) {
                Err(error) => return self.fail(&name, None, format!("{name}: cannot be read: {error}")),
                // What is no text is nothing of ours, unless its name says that it is.
                Ok(Err(_)) if named == Named::Text => (What::Other, None),
                Ok(Err(_)) => return self.fail(&name, None, format!("{name}: is no UTF-8 text")),
                Ok(Ok(text)) => match classify(named, &text, &name) {
                    Ok(what) => (what, Some(Arc::from(text))),
                    Err((line, what)) => return self.fail(&name, line, what),
                },
            },
        };
        if what == What::Other {
            if is_named {
                let what = format!("{name}: is no scenario, no capture and no policy: it sets nothing of a box");
                self.fail(&name, None, what);
            } else {
                self.left_alone += 1;
            }
            return;
        }
        self.found.push(Found { name, what, path, root: root.to_owned(), text });
    }
}

fn classify(named: Named, text: &str, name: &str) -> Result<What, (Option<usize>, String)> {
    let is_json = text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[', '"']);
    if named == Named::Json || is_json && named == Named::Policy {
        let wrong = |(line, what): (usize, String)| (Some(line), format!("{name}:{line}: is no JSON: {what}"));
        return discover::json(text).map_err(wrong);
    }
    if named == Named::Policy {
        return Ok(What::Policy);
    }
    discover::text(text, name).map_err(|error| {
        let line = if let crate::policy::Place::Line(line) = error.place { Some(line) } else { None };
        (line, error.to_string())
    })
}
