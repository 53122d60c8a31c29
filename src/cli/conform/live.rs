//! `flowlapse conform --live`: the models beside the kernels of this machine.

use super::{Args, Live, LiveKernel, Tried, release_in};
use crate::cli::global::is_quiet;
use crate::cli::outlet::aside;
use crate::cli::{Failure, interrupt, note, report, write_whole};
use crate::conform::{self, Summary};
use crate::live::{self, Found, Kernel, Request, variant};
use crate::model::conntrack::dialect::Dialect;
use crate::policy::hint::nearest;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

/// Compares with the kernels that were asked for and adds what was found to the summary.
///
/// # Errors
/// A kernel that was named and is not to be had; a variant that does not exist.
pub(super) fn run(args: &Args, summary: &mut Summary) -> Result<Live, Failure> {
    if let Some(unknown) = args.variants.iter().find(|name| variant::named(name).is_none()) {
        let known: Vec<&str> = variant::names().collect();
        let hint = nearest(unknown, known.iter().copied()).map(|near| format!("did you mean '{near}'?"));
        return Err(Failure(format!(
            "no variant is called '{unknown}'; {}",
            hint.unwrap_or_else(|| format!("there are {}", known.join(", ")))
        )));
    }
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let seconds = args.lasting.as_secs().max(1);
    let release = args.dialect.as_deref().map(release_in);
    if let Some(unknown) = release.filter(|release| Dialect::for_release(release).is_none()) {
        return Err(Failure(format!("--dialect: live kernels are held to a release such as linux-6.1, not to '{unknown}'")));
    }
    let request = Request {
        seed,
        seconds,
        dialogues: args.dialogues,
        variants: args.variants.clone(),
        release: release.map(str::to_owned),
        hz: None,
        keep: args.record.is_some(),
        guest: false,
    };
    if !args.json {
        // Said before anything else, so that it is known whatever happens then.
        report(&format!("live: seed {seed}, {seconds} s on each kernel\n"))?;
    }
    let stop = interrupt::flag();
    let named = !args.kernels.is_empty();
    let wanted = |kernel: LiveKernel| !named || args.kernels.contains(&kernel);
    let all = [(LiveKernel::Running, Kernel::Running), (LiveKernel::Uml, Kernel::Uml)];
    let kernels: Vec<Kernel> = all.into_iter().filter(|(option, _)| wanted(*option)).map(|(_, kernel)| kernel).collect();
    // A terminal is told of each turn; ten minutes are long without a word.
    let progress = |kernel: Kernel| {
        let told = io::stderr().is_terminal() && !is_quiet();
        move |result: &conform::Result| {
            if told {
                aside(&format!("{}: {}, {} steps, {} disagree\n", kernel.name(), result.name, result.steps, result.disagree));
            }
        }
    };
    // Each kernel has a core of its own on most machines, and neither waits for the other.
    let found: Vec<Result<Found, String>> = std::thread::scope(|scope| {
        let running: Vec<_> = kernels.iter().map(|kernel| scope.spawn(|| live::run(*kernel, &request, stop, &progress(*kernel)))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("the comparison gave up".to_owned()))).collect()
    });
    let mut tried = Vec::new();
    for (kernel, found) in kernels.iter().zip(found) {
        let mut one = Tried { kernel: kernel.name(), release: None, seed, seconds, skipped: Vec::new() };
        match found {
            Ok(found) => {
                one.release = Some(found.kernel.clone());
                one.skipped = found.skipped.iter().map(|(reason, variants)| format!("{}: {reason}", variants.join(", "))).collect();
                for reason in &one.skipped {
                    note(&format!("skipped on kernel '{}': {reason}", one.kernel));
                }
                take(summary, args.record.as_deref(), seed, found)?;
            }
            Err(reason) => {
                let told = format!("no comparison with kernel '{}': {reason}", one.kernel);
                if named {
                    return Err(Failure(told));
                }
                note(&told);
                one.skipped.push(reason);
            }
        }
        tried.push(one);
    }
    Ok(Live { tried, interrupted: stop.load(Ordering::Relaxed) })
}

/// Adds a kernel's results to the summary, and writes its recordings where they are wanted.
fn take(summary: &mut Summary, folder: Option<&Path>, seed: u64, found: Found) -> Result<(), Failure> {
    if let Some(folder) = folder {
        let fail = |error: io::Error| Failure(format!("{}: cannot be written: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(fail)?;
        for (number, (name, text)) in found.recordings.iter().enumerate() {
            let bytes = zstd::encode_all(text.as_bytes(), 0).map_err(fail)?;
            write_whole(&folder.join(format!("{name}-{}-{seed}-{number}.jsonl.zst", found.kernel)), &bytes)?;
        }
    }
    let named = |result: conform::Result| conform::Result { name: format!("live {} {}", found.kernel, result.name), ..result };
    summary.results.extend(found.results.into_iter().map(named));
    Ok(())
}

/// A seed that nobody chose; it is printed, so the run can be repeated.
fn fresh_seed() -> u64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    (nanos ^ u64::from(std::process::id())) % 1_000_000_000
}
