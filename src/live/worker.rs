//! The process that does the work beside a kernel: turn after turn a box, dialogues, a report.

use super::dialogues;
use super::record::Turn;
use super::testbed::{Testbed, release};
use super::variant::{Variant, of_turn};
use super::{Event, Request, Skipped};
use crate::rng::Rng;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// The hidden option that makes this program a worker.
pub const OPTION: &str = "--live-worker";

/// The command line of a worker.
///
/// # Errors
/// None in practice: a plain struct becomes JSON.
pub fn arguments(request: &Request) -> Result<Vec<String>, String> {
    let request = serde_json::to_string(request).map_err(|error| error.to_string())?;
    Ok(vec!["conform".to_owned(), OPTION.to_owned(), request])
}

/// How long a turn is, packets back to back.
const TURN: Duration = Duration::from_secs(3);
/// How long a turn is at most whose packets have pauses; it must leave time for timers to end.
const TIMED_TURN: Duration = Duration::from_secs(20);
/// A timed turn shorter than this would show nothing.
const TIMED_TURN_MIN: Duration = Duration::from_secs(6);
/// A timed turn may take so much of the whole time, so that a short run sees more than a few boxes.
const TIMED_SHARE: u32 = 8;
/// So many variants may fail one after the other before nothing more is tried: at first, and after some have been tried.
const FAILURES_MAX: [usize; 2] = [5, 40];

/// Does what is asked for and reports on standard output, an event a line.
pub fn work(request: &Request) {
    let ended = prepare().and_then(|(kernel, has_ipvs)| {
        if request.dialogues { dialogues::batches(request, &kernel, has_ipvs, report) } else { turns(request, has_ipvs) }
    });
    report(&Event { failed: ended.err(), end: true, ..Event::default() });
    if request.guest && std::process::id() == 1 {
        let _ = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_POWER_OFF);
    }
}

/// Says whether anybody still listens.
fn report(event: &Event) -> bool {
    let mut out = std::io::stdout().lock();
    serde_json::to_string(event).is_ok_and(|line| writeln!(out, "{line}").and_then(|()| out.flush()).is_ok())
}

/// Gets the privileges and the modules that are needed, and says which kernel this is and whether it has IPVS.
fn prepare() -> Result<(String, bool), String> {
    if !nix::unistd::geteuid().is_root() {
        enter_user_namespace()?;
    }
    for module in ["tun", "veth", "nf_conntrack", "nf_conntrack_netlink", "ip_vs", "ip_vs_rr"] {
        // Only the host's root can, and only where they are modules.
        let _ = std::process::Command::new("modprobe").args(["-q", module]).stderr(std::process::Stdio::null()).status();
    }
    let kernel = release().ok_or("/proc/sys/kernel/osrelease cannot be read")?;
    if !Path::new("/proc/thread-self/net/nf_conntrack").exists() {
        return Err(format!("kernel {kernel} has no /proc/net/nf_conntrack: no conntrack, or one without a listing"));
    }
    report(&Event { kernel: Some(kernel.clone()), ..Event::default() });
    Ok((kernel, Path::new("/proc/thread-self/net/ip_vs_conn").exists()))
}

fn turns(request: &Request, has_ipvs: bool) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(request.seconds);
    let wanted = |v: &Variant| (request.variants.is_empty() || request.variants.contains(&v.name)) && (has_ipvs || !v.is_ipvs());
    let (mut succeeded, mut failures, mut first_error) = (false, 0, None);
    for turn in 0.. {
        let now = Instant::now();
        if now >= until {
            break;
        }
        let Some(variant) = of_turn(request.seed, turn, wanted) else {
            return Err("this kernel has none of the variants wanted (no IPVS?)".to_owned());
        };
        if variant.is_timed() && until - now < TIMED_TURN_MIN && turn > 0 {
            if !request.variants.is_empty() {
                break;
            }
            continue;
        }
        match one(request, turn, &variant, until) {
            // The time was over before the box was built.
            Ok(event) if event.result.as_ref().is_some_and(|result| result.steps == 0) => {}
            Ok(event) => {
                (succeeded, failures) = (true, 0);
                if !report(&event) {
                    break;
                }
            }
            Err(error) => {
                failures += 1;
                report(&Event { skipped: Some(Skipped { variant: variant.name, reason: error.clone() }), ..Event::default() });
                first_error.get_or_insert(error);
                if failures >= FAILURES_MAX[usize::from(succeeded)] {
                    break;
                }
            }
        }
    }
    // Where nothing could be tried, the kernel is not to be had.
    first_error.filter(|_| !succeeded).map_or(Ok(()), Err)
}

/// One turn.
fn one(request: &Request, turn: u64, variant: &Variant, until: Instant) -> Result<Event, String> {
    let mut rng = Rng::keyed(request.seed, turn);
    let bed = Testbed::build(variant, request.seed, request.hz)?;
    // To build it takes a second on a slow machine; the turn begins then.
    let timed = (Duration::from_secs(request.seconds) / TIMED_SHARE).clamp(TIMED_TURN_MIN, TIMED_TURN);
    let end = Instant::now() + if variant.is_timed() { timed } else { TURN };
    let outcome = Turn::new(&bed, variant, Rng::new(rng.number()), request)?.run(end.min(until))?;
    Ok(Event { result: Some(outcome.result), recording: outcome.recording, ..Event::default() })
}

/// Root in a namespace of users, for those who are not root: it may make network namespaces.
fn enter_user_namespace() -> Result<(), String> {
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).map_err(|error| format!("no user namespace: {error}"))?;
    let write = |file: &str, text: String| fs::write(file, text).map_err(|error| format!("{file}: {error}"));
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}
