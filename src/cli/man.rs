//! `flowlapse man`: the manual's pages, from the same source as the help.

use super::command::{self, CODES, ENVIRONMENT, GROUPS, sections};
use super::{Ended, Failure, exit, note, outlet, write_whole};
use crate::policy::hint::nearest;
use clap::Command;
use clap_mangen::Man;
use std::path::PathBuf;

/// Print a page of the manual, or write them all.
///
/// There is one page for the program and one for each command, all in section 1, made from the text that --help shows.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse man | man -l -
  flowlapse man replay | man -l -
  flowlapse man --out ~/.local/share/man/man1 && man flowlapse-replay

Exit codes: 0 written; 2 usage, or a page cannot be written.")]
pub struct Args {
    /// The command; without it the page of the program
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    page: Option<String>,
    /// Write every page into this directory, which is made if it is not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    let pages = pages()?;
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).map_err(|error| Failure(format!("{}: cannot be made: {error}", folder.display())))?;
        for page in &pages {
            write_whole(&folder.join(format!("{}.1", page.name)), page.text.as_bytes())?;
        }
        note(&format!("{} pages in {}", pages.len(), folder.display()));
        return Ok(exit::RAN);
    }
    let wanted = args.page.as_deref().map_or(PROGRAM.to_owned(), |page| format!("{PROGRAM}-{}", page.trim_start_matches("flowlapse-")));
    let page = pages.iter().find(|page| page.name == wanted).ok_or_else(|| {
        let asked = args.page.as_deref().unwrap_or_default();
        let known = || pages.iter().filter_map(|page| page.name.strip_prefix("flowlapse-"));
        Failure(match nearest(asked, known()) {
            Some(near) => format!("man: there is no command '{asked}'; did you mean '{near}'?"),
            None => format!("man: there is no command '{asked}'; there are {}", known().collect::<Vec<_>>().join(", ")),
        })
    })?;
    outlet::raw(page.text.as_bytes())?;
    Ok(exit::RAN)
}

const PROGRAM: &str = "flowlapse";

/// A page of the manual.
struct Page {
    name: String,
    text: String,
}

fn pages() -> Result<Vec<Page>, Failure> {
    let mut whole = command::program().disable_help_subcommand(true);
    whole.build();
    let shown = || whole.get_subcommands().filter(|sub| !sub.is_hide_set());
    let names: Vec<String> = shown().map(|sub| sub.get_name().to_owned()).collect();
    let mut all = vec![Page { name: PROGRAM.to_owned(), text: page(&whole, None, &names)? }];
    for sub in shown() {
        all.push(Page { name: format!("{PROGRAM}-{}", sub.get_name()), text: page(sub, Some(sub.get_name()), &names)? });
    }
    Ok(all)
}

/// One page; `of` is the command that it is about, where it is not the program.
fn page(command: &Command, of: Option<&str>, names: &[String]) -> Result<String, Failure> {
    let title = of.map_or(PROGRAM.to_owned(), |name| format!("{PROGRAM}-{name}"));
    // Under a heading of their own, as everything else is.
    let ordered = command.clone().mut_args(|arg| if arg.is_positional() { arg.help_heading("Arguments") } else { arg });
    let man = Man::new(ordered).section("1");
    let head = format!(".TH \"{}\" \"1\" \"\" \"{PROGRAM} {}\" \"{PROGRAM} manual\"\n", title.to_uppercase(), env!("CARGO_PKG_VERSION"));
    let mut bytes = head.into_bytes();
    man.render_name_section(&mut bytes)
        .and_then(|()| man.render_synopsis_section(&mut bytes))
        .and_then(|()| man.render_description_section(&mut bytes))
        .and_then(|()| man.render_options_section(&mut bytes))
        .map_err(|error| Failure(format!("man: {error}")))?;
    let mut out = String::from_utf8(bytes).map_err(|error| Failure(format!("man: {error}")))?;
    if of.is_none() {
        commands(command, &mut out);
    }
    let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let all = sections(&after);
    for section in all.iter().filter(|section| section.title.as_deref() == Some("Examples")) {
        out.push_str(".SH EXAMPLES\n.nf\n");
        for line in &section.lines {
            out.push_str(&escaped(line.strip_prefix("  ").unwrap_or(line)));
            out.push('\n');
        }
        out.push_str(".fi\n");
    }
    let others: Vec<_> = all.iter().filter(|section| !matches!(section.title.as_deref(), Some("Examples" | "Exit codes"))).collect();
    if !others.is_empty() {
        out.push_str(".SH NOTES\n");
        for (at, section) in others.iter().enumerate() {
            if at > 0 {
                out.push_str(".PP\n");
            }
            if let Some(title) = &section.title {
                out.push_str(&format!("\\fB{}:\\fR\n", escaped(title)));
            }
            for line in &section.lines {
                out.push_str(&escaped(line.trim()));
                out.push('\n');
            }
        }
    }
    status(&all, &mut out);
    out.push_str(".SH ENVIRONMENT\n");
    for (name, what) in ENVIRONMENT {
        out.push_str(&format!(".TP\n\\fB{name}\\fR\n{}\n", escaped(what)));
    }
    out.push_str(".SH SEE ALSO\n");
    let mut others: Vec<String> = names.iter().filter(|name| of != Some(name.as_str())).map(|name| format!("{PROGRAM}-{name}")).collect();
    if of.is_some() {
        others.insert(0, PROGRAM.to_owned());
    }
    others.sort();
    let refs: Vec<String> = others.iter().map(|name| format!("\\fB{}\\fR(1)", escaped(name))).collect();
    out.push_str(&refs.join(",\n"));
    out.push_str("\n.PP\nThe documentation in the directory docs of the source, or where the package puts it\n");
    out.push_str("(/usr/share/doc/flowlapse on Debian): verdicts.md, boxes.md, fidelity.md and others.\n");
    let out = out.replace("\n.br\n\n.br\n", "\n.br\n");
    // roff reads bytes: what is not ASCII goes by its number.
    let mut plain = String::with_capacity(out.len());
    for line in out.lines() {
        for letter in line.trim_end().chars() {
            if letter.is_ascii() {
                plain.push(letter);
            } else {
                plain.push_str(&format!("\\[u{:04X}]", letter as u32));
            }
        }
        plain.push('\n');
    }
    Ok(plain)
}

/// The commands by group.
fn commands(command: &Command, out: &mut String) {
    out.push_str(".SH COMMANDS\n");
    for (title, names) in GROUPS {
        let subs: Vec<&Command> = names.iter().filter_map(|name| command.find_subcommand(name)).collect();
        if subs.is_empty() {
            continue;
        }
        out.push_str(&format!(".SS {}\n", escaped(title)));
        for sub in subs {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            out.push_str(&format!(".TP\n\\fB{}\\fR(1)\n{}\n", escaped(&format!("{PROGRAM}-{}", sub.get_name())), escaped(&about)));
        }
    }
}

/// The exit codes: the command's own words, or the program's table.
fn status(all: &[command::Section], out: &mut String) {
    out.push_str(".SH EXIT STATUS\n");
    let own = all.iter().find(|section| section.title.as_deref() == Some("Exit codes"));
    let table = sections(CODES);
    let Some(section) = own.or_else(|| table.first()) else { return };
    let lines = &section.lines;
    if section.is_set() {
        out.push_str(".nf\n");
        for line in lines {
            out.push_str(&escaped(line.strip_prefix("  ").unwrap_or(line)));
            out.push('\n');
        }
        out.push_str(".fi\n");
        return;
    }
    // `0 ran; 1 found what --fail-on names; …`: each by itself.
    let text = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    for part in text.trim_end_matches('.').split("; ") {
        match part.split_once(' ') {
            Some((code, what)) if code.bytes().all(|letter| letter.is_ascii_digit()) => {
                out.push_str(&format!(".TP\n\\fB{code}\\fR\n{}\n", escaped(what)));
            }
            _ => out.push_str(&format!("{}\n", escaped(part))),
        }
    }
}

/// Text as roff takes it: signs of its own are taken from it.
fn escaped(text: &str) -> String {
    let plain = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('^', "\\(ha").replace('~', "\\(ti");
    if plain.starts_with('.') { format!("\\&{plain}") } else { plain }
}
