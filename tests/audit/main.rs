//! `flowlapse audit`: each rule fires where it should and is silent where it should, the forecast is what the kernels would do, and
//! what is written for machines can be read by them.

mod command;
mod forecast;
mod monitoring;
mod rules;

use flowlapse::inventory::{self, Inventory};
use flowlapse::policy::{BoxSpec, parse_short};
use flowlapse::study::audit::rule::Rule;
use flowlapse::study::audit::{Asked, Audit, Materials, audit};
use std::process::{Command, Output};

/// Reads a text as a whole machine.
fn shown(text: &str) -> Inventory {
    let mut inventory = Inventory::default();
    inventory::read(text, "text", &mut inventory);
    inventory
}

fn boxes(specs: &[&str]) -> Vec<BoxSpec> {
    specs.iter().map(|spec| parse_short(spec).expect("a box")).collect()
}

fn asked(kernel: &str) -> Asked {
    Asked { keepalive: None, kernel: (!kernel.is_empty()).then(|| kernel.to_owned()) }
}

/// The audit of one machine, handed on while what it looks at lives.
fn with<T>(machine: &Inventory, beyond: &[BoxSpec], kernel: &str, look: impl FnOnce(&Audit<'_>) -> T) -> T {
    let materials = Materials { machine, client: None, server: None, beyond };
    look(&audit(&materials, &asked(kernel)).expect("an audit"))
}

/// The rules that fire.
fn fired(text: &str, specs: &[&str], kernel: &str) -> Vec<Rule> {
    with(&shown(text), &boxes(specs), kernel, |audit| audit.found.iter().map(|found| found.rule).collect())
}

fn flowlapse(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flowlapse")).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("it starts")
}

fn text(args: &[&str]) -> String {
    let output = flowlapse(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
