//! Compares the boxes with `steps` recordings: every packet sent, every entry, its state, flags and remaining time.

use super::bench::{Bench, BoxUnderTest, CLIENT, FAR, Memory, SERVER, SERVICE_PORT};
use super::recording::{Header, Listed, Out, Step};
use super::{Disagreement, Result};
use crate::model::conntrack::entry::{Entry, status};
use crate::model::director::Director;
use crate::model::ipvs::conn::Conn;
use crate::model::{CtState, End, Moment, Outcome, Packet, Sent, Side, Tuple, What};
use crate::net::{Proto, Segment, TcpFlags};
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;

/// Compares a recording.
///
/// # Errors
/// What cannot be read, with its line.
pub fn compare(name: &str, text: &str) -> std::result::Result<Result, String> {
    let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    let (_, first) = lines.next().ok_or("empty: expected a header line")?;
    let header: Header = serde_json::from_str(first).map_err(|e| format!("line 1, column {}: {e}", e.column()))?;
    let mut comparison = Comparison::new(name, &header)?;
    for (number, line) in lines {
        let step: Step = serde_json::from_str(line).map_err(|e| format!("line {}, column {}: {e}", number + 1, e.column()))?;
        comparison.step(&step);
    }
    Ok(comparison.result)
}

/// A comparison under way: the models beside a recording, or beside a kernel that is being recorded.
pub struct Comparison {
    bench: Bench,
    /// What the box may remember of each dialogue (one way unless something was in doubt), and what was said in it.
    dialogues: BTreeMap<u32, (Vec<Memory>, Vec<String>)>,
    /// The same for all of them, where dialogues can meet: a translated port may be another dialogue's own.
    shared: Option<Vec<Memory>>,
    reading: Reading,
    /// Whether the whole table is flushed after each dialogue.
    flushes: bool,
    last_seq: Option<u32>,
    result: Result,
}

impl Comparison {
    /// The box of a header, with nothing in its tables.
    ///
    /// # Errors
    /// What is not understood.
    pub fn new(name: &str, header: &Header) -> std::result::Result<Comparison, String> {
        Ok(Comparison {
            bench: Bench::new(header)?,
            dialogues: BTreeMap::new(),
            shared: header.option("nat").map(|_| Vec::new()),
            reading: Reading::default(),
            flushes: header.kind == "conntrack" && header.option("timed").is_none(),
            last_seq: None,
            result: Result::new(name),
        })
    }

    /// Compares one step and returns whether model and kernel disagree on it.
    pub fn step(&mut self, step: &Step) -> bool {
        if self.flushes && self.last_seq != Some(step.seq) {
            self.dialogues.clear();
            self.shared = self.shared.take().map(|_| Vec::new());
        }
        self.last_seq = Some(step.seq);
        self.bench.blur = self.bench.blur.max(self.bench.hz.tick() + step.spread());
        self.result.steps += 1;
        // Only where an entry is missing from a listing does it matter what else the listing held.
        let missing = |ct: &Option<Option<Listed>>, vs: &Option<Option<Listed>>| *ct == Some(None) || *vs == Some(None);
        if missing(&step.ct, &step.vs) || step.before.as_ref().is_some_and(|b| missing(&b.ct, &b.vs)) {
            let all = self.shared.iter().chain(self.dialogues.values().map(|(memories, _)| memories));
            let tables: Vec<&Memory> = all.filter_map(|memories| memories.first()).collect();
            self.reading = Reading::new(&self.bench, &tables, self.reading, step.at());
        }
        self.reading.earlier = self.reading.last;
        self.reading.last = step.at();
        let (own, dialogue) = self.dialogues.entry(step.seq).or_default();
        let memories = self.shared.as_mut().unwrap_or(own);
        let (number, before) = (self.result.steps, self.result.disagree);
        self.bench.check(memories, dialogue, step, number, &self.reading, &mut self.result);
        self.result.disagree > before
    }

    /// What was found so far.
    pub fn result(&self) -> &Result {
        &self.result
    }
}

/// Whether something fits the recording, for what reason that is not certain, or else what was expected and what came.
type Fit = std::result::Result<Option<&'static str>, (String, String)>;

/// One way in which a step may have gone: what the box remembers after it, and whether it fits the recording.
struct Way {
    memory: Memory,
    fit: Fit,
    /// How many doubts the model had on it.
    asked: u8,
}

/// How many ways are followed at most, of those that fit.
const WAYS_MAX: usize = 16;

/// What the listings of the whole tables may have been like.
///
/// `/proc/net/nf_conntrack` is read a page at a time, each page resuming by the number of lines already shown, and reading
/// it collects entries that have ended. So an entry that ends at the moment of a reading shifts the rest of the table by
/// one, and a live entry behind it can be passed over (`ct_get_idx`, `ct_seq_show` in `nf_conntrack_standalone.c`).
/// `/proc/net/ip_vs_conn` resumes in the same way (`ip_vs_conn_array` in `ip_vs_conn.c`), and its entries end by themselves.
#[derive(Clone, Copy, Default)]
struct Reading {
    last: Instant,
    /// The step before the last: an entry that had ended may itself have been passed over by the reading before.
    earlier: Instant,
    may_skip: bool,
    ipvs_may_skip: bool,
}

impl Reading {
    /// As many entries as surely do not fit into a page of 4096 bytes.
    const LINES_A_PAGE: usize = 20;
    /// The same for IPVS, whose lines have 66 bytes.
    const IPVS_LINES_A_PAGE: usize = 62;

    fn new(bench: &Bench, memories: &[&Memory], before: Reading, now: Instant) -> Reading {
        let Reading { last, earlier, .. } = before;
        let blur = bench.blur;
        let entries = || memories.iter().flat_map(|m| m.entries(bench).iter());
        let live = entries().filter(|e| e.deadline() > now).count();
        let collected = entries().any(|e| e.deadline() + blur >= earlier && e.deadline() <= now + blur + blur);
        Reading {
            last,
            earlier,
            may_skip: live > Self::LINES_A_PAGE && collected,
            ipvs_may_skip: Self::ipvs_may_skip(bench, memories, earlier, now),
        }
    }

    fn ipvs_may_skip(bench: &Bench, memories: &[&Memory], since: Instant, now: Instant) -> bool {
        let BoxUnderTest::Director(director) = &bench.device else { return false };
        let fires = || memories.iter().flat_map(|m| m.director.conns.iter()).map(|c| director.lateness().fires(c.refreshed, c.timeout));
        let listed = fires().filter(|(_, latest)| *latest > now).count();
        listed >= Self::IPVS_LINES_A_PAGE
            && fires().any(|(earliest, latest)| latest + bench.blur >= since && earliest <= now + bench.blur + bench.blur)
    }
}

const SKIPPED: &str = "the end of another entry lies within the clock's uncertainty of the reading, which then skips lines";
const CLOCK: &str = "a moment within the clock's uncertainty";
const PORT: &str = "a port that the kernel draws at random";
const TWO_ENTRIES: &str = "two entries of one dialogue";
const RATE_LIMIT: &str = "ICMP errors are rate-limited";

impl Bench {
    /// Runs one step in every way that the model's doubts allow, from everything that the box may remember. Each way that fits the
    /// recording is followed further: which one the kernel went may show only later. Where none fits, model and kernel disagree.
    fn check(
        &self,
        memories: &mut Vec<Memory>,
        dialogue: &mut Vec<String>,
        step: &Step,
        number: usize,
        reading: &Reading,
        result: &mut Result,
    ) {
        if memories.is_empty() {
            memories.push(Memory::default());
        }
        let mut fitting: Vec<Memory> = Vec::with_capacity(1);
        let mut uncertain = None;
        let mut wrong = None;
        for way in memories.iter().flat_map(|memory| self.ways(memory, step, reading)) {
            match way.fit {
                Ok(reason) => {
                    if fitting.is_empty() {
                        uncertain = reason;
                    }
                    if fitting.len() < WAYS_MAX && !fitting.contains(&way.memory) {
                        fitting.push(way.memory);
                    }
                }
                // The first one, in which every doubt was resolved for the entry, is the one to tell.
                Err(expected_and_got) => {
                    wrong.get_or_insert((way.memory, expected_and_got));
                }
            }
        }
        match wrong {
            Some((memory, (expected, got))) if fitting.is_empty() => {
                fitting.push(memory);
                let (injected, dialogue) = (step.describe(), dialogue.clone());
                result.disagree(|| Disagreement { step: number, injected, expected, got, dialogue, recording: None });
            }
            _ => {
                if let Some(reason) = uncertain {
                    result.undecided(number, reason);
                }
            }
        }
        *memories = fitting;
        dialogue.push(format!("{} -> {}", step.describe(), tell_recorded(step)));
    }

    /// All ways in which a step may go from what the box remembers.
    fn ways(&self, memory: &Memory, step: &Step, reading: &Reading) -> Vec<Way> {
        let mut memory = memory.clone();
        let before = match &step.before {
            Some(before) => self.listed(&mut memory, step, before.ct.as_ref(), before.vs.as_ref(), "before: ", reading),
            None => Ok(None),
        };
        let mut ways = Vec::with_capacity(1);
        let (mut answers, mut asked) = (0_u8, 0);
        while answers >> asked == 0 {
            let mut way = self.attempt(memory.clone(), step, answers, reading);
            asked = asked.max(way.asked.min(4));
            way.fit = match (&before, way.fit) {
                (Err(wrong), _) => Err(wrong.clone()),
                (Ok(listed), Ok(reason)) => {
                    let doubt = way.asked > 0 || *listed == Some(CLOCK);
                    Ok(reason.or(listed.filter(|reason| *reason == SKIPPED)).or(doubt.then_some(CLOCK)))
                }
                (Ok(_), wrong) => wrong,
            };
            ways.push(way);
            answers += 1;
        }
        ways
    }

    fn attempt(&self, mut memory: Memory, step: &Step, answers: u8, reading: &Reading) -> Way {
        let seg = step.segment();
        let client = End { host: CLIENT, port: step.port };
        let (from, tuple) = if step.from == "client" {
            (Side::Client, Tuple { src: client, dst: End { host: self.dialled, port: SERVICE_PORT } })
        } else {
            (Side::Server, Tuple { src: End { host: SERVER, port: SERVICE_PORT }, dst: End { host: self.answered, port: step.port } })
        };
        let drawn = step.out.first().and_then(|o| if o.to == "server" { o.sport } else { o.dport });
        let mut moment = Moment { blur: self.blur, answers, port: drawn, ..Moment::exact(step.at()) };
        let packet = Packet { from, tuple, proto: self.proto, seg: &seg };
        let outcome = self.packet(&mut memory, packet, &mut moment);
        let fit = self.sent(step, &seg, &outcome).and_then(|reason| {
            let listed = self.listed(&mut memory, step, step.ct.as_ref(), step.vs.as_ref(), "", reading)?;
            Ok(reason.or(listed))
        });
        Way { memory, asked: moment.asked, fit }
    }

    /// Compares the packets that left.
    fn sent(&self, step: &Step, seg: &Segment, outcome: &Outcome) -> Fit {
        let mut reason = None;
        let mut sent: Vec<&Sent> = outcome.sent.iter().flatten().collect();
        if step.out.is_empty() && sent.len() == 1 && sent[0].what == What::Unreachable {
            reason = Some(RATE_LIMIT);
            sent.clear();
        }
        if outcome.drew_port {
            reason = Some(PORT);
        }
        let fits = sent.len() == step.out.len() && sent.iter().zip(&step.out).all(|(s, o)| self.same(s, o, seg));
        if fits {
            return Ok(reason);
        }
        let expected = tell_recorded(step);
        let mut got = sent.iter().map(|s| self.tell_sent(s, seg)).collect::<Vec<_>>().join(", ");
        if let Some(reason) = outcome.dropped {
            got.push_str(&format!(" ({reason:?})"));
        }
        if let Some(why) = outcome.invalid {
            got.push_str(&format!(" (INVALID: {})", why.text()));
        }
        Err((expected, format!("sent [{got}]")))
    }

    fn same(&self, sent: &Sent, out: &Out, seg: &Segment) -> bool {
        let side = sent.to.name();
        let ct = if sent.ct == CtState::Off { None } else { Some(sent.ct.name()) };
        if out.to != side || out.ct.as_deref() != ct {
            return false;
        }
        if let Some(kind) = out.icmp {
            return sent.what == What::Unreachable && (kind == [3, 3] || kind == [1, 4]);
        }
        let addresses = out.src.as_deref() == Some(self.address(sent.tuple.src.host))
            && out.dst.as_deref() == Some(self.address(sent.tuple.dst.host))
            && out.sport == Some(sent.tuple.src.port)
            && out.dport == Some(sent.tuple.dst.port);
        let content = match sent.what {
            What::Unreachable => false,
            What::Packet if self.proto == Proto::Udp => out.len == Some(seg.len),
            What::Packet => same_flags(out, seg.flags) && out.seq == Some(seg.seq.0) && out.ack == Some(seg.ack.0),
            What::Reset { seq, ack } => {
                let flags = TcpFlags(TcpFlags::RST | if ack.is_some() { TcpFlags::ACK } else { 0 });
                same_flags(out, flags) && out.seq == Some(seq.0) && ack.is_none_or(|a| out.ack == Some(a.0))
            }
        };
        addresses && content
    }

    fn tell_sent(&self, s: &Sent, seg: &Segment) -> String {
        let what = match s.what {
            What::Packet => format!("[{}]", seg.flags),
            What::Reset { seq, ack: Some(ack) } => format!("[RA] seq {} ack {}", seq.0, ack.0),
            What::Reset { seq, ack: None } => format!("[R] seq {}", seq.0),
            What::Unreachable => "ICMP unreachable".to_owned(),
        };
        let t = s.tuple;
        format!(
            "to {:?} {}:{} > {}:{} {what} ct={}",
            s.to,
            self.address(t.src.host),
            t.src.port,
            self.address(t.dst.host),
            t.dst.port,
            s.ct.name()
        )
    }

    /// Compares both listings with what the model holds, and drops from the model what the listing shows to be gone.
    fn listed(
        &self,
        memory: &mut Memory,
        step: &Step,
        ct: Option<&Option<Listed>>,
        vs: Option<&Option<Listed>>,
        when: &str,
        reading: &Reading,
    ) -> Fit {
        let mut earlier = memory.clone();
        let ended = match (vs, &self.device) {
            (Some(recorded), BoxUnderTest::Director(director)) => {
                self.listed_ipvs(director, memory, step, recorded.as_ref(), when, reading)?
            }
            _ => None,
        };
        let Some(recorded) = ct else { return Ok(ended) };
        match self.listed_conntrack(memory, step, recorded.as_ref(), when, reading) {
            // Conntrack's table is read first: an IPVS entry may have ended, and taken its conntrack entry along, in between.
            Err(_) if ended.is_some() => self.listed_conntrack(&mut earlier, step, recorded.as_ref(), when, reading).map(|r| r.or(ended)),
            other => other.map(|r| r.or(ended)),
        }
    }

    /// Conntrack's part of [`Bench::listed`].
    fn listed_conntrack(&self, memory: &mut Memory, step: &Step, recorded: Option<&Listed>, when: &str, reading: &Reading) -> Fit {
        let now = step.at();
        let ends_of_dialogue = [CLIENT, FAR].map(|host| End { host, port: step.port });
        let in_dialogue = |end: End| ends_of_dialogue.contains(&end);
        // An entry of another dialogue may have drawn this one's port; whoever looks for this one need not mean that.
        let own = |e: &Entry| in_dialogue(e.original.src) || in_dialogue(e.original.dst);
        let concerns = |e: &Entry| own(e) || in_dialogue(e.reply.src) || in_dialogue(e.reply.dst);
        let ended = |e: &Entry| ends(self.both_ways(now, |m| self.lateness.has_ended(e.refreshed, e.timeout, m)));
        let candidates: Vec<Entry> = memory.entries(self).iter().filter(|e| concerns(e) && ended(e) != Ended::Yes).copied().collect();
        let certain = candidates.iter().any(|e| own(e) && ended(e) == Ended::No);
        let Some(listed) = recorded else {
            if certain && !reading.may_skip {
                return Err((format!("{when}ct none"), format!("{when}ct {}", tell_entries(&candidates, now))));
            }
            if certain {
                return Ok(Some(SKIPPED));
            }
            memory.entries_mut(self).remove_where(|e| own(e) && ended(e) == Ended::Maybe);
            return Ok(candidates.iter().any(own).then_some(CLOCK));
        };
        if !candidates.iter().any(|e| self.entry_fits(e, listed, now)) {
            return Err((format!("{when}ct {}", tell_listed(recorded)), format!("{when}ct {}", tell_entries(&candidates, now))));
        }
        Ok((candidates.len() > 1).then_some(TWO_ENTRIES))
    }

    /// IPVS's part of [`Bench::listed`].
    fn listed_ipvs(
        &self,
        director: &Director,
        memory: &mut Memory,
        step: &Step,
        recorded: Option<&Listed>,
        when: &str,
        reading: &Reading,
    ) -> Fit {
        let now = step.at();
        let ended = |c: &Conn| ends(self.both_ways(now, |m| director.lateness().has_ended(c.refreshed, c.timeout, m)));
        let conn = memory.director.conns.iter().find(|c| c.client.port == step.port).copied().filter(|c| ended(c) != Ended::Yes);
        let (fits, reason) = match (recorded, &conn) {
            (Some(listed), Some(c)) => (self.conn_fits(c, listed, now), None),
            (None, Some(c)) if ended(c) == Ended::No && reading.ipvs_may_skip => return Ok(Some(SKIPPED)),
            (None, Some(c)) => (ended(c) == Ended::Maybe, Some(CLOCK)),
            (None, None) => (true, None),
            (Some(_), None) => (false, None),
        };
        if !fits {
            let got = conn.map_or("none".to_owned(), |c| format!("{} left {}", c.state.name(), c.deadline().since(now)));
            return Err((format!("{when}vs {}", tell_listed(recorded)), format!("{when}vs {got}")));
        }
        if let (None, Some(gone)) = (recorded, conn) {
            director.expire(&mut memory.director, |other| *other == gone);
        }
        Ok(reason)
    }

    /// Asks an expiry test twice: with every doubt resolved for the entry, and against it.
    fn both_ways(&self, now: Instant, test: impl Fn(&mut Moment) -> bool) -> (bool, bool) {
        let ask = |answers| test(&mut Moment { blur: self.blur, answers, ..Moment::exact(now) });
        (ask(0), ask(u8::MAX))
    }

    /// The printed seconds are rounded down, a tick may pass before they are read, and the step may have taken time.
    fn seconds_fit(&self, deadline: Instant, now: Instant, printed: u64) -> bool {
        let tick = self.hz.tick();
        let spread = Duration(self.blur.0 - tick.0);
        let most = (deadline + self.blur).since(now).as_secs();
        let least = (deadline + tick).since(now + spread).as_secs().saturating_sub(1);
        (least..=most).contains(&printed)
    }

    fn entry_fits(&self, e: &Entry, r: &Listed, now: Instant) -> bool {
        let state = if self.proto == Proto::Tcp { Some(e.tcp.state.name()) } else { None };
        r.state.as_deref() == state
            && r.assured == Some(e.is(status::ASSURED))
            && r.unreplied == Some(!e.is(status::SEEN_REPLY))
            && self.seconds_fit(e.deadline(), now, r.timeout)
    }

    fn conn_fits(&self, c: &Conn, r: &Listed, now: Instant) -> bool {
        let state = if self.proto == Proto::Tcp { c.state.name() } else { "UDP" };
        r.state.as_deref() == Some(state) && self.seconds_fit(c.deadline(), now, r.timeout)
    }
}

fn tell_entries(entries: &[Entry], now: Instant) -> String {
    if entries.is_empty() {
        return "none".to_owned();
    }
    let one = |e: &Entry| {
        let assured = if e.is(status::ASSURED) { " assured" } else { "" };
        let unreplied = if e.is(status::SEEN_REPLY) { "" } else { " unreplied" };
        format!("{}{assured}{unreplied} left {} by {:?}", e.tcp.state.name(), e.deadline().since(now), e.clause)
    };
    entries.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    Maybe,
    Yes,
}

fn ends((in_favour, against): (bool, bool)) -> Ended {
    match (in_favour, against) {
        (true, _) => Ended::Yes,
        (false, true) => Ended::Maybe,
        (false, false) => Ended::No,
    }
}

fn same_flags(out: &Out, flags: TcpFlags) -> bool {
    out.flags.as_deref().and_then(|f| TcpFlags::parse(f).ok()) == Some(flags)
}

fn tell_listed(listed: Option<&Listed>) -> String {
    match listed {
        None => "none".to_owned(),
        Some(l) => {
            let assured = if l.assured == Some(true) { " assured" } else { "" };
            let unreplied = if l.unreplied == Some(true) { " unreplied" } else { "" };
            format!("{}{assured}{unreplied} {} s", l.state.as_deref().unwrap_or("UDP"), l.timeout)
        }
    }
}

fn tell_recorded(step: &Step) -> String {
    let one = |o: &Out| match o.icmp {
        Some([kind, code]) => format!("to {} ICMP {kind}/{code} ct={}", o.to, o.ct.as_deref().unwrap_or("off")),
        None => format!(
            "to {} {}:{} > {}:{} [{}] seq {} ct={}",
            o.to,
            o.src.as_deref().unwrap_or("?"),
            o.sport.unwrap_or(0),
            o.dst.as_deref().unwrap_or("?"),
            o.dport.unwrap_or(0),
            o.flags.as_deref().unwrap_or(""),
            o.seq.unwrap_or(0),
            o.ct.as_deref().unwrap_or("off")
        ),
    };
    let mut told = format!("sent [{}]", step.out.iter().map(one).collect::<Vec<_>>().join(", "));
    if let Some(ct) = &step.ct {
        told.push_str(&format!(", ct {}", tell_listed(ct.as_ref())));
    }
    if let Some(vs) = &step.vs {
        told.push_str(&format!(", vs {}", tell_listed(vs.as_ref())));
    }
    told
}
