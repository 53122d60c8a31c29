//! The order of the tree: which layer may use which, how long a file may be, what may not be written.

use std::fs;
use std::path::{Path, PathBuf};

/// For each top-level module the ones that it may use. `model` is above `policy`, but only its idle boxes may know.
const LAYERS: [(&str, &[&str]); 25] = [
    ("time", &[]),
    ("rng", &[]),
    ("net", &["time"]),
    ("kernel", &["time", "net"]),
    ("capture", &["time", "net", "kernel"]),
    ("decode", &["time", "net", "kernel", "capture"]),
    ("flow", &["time", "net", "kernel", "capture", "decode"]),
    ("policy", &["time"]),
    ("inventory", &["time", "net", "policy"]),
    ("model", &["time", "net", "kernel", "rng"]),
    ("model/idle", &["time", "net", "kernel", "model", "policy"]),
    ("endpoint", &["time", "net", "kernel", "model"]),
    ("simulate", &["time", "net", "kernel", "rng", "model", "endpoint", "engine"]),
    ("scenario", &["time", "net", "kernel", "rng", "policy", "model", "endpoint", "engine", "simulate"]),
    ("conform", &["time", "net", "kernel", "rng", "model", "endpoint", "engine", "policy", "simulate"]),
    ("live", &["time", "net", "rng", "capture", "model", "conform"]),
    ("engine", &["time", "net", "kernel", "capture", "decode", "flow", "policy", "model"]),
    ("finding", &["time", "net", "kernel", "capture", "decode", "flow", "policy", "model", "engine"]),
    (
        "study",
        &[
            "time",
            "net",
            "kernel",
            "rng",
            "capture",
            "decode",
            "flow",
            "policy",
            "model",
            "endpoint",
            "engine",
            "simulate",
            "scenario",
            "finding",
            "inventory",
        ],
    ),
    (
        "check",
        &[
            "time",
            "net",
            "kernel",
            "capture",
            "decode",
            "flow",
            "policy",
            "model",
            "endpoint",
            "engine",
            "simulate",
            "scenario",
            "finding",
            "study",
            "inventory",
        ],
    ),
    (
        "report",
        &[
            "time",
            "net",
            "kernel",
            "capture",
            "decode",
            "flow",
            "policy",
            "model",
            "endpoint",
            "engine",
            "simulate",
            "scenario",
            "finding",
            "study",
            "inventory",
            "check",
        ],
    ),
    ("archive", &["time", "net", "kernel", "capture", "decode", "flow", "policy", "model", "engine", "finding", "study", "report"]),
    ("cli", &["*"]),
    ("lib", &[]),
    ("main", &["*"]),
];

const LINES_MAX: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.filter_map(|entry| entry.ok().map(|e| e.path())) {
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| path.extension().is_some_and(|e| e == *ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string().replace('\\', "/")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", name(path)))
}

/// The code of a file without its unit tests, comments taken out, with line numbers.
fn code(text: &str) -> Vec<(usize, &str)> {
    let end = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end].lines().enumerate().map(|(at, line)| (at + 1, line.find("//").map_or(line, |comment| &line[..comment]))).collect()
}

/// The layer of a source file: the longest row of the table that its path begins with.
fn layer(path: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let belongs = |row: &str| inner.strip_prefix(row).is_some_and(|rest| rest.starts_with('/') || rest == ".rs");
    LAYERS.iter().filter(|(row, _)| belongs(row)).max_by_key(|(row, _)| row.len())
}

/// The top-level modules that a line names behind `crate::`, also in a list in braces.
fn named(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let heads: Vec<&str> = rest.strip_prefix('{').map_or_else(|| vec![rest], |list| list.split(',').collect());
        for head in heads {
            let word: String = head.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            found.push(word);
        }
    }
    found
}

#[test]
fn a_layer_uses_only_layers_below_it() {
    let mut wrong = Vec::new();
    for path in files("src", &["rs"]) {
        let text = read(&path);
        let file = name(&path);
        let Some((own, allowed)) = layer(&file) else {
            wrong.push(format!("{file}: it belongs to no layer; give it a row in this test"));
            continue;
        };
        if allowed.contains(&"*") {
            continue;
        }
        for (number, line) in code(&text) {
            for used in named(line) {
                if used != own.split('/').next().unwrap_or(own) && !allowed.contains(&used.as_str()) {
                    wrong.push(format!("{file}:{number}: {own} may not use {used}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_layer_rule_would_notice() {
    assert_eq!(named("use crate::{time, model::Clause};"), ["time", "model"]);
    assert_eq!(named("    let x = crate::engine::Path::build(crate::net::Seq(0));"), ["engine", "net"]);
    assert_eq!(layer("src/model/idle/state.rs").map(|row| row.0), Some("model/idle"));
    assert_eq!(layer("src/model/conntrack/mod.rs").map(|row| row.0), Some("model"));
    assert_eq!(layer("src/time.rs").map(|row| row.0), Some("time"));
    assert!(layer("src/timer.rs").is_none());
    assert_eq!(code("a // crate::b\n#[cfg(test)]\nmod tests {"), [(1, "a ")]);
}

#[test]
fn files_are_short() {
    let long: Vec<String> = ["src", "tests"]
        .iter()
        .flat_map(|folder| files(folder, &["rs"]))
        .map(|path| (name(&path), read(&path).lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(file, lines)| format!("{file}: {lines} lines; {LINES_MAX} are the limit"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn the_library_does_not_give_up() {
    let mut wrong = Vec::new();
    for path in files("src", &["rs"]) {
        let text = read(&path);
        for (number, line) in code(&text) {
            for word in [".unwrap()", "panic!(", "todo!(", "unimplemented!(", "dbg!("] {
                if line.contains(word) {
                    wrong.push(format!("{}:{number}: {word}", name(&path)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    // Put together, so that this file does not name them either.
    let roots = [["/", "work", "/"], ["/", "tmp", "/"], ["/", "home", "/"], ["/", "root", "/"]].map(|parts| parts.concat());
    let mut wrong = Vec::new();
    let mut all: Vec<PathBuf> = ["src", "tests", "docs", "presets", "scenarios", "examples", "benches"]
        .iter()
        .flat_map(|folder| files(folder, &["rs", "md", "json", "toml", "sh", "py"]))
        .collect();
    all.extend(["Cargo.toml", "README.md", "CHANGELOG.md"].map(|file| root().join(file)).into_iter().filter(|path| path.exists()));
    for path in all {
        for (number, line) in read(&path).lines().enumerate() {
            // An address on the web may have such a part.
            let plain = line.split_whitespace().filter(|word| !word.contains("://"));
            if plain.into_iter().any(|word| roots.iter().any(|root| word.contains(root.as_str()))) {
                wrong.push(format!("{}:{}: {line}", name(&path), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
