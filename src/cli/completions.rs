//! `flowlapse completions`: what a shell needs to complete commands, options, boxes and files.

use super::{Ended, Failure, command, exit, outlet};
use crate::finding::Verdict;
use crate::policy::presets;
use crate::study::audit::rule::{Rule, Severity};
use clap::builder::PossibleValuesParser;
use clap_complete::Shell;

/// Print the completions of a shell.
///
/// They know every command and option, the boxes and presets, verdicts, rules, kinds of pictures and dialects. They are made from
/// the program itself and go with its version.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  # For this shell alone
  source <(flowlapse completions bash)
  # For good
  D=~/.local/share/bash-completion/completions; mkdir -p $D
  flowlapse completions bash > $D/flowlapse
  # With fpath+=~/.zfunc before compinit
  flowlapse completions zsh > ~/.zfunc/_flowlapse
  flowlapse completions fish > ~/.config/fish/completions/flowlapse.fish

Exit codes: 0 written; 2 usage.")]
pub struct Args {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    let mut command = with_values(command::program());
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "flowlapse", &mut script);
    let mut text = String::from_utf8(script).map_err(|error| Failure(error.to_string()))?;
    if args.shell == Shell::Bash {
        // What goes on behind a sign must not be followed by a blank.
        text = text.replace("complete -F _flowlapse ", "complete -F _flowlapse_open ");
        text = text.replacen("\nif [[ \"${BASH_VERSINFO[0]}\" -eq 4", &format!("\n{BASH_OPEN}\nif [[ \"${{BASH_VERSINFO[0]}}\" -eq 4"), 1);
    }
    outlet::raw(text.as_bytes())?;
    Ok(exit::RAN)
}

const BASH_OPEN: &str = r#"_flowlapse_open() {
    _flowlapse "$@"
    if [[ "${BASH_VERSINFO[0]}" -ge 4 && ${#COMPREPLY[@]} -gt 0 && "${COMPREPLY[0]}" == *[=:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}
"#;

/// The same command with values where an option takes more than can be listed: for completion alone, it refuses what is right.
fn with_values(command: clap::Command) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(&name, |sub| values_of(&name, sub)))
}

fn values_of(name: &str, sub: clap::Command) -> clap::Command {
    let owned = name.to_owned();
    sub.mut_args(move |arg| {
        let values = match (owned.as_str(), arg.get_id().as_str()) {
            (_, "boxes") | ("presets", "name") => boxes(),
            ("audit", "fail_on") => {
                let severities = Severity::ALL.iter().map(|severity| severity.name());
                severities.chain(Rule::ALL.iter().map(|rule| rule.id())).map(ToOwned::to_owned).collect()
            }
            (_, "fail_on") => Verdict::ALL.map(|verdict| verdict.name().to_owned()).to_vec(),
            (of, "draw") => pictures(of),
            (_, "dialect" | "kernel") => crate::model::conntrack::dialect::Dialect::names().into_iter().map(ToOwned::to_owned).collect(),
            _ => return arg,
        };
        if values.is_empty() { arg } else { arg.value_parser(PossibleValuesParser::new(values)) }
    })
}

fn boxes() -> Vec<String> {
    let kinds = ["conntrack", "ipvs", "idle"].map(ToOwned::to_owned);
    kinds.into_iter().chain(presets::all().iter().map(|preset| preset.id.clone())).collect()
}

/// The kinds of pictures of a command.
fn pictures(of: &str) -> Vec<String> {
    let kinds: &[super::draw::Kind] = match of {
        "replay" => &super::replay::KINDS,
        "explain" => &super::explain::KINDS,
        "run" => &super::run::KINDS,
        "sweep" => &super::sweep::KINDS,
        "capacity" => &super::capacity::KINDS,
        _ => &[],
    };
    kinds.iter().map(|kind| format!("{}=", kind.name)).collect()
}
