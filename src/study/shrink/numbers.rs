//! Sequence numbers without the packets that are left out: what they carried closes up, what was missing already stays missing.

use crate::net::{Direction, Segment, Seq, TcpFlags};

/// With what number each side begins.
const BEGIN: [u32; 2] = [1_000_000, 2_000_000];
/// Longer segments, as hosts hand them to their network card, become so long: IP has no room for more.
const LEN_MAX: i64 = 60_000;

/// A segment in numbers that do not wrap: where it begins, and what it acknowledges of the other side.
#[derive(Clone, Copy)]
struct Span {
    seq: i64,
    ack: i64,
    sack: i64,
}

/// One side's numbers.
#[derive(Clone, Copy, Default)]
struct Side {
    /// The first number that was seen of it.
    base: Option<u32>,
    /// The last one, counted from there.
    last: i64,
}

impl Side {
    fn unwrapped(&mut self, Seq(number): Seq) -> i64 {
        let base = *self.base.get_or_insert(number);
        let last = base.wrapping_add(self.last as u32);
        let offset = self.last + i64::from(number.wrapping_sub(last) as i32);
        self.last = offset;
        offset
    }
}

fn index(dir: Direction) -> usize {
    usize::from(dir == Direction::Reply)
}

fn spans(segments: &[Segment]) -> Vec<Span> {
    let mut sides = [Side::default(); 2];
    let mut spans = Vec::with_capacity(segments.len());
    for seg in segments {
        let own = index(seg.dir);
        let seq = sides[own].unwrapped(seg.seq);
        let acks = seg.flags.has(TcpFlags::ACK);
        let ack = if acks { sides[1 - own].unwrapped(seg.ack) } else { 0 };
        let sack = if acks { ack + i64::from(seg.sack.0.wrapping_sub(seg.ack.0) as i32) } else { 0 };
        spans.push(Span { seq, ack, sack });
    }
    spans
}

/// How many numbers a segment takes up.
fn length(seg: &Segment) -> i64 {
    flag(seg, TcpFlags::SYN) + i64::from(seg.len) + flag(seg, TcpFlags::FIN)
}

fn flag(seg: &Segment, flag: u8) -> i64 {
    i64::from(seg.flags.has(flag))
}

/// Stretches in order, none touching the next.
fn united(mut stretches: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    stretches.retain(|(from, to)| from < to);
    stretches.sort_unstable();
    let mut united: Vec<(i64, i64)> = Vec::with_capacity(stretches.len());
    for (from, to) in stretches {
        match united.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => united.push((from, to)),
        }
    }
    united
}

/// What is in `all` and not in `kept`, both united.
fn without(all: &[(i64, i64)], kept: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut left = Vec::new();
    let mut next = 0;
    for &(mut from, to) in all {
        while kept.get(next).is_some_and(|stretch| stretch.1 <= from) {
            next += 1;
        }
        let mut at = next;
        while let Some(&(begin, end)) = kept.get(at).filter(|stretch| stretch.0 < to) {
            if from < begin {
                left.push((from, begin));
            }
            from = from.max(end);
            at += 1;
        }
        if from < to {
            left.push((from, to));
        }
    }
    left
}

/// Stretches that close up, each with how much was closed up before it.
struct Closing(Vec<(i64, i64, i64)>);

impl Closing {
    fn new(stretches: &[(i64, i64)]) -> Closing {
        let mut before = 0;
        let closed = stretches.iter().map(|&(from, to)| {
            let known = (from, to, before);
            before += to - from;
            known
        });
        Closing(closed.collect())
    }

    fn moved(&self, number: i64) -> i64 {
        let count = self.0.partition_point(|(from, ..)| *from < number);
        match count.checked_sub(1).and_then(|last| self.0.get(last)) {
            None => number,
            Some(&(from, to, before)) => number - before - (number.min(to) - from),
        }
    }
}

/// The segments at `kept`, in places of the flow, with numbers that go on from one to the next as those of the whole flow did.
pub(super) fn renumbered(segments: &[Segment], kept: &[usize]) -> Vec<Segment> {
    let spans = spans(segments);
    let (mut all, mut left) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for (seg, span) in segments.iter().zip(&spans) {
        all[index(seg.dir)].push((span.seq, span.seq + length(seg)));
    }
    let mut highest = [i64::MIN; 2];
    for &place in kept {
        let (seg, span) = (&segments[place], spans[place]);
        let own = index(seg.dir);
        let end = span.seq + length(seg);
        let most = flag(seg, TcpFlags::SYN) + LEN_MAX;
        left[own].push((span.seq, if i64::from(seg.len) > LEN_MAX { span.seq + most } else { end }));
        // A probe repeats the number before the next one, which must not fall together with it.
        if length(seg) == 0 {
            left[own].push((span.seq, span.seq + 1));
        }
        highest[own] = highest[own].max(end);
    }
    let closing = [0, 1].map(|side: usize| {
        let all = united(std::mem::take(&mut all[side]));
        Closing::new(&without(&all, &united(std::mem::take(&mut left[side]))))
    });
    let number = |side: usize, offset: i64| Seq(BEGIN[side].wrapping_add(closing[side].moved(offset) as u32));
    let mut renumbered = Vec::with_capacity(kept.len());
    for &place in kept {
        let (seg, span) = (&segments[place], spans[place]);
        let own = index(seg.dir);
        let data = span.seq + flag(seg, TcpFlags::SYN);
        let len = closing[own].moved(data + i64::from(seg.len)) - closing[own].moved(data);
        let acks = seg.flags.has(TcpFlags::ACK);
        renumbered.push(Segment {
            seq: number(own, span.seq),
            ack: if acks { number(1 - own, span.ack) } else { Seq(0) },
            sack: if acks { number(1 - own, span.sack) } else { Seq(0) },
            len: u32::try_from(len).unwrap_or(0),
            ..*seg
        });
    }
    renumbered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seg(dir: Direction, flags: u8, seq: u32, ack: u32, len: u32) -> Segment {
        Segment { dir, flags: TcpFlags(flags), seq: Seq(seq), ack: Seq(ack), sack: Seq(ack), len, ..Segment::EMPTY }
    }

    const ACK: u8 = TcpFlags::ACK;
    const ONE: Direction = Direction::Original;
    const TWO: Direction = Direction::Reply;

    /// A flow whose numbers wrap: SYNs, three times ten bytes with their acknowledgements, a hole of five bytes, a probe.
    fn flow() -> Vec<Segment> {
        let c = u32::MAX - 15;
        let mut flow = vec![seg(ONE, TcpFlags::SYN, c, 0, 0), seg(TWO, TcpFlags::SYN | ACK, 7, c.wrapping_add(1), 0)];
        for n in 0..3_u32 {
            let seq = c.wrapping_add(1 + 10 * n);
            flow.extend([seg(ONE, ACK, seq, 8, 10), seg(TWO, ACK, 8, seq.wrapping_add(10), 0)]);
        }
        let seq = c.wrapping_add(36);
        flow.extend([seg(ONE, ACK, seq, 8, 10), seg(ONE, ACK, seq.wrapping_add(9), 8, 0)]);
        flow
    }

    fn told(segments: &[Segment]) -> Vec<(u32, u32, u32)> {
        let base = |dir: Direction| BEGIN[index(dir)];
        let relative = |seq: Seq, dir: Direction| seq.0.wrapping_sub(base(dir));
        segments.iter().map(|s| (relative(s.seq, s.dir), relative(s.ack, s.dir.opposite()), s.len)).collect()
    }

    #[test]
    fn all_packets_keep_their_distances() {
        let flow = flow();
        let all: Vec<usize> = (0..flow.len()).collect();
        let numbers = told(&renumbered(&flow, &all));
        assert_eq!(numbers[2..], [(1, 1, 10), (1, 11, 0), (11, 1, 10), (1, 21, 0), (21, 1, 10), (1, 31, 0), (36, 1, 10), (45, 1, 0)]);
    }

    #[test]
    fn what_is_left_out_closes_up_and_a_hole_stays() {
        let flow = flow();
        let numbers = told(&renumbered(&flow, &[0, 1, 2, 7, 8, 9]));
        assert_eq!(numbers[2..], [(1, 1, 10), (1, 11, 0), (16, 1, 10), (25, 1, 0)]);
    }

    #[test]
    fn a_probe_stays_one() {
        let flow = flow();
        let numbers = told(&renumbered(&flow, &[0, 1, 9]));
        // The byte that the probe repeats is all that is left between the handshake and the hole.
        assert_eq!(numbers[2], (6, 1, 0));
    }

    #[test]
    fn a_giant_becomes_one_that_ip_can_hold() {
        let flow = [seg(ONE, ACK, 0, 1, 65_000), seg(TWO, ACK, 1, 65_000, 0)];
        let numbers = told(&renumbered(&flow, &[0, 1]));
        assert_eq!(numbers, [(0, 0, 60_000), (0, 60_000, 0)]);
    }
}
