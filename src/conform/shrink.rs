//! Makes a dialogue that shows a disagreement as small and as plain as it can be while it still shows it.
//!
//! Whether it still does is for the caller to find out, on whatever the disagreement was with.

use super::generate::Planned;
use super::recording::Options;
use crate::model::Side;
use crate::net::{Seq, TcpFlags};
use crate::time::Duration;

/// The numbers that a side begins with in a dialogue made plain.
const PLAIN_INITIAL: [u32; 2] = [1000, 5000];

/// Looks for a smaller dialogue for which `fails` still says yes. `fails` is asked at most `attempts` times.
pub fn shrink(dialogue: Vec<Planned>, attempts: usize, mut fails: impl FnMut(&[Planned]) -> bool) -> Vec<Planned> {
    let mut left = attempts;
    let mut ask = |candidate: &[Planned]| {
        left = left.saturating_sub(1);
        left > 0 && fails(candidate)
    };
    let mut best = dialogue;
    loop {
        let before = best.clone();
        best = fewer(best, &mut ask);
        best = plainer(best, &mut ask);
        if best == before {
            break;
        }
    }
    let based = rebased(&best);
    if based != best && ask(&based) { based } else { best }
}

/// Leaves packets out: halves first, then ever shorter runs, down to single packets.
fn fewer(mut best: Vec<Planned>, ask: &mut impl FnMut(&[Planned]) -> bool) -> Vec<Planned> {
    let mut run = best.len().div_ceil(2);
    while run > 0 {
        let mut at = 0;
        while at < best.len() && best.len() > 1 {
            let mut candidate = best.clone();
            let out: Vec<Planned> = candidate.drain(at..(at + run).min(best.len())).collect();
            // Time goes on without the packets.
            let gap: u64 = out.iter().map(|p| p.gap.0).sum();
            if let Some(next) = candidate.get_mut(at) {
                next.gap = Duration(next.gap.0 + gap);
            }
            if !candidate.is_empty() && ask(&candidate) {
                best = candidate;
            } else {
                at += run;
            }
        }
        run /= 2;
    }
    best
}

/// Makes each packet plainer: no pause, no options, no payload, an ordinary window.
fn plainer(mut best: Vec<Planned>, ask: &mut impl FnMut(&[Planned]) -> bool) -> Vec<Planned> {
    let changes: [fn(&mut Planned); 6] = [
        |p| p.gap = Duration::ZERO,
        |p| p.options = Options::default(),
        |p| p.options.sack.clear(),
        |p| p.len = 0,
        |p| p.window = 65_535,
        |p| p.flags = TcpFlags(p.flags.0 & !(TcpFlags::PSH | TcpFlags::ECE | TcpFlags::CWR)),
    ];
    for at in 0..best.len() {
        for change in changes {
            let mut candidate = best.clone();
            change(&mut candidate[at]);
            if candidate != best && ask(&candidate) {
                best = candidate;
            }
        }
    }
    best
}

/// The same dialogue with each side's numbers shifted so that its first is a round one.
fn rebased(dialogue: &[Planned]) -> Vec<Planned> {
    let shift = [Side::Client, Side::Server].map(|side| {
        let first = dialogue.iter().find(|p| p.from == side).map(|p| p.seq);
        let answered = dialogue.iter().find(|p| p.from != side && p.flags.has(TcpFlags::ACK)).map(|p| p.ack.minus(1));
        first.or(answered).map_or(0, |seq| PLAIN_INITIAL[side as usize].wrapping_sub(seq.0))
    });
    let mut based = dialogue.to_vec();
    for p in &mut based {
        let (own, other) = (shift[p.from as usize], shift[1 - p.from as usize]);
        p.seq = p.seq.plus(own);
        if p.ack != Seq(0) {
            p.ack = p.ack.plus(other);
        }
        for edge in p.options.sack.iter_mut().flatten() {
            *edge = u64::from((*edge as u32).wrapping_add(other));
        }
    }
    based
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::generate::{Taste, dialogue};
    use crate::rng::Rng;

    #[test]
    fn a_dialogue_is_reduced_to_what_matters() {
        let taste = Taste {
            udp: false,
            pause_max: Some(Duration::from_secs(4)),
            timers: vec![Duration::from_secs(2)],
            damaged_percent: 20,
            server_heard: true,
        };
        // Two packets matter: a SYN, and later a RST of the server's side, with three seconds in between.
        let fails = |d: &[Planned]| {
            let mut clock = 0;
            let mut opened = None;
            d.iter().any(|p| {
                clock += p.gap.0;
                if p.flags.0 == TcpFlags::SYN && p.from == Side::Client {
                    opened.get_or_insert(clock);
                }
                opened.is_some_and(|at| clock >= at + 3_000_000_000) && p.from == Side::Server && p.flags.has(TcpFlags::RST)
            })
        };
        let long = (0..10_000).map(|seed| dialogue(Rng::new(seed), &taste)).find(|d| d.len() > 12 && fails(d)).expect("one of them has it");
        let small = shrink(long, 2000, fails);
        assert_eq!(small.len(), 2, "{small:?}");
        assert!(small[0].gap == Duration::ZERO && small[1].gap.0 >= 3_000_000_000);
        assert_eq!((small[0].seq, small[0].options.clone()), (Seq(1000), Options::default()));
        assert_eq!(small[1].seq, Seq(5000));
    }

    #[test]
    fn attempts_are_bounded() {
        let taste = Taste { udp: false, pause_max: None, timers: Vec::new(), damaged_percent: 0, server_heard: true };
        let mut asked = 0;
        let mut seed = 0;
        let long = loop {
            let d = dialogue(Rng::new(seed), &taste);
            if d.len() > 10 {
                break d;
            }
            seed += 1;
        };
        shrink(long, 20, |_| {
            asked += 1;
            true
        });
        assert!(asked < 20, "{asked}");
    }
}
