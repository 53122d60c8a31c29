//! `flowlapse replay --segments`: the same of segments that were decoded before, with a report or a part at the end.

use super::super::archived::{whole, write_part};
use super::super::draw::Draw;
use super::super::{Ended, Failure, exit, interrupt, traffic};
use super::{Args, Form, exit_code};
use crate::archive::part::{Asked, PartLedger, Study, write_replay};
use crate::engine::gathered::run_gathered;
use crate::engine::pipeline::Job;
use crate::finding::Verdict;
use crate::report::{Report, plot};

/// Runs the command.
pub(super) fn run<'d>(args: &Args, fail_on: &[Verdict], draws: impl Iterator<Item = &'d Draw>) -> Ended {
    let draws: Vec<&Draw> = draws.collect();
    if let Some(draw) = draws.iter().find(|draw| draw.kind != "survival") {
        return Err(Failure(format!("--draw {}: it is drawn from captures; of segments there is survival", draw.kind)));
    }
    if args.html.is_some() {
        return Err(Failure("--html: the page is made from captures, not from segments".to_owned()));
    }
    let path = traffic::path(&traffic::boxes(&args.boxes)?, args.options.clock()?)?;
    let job = Job { watch: None, ..args.options.job(&args.captures)? };
    let mut intake = args.archived.intake(&args.captures)?;
    let run = run_gathered(&mut intake, &path, &job, interrupt::flag());
    whole(&intake)?;
    let report = Report::new(&path, &run);
    for draw in draws {
        draw.write(&plot::survival(&report), run.interrupted)?;
    }
    if let Some(to) = &args.parted.part {
        let asked = Asked { boxes: args.boxes.clone(), ..args.options.clock_words() };
        let ledger = PartLedger::of(Study::Replay, asked, &path, &run, run.flows.len(), intake.segments(), intake.filtered(&run));
        write_part(to, |take| write_replay(&report, &ledger, take))?;
    } else {
        Form::of(args).tell(&report)?;
    }
    Ok(if run.interrupted { exit::INTERRUPTED } else { exit_code(args, &report, fail_on) })
}
