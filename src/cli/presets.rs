//! `flowlapse presets`: boxes, dialects and presets with their timers and sources.

mod catalogue;
mod changes;
mod text;

use super::{Ended, Failure, exit, outlet};
use catalogue::Catalogue;

/// List boxes, dialects and presets with their timers and sources.
///
/// Without NAME everything in brief. With NAME, the id of a preset, a dialect, a kernel release as `uname -r` prints it, or a
/// kind of box, everything that is known about it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
The JSON document (schema flowlapse-presets-list/1) has the same shape with and without NAME: the lists `boxes`,
`dialects.conntrack`, `dialects.ipvs` and `presets`, reduced to what NAME means. Times are whole seconds; null never fires.

Examples:
  flowlapse presets
  flowlapse presets aws-nlb
  flowlapse presets longterm-6.1.158
  flowlapse presets conntrack
  flowlapse presets --json | jq -r '.presets[].id'

Exit codes: 0 listed; 2 usage, or a name that is none.")]
pub struct Args {
    /// A preset, a dialect, a kernel release, or a kind of box
    name: Option<String>,
    /// Print one JSON document (schema flowlapse-presets-list/1) instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A name that is none.
pub fn run(args: &Args) -> Ended {
    let whole = Catalogue::whole();
    let text = match &args.name {
        None if args.json => json(&whole),
        None => text::list(&whole),
        Some(name) => {
            let part = whole.about(name).ok_or_else(|| Failure(unknown(name)))?;
            if args.json { json(&part) } else { text::details(&part) }
        }
    };
    if args.json {
        outlet::json(&text)?;
    } else {
        outlet::words(&text)?;
    }
    Ok(exit::RAN)
}

fn json(catalogue: &Catalogue) -> String {
    let mut text = serde_json::to_string_pretty(catalogue).expect("plain structs with string keys become JSON");
    text.push('\n');
    text
}

fn unknown(name: &str) -> String {
    let hint = match catalogue::nearest(name) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "`flowlapse presets` lists them all".to_owned(),
    };
    format!("no box, dialect or preset is called '{name}'; {hint}")
}
