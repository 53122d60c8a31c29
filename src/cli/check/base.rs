//! The baseline's file, and the names in it: relative to its folder, so that they are the same from wherever a run is started.

use crate::check::baseline::{self, Accepted};
use crate::cli::Failure;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// How files are called in a baseline.
#[derive(Debug)]
pub(super) struct Names {
    /// The folder of the baseline; without one, files are called as they were named.
    folder: Option<PathBuf>,
}

/// A path from the root, with links in its folders resolved as far as they exist.
fn absolute(path: &Path) -> PathBuf {
    if let Ok(whole) = fs::canonicalize(path) {
        return whole;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    path.file_name().map_or(folder.clone(), |name| folder.join(name))
}

/// The same for a file that may be a link itself: it is called as it is named.
fn absolute_file(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).join(name),
        _ => absolute(path),
    }
}

/// A path without `..`, by its words alone.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

impl Names {
    /// Those of a baseline file.
    pub(super) fn new(file: Option<&Path>) -> Names {
        let folder = file.map(|file| {
            let whole = absolute_file(file);
            whole.parent().map_or_else(|| whole.clone(), Path::to_owned)
        });
        Names { folder }
    }

    /// What a baseline calls a file.
    pub(super) fn of(&self, name: &str) -> String {
        let path = Path::new(name);
        let Some(folder) = self.folder.as_deref().filter(|_| path.exists()) else { return name.to_owned() };
        let whole = absolute_file(path);
        let common = folder.components().zip(whole.components()).take_while(|(one, other)| one == other).count();
        let up = folder.components().skip(common).map(|_| "..".to_owned());
        let down = whole.components().skip(common).map(|part| part.as_os_str().to_string_lossy().into_owned());
        up.chain(down).collect::<Vec<_>>().join("/")
    }

    /// Whether what a baseline calls so lies under one of some paths.
    pub(super) fn is_under(&self, name: &str, paths: &[PathBuf]) -> bool {
        let folder = self.folder.clone().unwrap_or_else(|| absolute(Path::new(".")));
        let whole = plain(&folder.join(name));
        paths.iter().any(|path| whole.starts_with(absolute(path)) || whole == absolute_file(path))
    }
}

/// Reads a baseline; nothing where it does not exist and is about to be made.
///
/// # Errors
/// That it does not exist, cannot be read, or which line is wrong.
pub(super) fn read(file: &Path, may_be_made: bool) -> Result<Option<Accepted>, Failure> {
    let name = file.display();
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(baseline::parse(&text, &name.to_string())?)),
        Err(error) if error.kind() == ErrorKind::NotFound && may_be_made => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Failure(format!("--baseline {name}: no such file; make it with --update-baseline, and commit it")))
        }
        Err(error) => Err(Failure(format!("--baseline {name}: cannot be read: {error}"))),
    }
}
