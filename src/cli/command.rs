//! The whole command line as one thing: help, man pages and completions are all made from it.
//!
//! A command says what it is in its own file, with its examples and exit codes behind it (`after_help`). Here they are put in
//! order: commands by job, options by heading, the long help apart from the short one.

use super::Cli;
use clap::builder::{StyledStr, Styles};
use clap::{Arg, Command, CommandFactory, ValueHint};
use std::fmt::Write;

/// How wide help is at most.
const WIDTH: usize = 80;

/// The commands by what people come for. One that is in no group is listed last.
pub const GROUPS: [(&str, &[&str]); 6] = [
    ("Look at captures", &["replay", "explain", "infer", "shrink"]),
    ("What if", &["run", "sweep", "tune", "diff", "capacity", "synth"]),
    ("Gate and audit", &["check", "audit"]),
    ("Archives", &["segments", "merge"]),
    ("Models", &["presets", "conform"]),
    ("Set-up", &["completions", "man"]),
];

/// The headings of options, by the names of their fields. What is in none of them stands under "Options".
const HEADINGS: [(&str, &[&str]); 4] = [
    (
        "Input",
        &[
            "captures",
            "inputs",
            "old",
            "new",
            "scenarios",
            "scenario",
            "files",
            "recordings",
            "filter",
            "count",
            "max_flows",
            "segments",
            "archive",
            "parts",
            "ledgers",
            "file_index",
            "name",
            "keep_going",
            "client",
            "server",
            "sysctl",
            "ipvsadm",
            "ipvs_conns",
            "conntrack",
            "ss",
            "ssh",
            "rules",
            "kube_proxy",
            "keepalived",
            "kernel",
        ],
    ),
    ("Boxes and clock", &["boxes", "keepalive", "clock", "hz", "jiffies"]),
    (
        "Output",
        &[
            "json",
            "ndjson",
            "summary",
            "csv",
            "timeline",
            "details",
            "limit",
            "stories",
            "draw",
            "svg",
            "junit",
            "sarif",
            "markdown",
            "github",
            "html",
            "all",
            "output",
            "out",
            "write_pcap",
            "record",
            "prometheus",
            "format",
            "micros",
            "snaplen",
            "slices",
            "part",
        ],
    ),
    ("Gate", &["policy", "baseline", "update_baseline", "lint", "fail_on", "fail_on_new_cut", "strict"]),
];

/// What the long help of the program ends with, before exit codes.
const EXAMPLES: &str = "\
Examples:
  # Who is cut by a firewall that forgets after an hour, when, by what?
  flowlapse replay ssh.pcap --box conntrack:strict,established=3600
  # The life of the worst flow, told and drawn
  flowlapse explain ssh.pcap --box ipvs:nat,tcp=900 --draw lanes=ssh.svg
  # Which timer must the box on the path have? Nobody knows the box.
  flowlapse infer hangs.pcapng
  # No capture: timers that cannot work together
  flowlapse audit --ipvsadm 900,120,300 --box aws-nlb
  # What should the timers be? And what would another policy change?
  flowlapse tune web.pcapng --box conntrack:strict
  flowlapse diff old.sysctl new.sysctl web.pcapng";

/// The exit codes of the program as a whole; each command names its own.
pub const CODES: &str = "\
Exit codes:
  0    it ran
  1    found: what --fail-on names, a new cut, an expectation that failed, a
       disagreement with a kernel
  2    usage, or nothing could be analysed
  3    something was left out, and --strict was given
  130  interrupted; what was known was printed
  141  the reader of standard output went away";

/// The variables of the environment that are heeded.
pub const ENVIRONMENT: [(&str, &str); 3] = [
    ("NO_COLOR", "if not empty, nothing is coloured unless --color always is given"),
    ("CLICOLOR_FORCE", "if not empty and not 0, output is coloured into pipes and files too"),
    ("COLUMNS", "how wide help is where there is no terminal; at most 80"),
];

/// The program's command line, in order.
pub fn program() -> Command {
    let command = Cli::command();
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = names.iter().fold(command, |command, name| command.mut_subcommand(name, |sub| ordered(name, sub)));
    let groups = grouped(&command);
    let short = "More, with examples: flowlapse --help; of a command: flowlapse COMMAND --help";
    let docs = "Each command has examples: flowlapse COMMAND --help. How verdicts, boxes and\nclocks are meant: docs/ beside the \
                source, or where a package puts it;\nflowlapse man prints pages for man.";
    let long = format!("{EXAMPLES}\n\n{CODES}\n\n{docs}");
    command
        .help_template(format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{groups}{{options}}{{after-help}}"))
        .override_usage("flowlapse [OPTIONS] <COMMAND> [...]")
        .long_version(version())
        .after_help(short)
        .after_long_help(headed(&long))
        .max_term_width(WIDTH)
}

/// The version, and what the program knows: for `--version`.
fn version() -> String {
    let mut out = env!("CARGO_PKG_VERSION").to_owned();
    let list = |out: &mut String, what: &str, names: Vec<&str>| {
        out.push_str(&format!("\n{what}:\n"));
        out.push_str(&wrapped(&names.join(" "), 2));
    };
    // What a distribution calls its kernel is another name for one of these.
    list(&mut out, "conntrack", crate::model::conntrack::dialect::DIALECTS.iter().map(|row| row.name).collect());
    list(&mut out, "IPVS", crate::model::ipvs::dialect::DIALECTS.iter().map(|row| row.name).collect());
    let live = cfg!(all(feature = "live", target_os = "linux"));
    let built = [("png", cfg!(feature = "png")), ("live", live), ("columnar", cfg!(feature = "columnar"))];
    let built: Vec<&str> = built.into_iter().filter_map(|(name, is)| is.then_some(name)).collect();
    out.push_str(&format!("\nboxes and presets: {}; built with: {}", crate::policy::presets::all().len(), built.join(" ")));
    out
}

/// A command with its options under headings, its values' kinds, and its examples in the long help alone.
fn ordered(name: &str, sub: Command) -> Command {
    let sub = sub.mut_args(|arg| {
        let id = arg.get_id().as_str().to_owned();
        let hint = hint(&id, &arg);
        // What is not an option stands before all of them.
        if arg.get_help_heading().is_some() || arg.is_positional() {
            return arg.value_hint(hint);
        }
        let heading = HEADINGS.iter().find(|(_, ids)| ids.contains(&id.as_str())).map_or("Options", |(heading, _)| heading);
        arg.help_heading(heading).value_hint(hint)
    });
    let Some(after) = sub.get_after_help().map(ToString::to_string) else { return sub };
    let short = format!("More, with examples: flowlapse {name} --help");
    sub.after_long_help(headed(&after)).after_help(short)
}

/// What kind of thing a value is, for completion.
fn hint(id: &str, arg: &Arg) -> ValueHint {
    match id {
        _ if !arg.get_action().takes_values() => ValueHint::Unknown,
        "out" | "record" => ValueHint::DirPath,
        "paths" => ValueHint::AnyPath,
        "captures" | "inputs" | "old" | "new" | "scenarios" | "scenario" | "files" | "recordings" | "client" | "server" | "sysctl"
        | "ipvsadm" | "ipvs_conns" | "conntrack" | "ss" | "ssh" | "rules" | "kube_proxy" | "keepalived" | "prometheus" | "svg"
        | "output" | "html" | "write_pcap" | "baseline" | "json" | "junit" | "sarif" | "markdown" => ValueHint::FilePath,
        _ => arg.get_value_hint(),
    }
}

/// A section of the text behind a command's help.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// `Examples`, `Exit codes`, `Pictures`; nothing before the first or between them.
    pub title: Option<String>,
    /// Its lines.
    pub lines: Vec<String>,
}

impl Section {
    /// Whether its lines are set as they are: examples, tables.
    pub fn is_set(&self) -> bool {
        !self.lines.is_empty() && self.lines.iter().all(|line| line.starts_with(' '))
    }
}

/// A long example in lines that the shell takes as one. A quoted word and an option with its value stay together.
fn continued(line: &str) -> Vec<String> {
    if line.chars().count() <= WIDTH {
        return vec![line.to_owned()];
    }
    let mut units: Vec<String> = Vec::new();
    let mut quoted = false;
    let mut open = false;
    for word in line.split_whitespace() {
        let is_sign = word.starts_with(['-', '|', '&', '>', '<']);
        let takes = |last: &String| last.starts_with('-') && !last.contains(' ') || last.ends_with(['>', '<']);
        let is_value = !is_sign && units.last().is_some_and(takes);
        match units.last_mut() {
            Some(last) if open || is_value => {
                last.push(' ');
                last.push_str(word);
            }
            _ => units.push(word.to_owned()),
        }
        quoted ^= word.matches('\'').count() % 2 == 1;
        open = quoted;
    }
    let mut lines = vec![" ".to_owned()];
    for unit in units {
        let length = lines.last().map_or(0, |line| line.chars().count());
        // Room for the sign that it goes on.
        if length + 1 + unit.chars().count() > WIDTH - 2 && length > 6 {
            if let Some(last) = lines.last_mut() {
                last.push_str(" \\");
            }
            lines.push(format!("      {unit}"));
        } else if let Some(last) = lines.last_mut() {
            last.push(' ');
            last.push_str(&unit);
        }
    }
    lines
}

/// Takes the text behind a command's help apart: a paragraph that begins with one or two words and a colon is a section.
pub fn sections(text: &str) -> Vec<Section> {
    let mut all: Vec<Section> = Vec::new();
    for paragraph in text.split("\n\n") {
        let mut lines: Vec<String> = paragraph.lines().map(ToOwned::to_owned).collect();
        let first = lines.first().cloned().unwrap_or_default();
        let title = first.split_once(':').map(|(title, _)| title).filter(|title| title_like(title)).map(ToOwned::to_owned);
        if let Some(title) = &title {
            let rest = first[title.len() + 1..].trim_start().to_owned();
            lines[0] = rest;
            lines.retain(|line| !line.is_empty());
        }
        all.push(Section { title, lines });
    }
    all
}

fn title_like(title: &str) -> bool {
    title.starts_with(|letter: char| letter.is_ascii_uppercase())
        && title.len() <= 16
        && title.split(' ').count() <= 2
        && title.chars().all(|letter| letter.is_ascii_alphabetic() || letter == ' ')
}

/// The text with its titles as clap writes its own headings.
fn headed(text: &str) -> StyledStr {
    let style = *Styles::default().get_header();
    let mut out = StyledStr::new();
    for (at, section) in sections(text).iter().enumerate() {
        let gap = if at > 0 { "\n\n" } else { "" };
        let title = section.title.as_deref();
        let _ = if section.is_set() {
            let lines: Vec<String> = section.lines.iter().flat_map(|line| continued(line)).collect();
            write!(out, "{gap}{style}{}:{style:#}\n{}", title.unwrap_or_default(), lines.join("\n"))
        } else {
            // Prose is filled anew: it was broken for the width of a source file.
            let words = section.lines.join(" ");
            let text = wrapped(&title.map_or(words.clone(), |title| format!("{title}: {words}")), 0);
            match title {
                Some(title) => write!(out, "{gap}{style}{title}:{style:#}{}", &text[title.len() + 1..]),
                None => write!(out, "{gap}{text}"),
            }
        };
    }
    out
}

/// The commands under the names of their groups, each in a line or two.
fn grouped(command: &Command) -> String {
    let (head, literal) = (*Styles::default().get_header(), *Styles::default().get_literal());
    let shown = || command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let indent = shown().map(|sub| sub.get_name().len()).max().unwrap_or_default() + 4;
    let mut out = String::new();
    let mut group = |title: &str, subs: &[&Command]| {
        if subs.is_empty() {
            return;
        }
        out.push_str(&format!("\n{head}{title}:{head:#}\n"));
        for sub in subs {
            let name = sub.get_name();
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            let text = wrapped(&about, indent);
            out.push_str(&format!("  {literal}{name}{literal:#}{}\n", &text[(name.len() + 2).min(text.len())..]));
        }
    };
    for (title, names) in GROUPS {
        let subs: Vec<&Command> = names.iter().filter_map(|name| shown().find(|sub| sub.get_name() == *name)).collect();
        group(title, &subs);
    }
    let rest: Vec<&Command> = shown().filter(|sub| !GROUPS.iter().any(|(_, names)| names.contains(&sub.get_name()))).collect();
    group("More", &rest);
    out.push_str(&format!("\n{head}Every command:{head:#}\n"));
    out
}

/// Words in lines of at most the width of help, each indented.
fn wrapped(text: &str, indent: usize) -> String {
    let mut out = " ".repeat(indent);
    let mut column = indent;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_in_order() {
        program().debug_assert();
        for sub in program().get_subcommands() {
            let name = sub.get_name();
            assert!(GROUPS.iter().any(|(_, names)| names.contains(&name)), "{name} is in no group of the help");
            let after = sub.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let titles: Vec<String> = sections(&after).into_iter().filter_map(|section| section.title).collect();
            for wanted in ["Examples", "Exit codes"] {
                assert!(titles.iter().any(|title| title == wanted), "{name} has no {wanted}");
            }
        }
    }

    #[test]
    fn long_examples_go_on_as_a_shell_takes_it() {
        let line = format!("  flowlapse x {} --box 'a b' --vary c.d=1", "long".repeat(15));
        let lines = continued(&line);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].ends_with(" \\") && lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:?}");
        assert_eq!(lines[1], "      --box 'a b' --vary c.d=1");
    }

    #[test]
    fn the_text_behind_a_help_is_taken_apart() {
        let all = sections("Examples:\n  one\n  two\n\nWhat is said: freely, here\nand there.\n\nExit codes: 0 ran;\n2 usage.");
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].title.as_deref(), all[0].lines.len()), (Some("Examples"), 2));
        assert_eq!(all[1].title, None);
        assert_eq!((all[2].title.as_deref(), all[2].lines[0].as_str()), (Some("Exit codes"), "0 ran;"));
    }
}
