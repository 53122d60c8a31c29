//! The targets of `tests/fuzz/targets` for libFuzzer, and what a run of one begins with.
#[path = "../../tests/fuzz/targets/mod.rs"]
mod targets;
mod words;

use std::fs;
use std::path::Path;
use std::process::exit;
use targets::{TARGETS, seeds};
use words::words;

/// Where the seeds are to be written, in place of fuzzing.
const SEEDS: &str = "FLOWLAPSE_FUZZ_SEEDS";

/// With the variable above set: writes the target's seeds, its dictionary and its limit into that folder, and ends the program.
pub fn begin(name: &str) {
    let Some(folder) = std::env::var_os(SEEDS) else { return };
    match write(name, Path::new(&folder)) {
        Ok(()) => exit(0),
        Err(error) => {
            eprintln!("{}: {error}", Path::new(&folder).display());
            exit(2);
        }
    }
}

fn write(name: &str, folder: &Path) -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let found = seeds::of(name, &root);
    let inputs = folder.join("seeds");
    fs::create_dir_all(&inputs)?;
    for (seed, bytes) in &found {
        fs::write(inputs.join(seed.replace('/', "-")), bytes)?;
    }
    let words: String = words(name, &found).iter().map(|word| format!("\"{word}\"\n")).collect();
    fs::write(folder.join("words"), words)?;
    let len_max = TARGETS.iter().find(|target| target.name == name).map_or(4096, |target| target.len_max);
    fs::write(folder.join("len_max"), format!("{len_max}\n"))
}

/// Tries one input.
pub fn check(name: &str, data: &[u8]) {
    for target in TARGETS.iter().filter(|target| target.name == name) {
        (target.check)(data);
    }
}
