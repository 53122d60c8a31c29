//! What fuzzing found, and what it begins with: everything that must hold for any input holds for these.
//!
//! `inputs/TARGET` has what once broke a target, named by what it is; `fuzz/README.md` says how one gets there.
mod targets;

use std::fs;
use std::path::Path;
use targets::{TARGETS, seeds};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs one target on its inputs and its seeds, each named before it is tried, so that a failure says which it was.
fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let all = seeds::of(name, root());
    assert!(all.len() >= 5, "{name} begins with {} seeds", all.len());
    for (input, bytes) in all {
        println!("{name}: {input}");
        (target.check)(&bytes[..bytes.len().min(target.len_max)]);
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn every_target_is_run_and_has_its_program() {
            let names = TARGETS.map(|target| target.name);
            assert_eq!(names, [$(stringify!($name)),*]);
            let folders = fs::read_dir(root().join("tests/fuzz/inputs")).expect("inputs");
            for folder in folders.flatten() {
                assert!(names.iter().any(|name| folder.file_name() == **name), "{:?} is no target", folder.path());
            }
        }
    };
}

targets!(capture decode path scenario policy inventory recordings packetdrill);

#[test]
fn recordings_that_would_never_end_are_refused_with_a_reason() {
    for (input, reason) in [
        ("pressure-more-entries-than-chains-hold", "line 1: so few 'buckets' do not hold what the table was filled with"),
        ("pressure-for-eleven-days", "steps in each run of the model; at most 500000 are taken"),
        ("dialogue-on-a-clock-without-ticks", "hz: 0 is not between 1 and 10000"),
        ("dialogue-of-a-million-years", "run_s: 1000000000000000 is not between 0 and 86400"),
        ("pressure-counts-beyond-64-bits", "line 3: more than 100000 entries"),
    ] {
        let text = fs::read_to_string(root().join("tests/fuzz/inputs/recordings").join(input)).expect("an input");
        let error = flowlapse::conform::compare(input, &text).expect_err(input).to_string();
        assert!(error.contains(reason), "{error}");
    }
}
