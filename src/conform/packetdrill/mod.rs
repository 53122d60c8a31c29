//! The kernel's own way of testing conntrack: packetdrill scripts with assertions about its table and about rules' counters.
//!
//! In the real thing the packets marked `>` come from a host's TCP stack and those marked `<` are made up; conntrack runs on
//! the host. Here the same packets go through the conntrack model as that host's hooks would show them to it. Compared are:
//! every packet that the host sends (a rule must not keep it back), every answer (the packet that it answers must have been
//! let in), and every assertion. What the host's TCP sends is the script's word; a TCP stack is not modelled here. The host does
//! not wait for the script, though: where a script looks at the table before it names the next packet that the host sends,
//! that packet may be on its way already (a SYN is repeated two ticks after a RST, an ACK leaves at once).

mod parse;
mod shell;

use super::{Disagreement, Result};
use crate::model::conntrack::dialect::Dialect;
use crate::model::conntrack::entry::{Entry, State, status};
use crate::model::conntrack::table::{Lateness, Table};
use crate::model::conntrack::track::{Conntrack, Tracked};
use crate::model::conntrack::{Settings, track::Attached};
use crate::model::{CtState, End, Host, Lapse, Moment, Tuple};
use crate::net::{Proto, Segment, SegmentBits, Seq, TcpFlags};
use crate::time::{Duration, Instant};
use parse::{Event, Packet, What};
use shell::{Assertion, Command, Filter, Listing, Rule, Target};
use std::collections::VecDeque;

/// The port of the service in every such script.
const SERVICE_PORT: u16 = 8080;
const CLIENT_PORT: u16 = 34_500;
/// The first sequence number of the host under test; scripts count from it.
const LOCAL_INITIAL: u32 = 0x5a00_0000;
/// The window where a script leaves it open.
const WINDOW: u16 = 65_535;
const LOCAL: Host = Host(0);
const REMOTE: Host = Host(1);
const ADDRESSES: [&str; 2] = ["192.0.2.2", "192.0.2.1"];

/// Whether a text looks like a script.
pub(super) fn is_script(text: &str) -> bool {
    parse::is_script(text)
}

/// Runs a script on the conntrack of a release.
///
/// # Errors
/// What is not understood, with its line.
pub(super) fn compare(name: &str, text: &str, dialect: &'static Dialect) -> std::result::Result<Result, String> {
    let events = parse::parse(text)?;
    let mut host = Under {
        conntrack: Conntrack { settings: Settings::defaults(dialect), lateness: Lateness::Exact },
        table: Table::EMPTY,
        rules: Vec::new(),
        closed: Vec::new(),
        now: Instant::ZERO,
        slept: Duration::ZERO,
        listens: false,
        opener_is_local: true,
        remote_initial: None,
        unanswered: VecDeque::new(),
        last: None,
        dialogue: Vec::new(),
        ahead: 0,
    };
    let mut result = Result::new(name);
    for (index, event) in events.iter().enumerate() {
        host.event(event, &events[index + 1..], &mut result).map_err(|what| format!("line {}: {what}", event.line))?;
    }
    Ok(result)
}

/// The host under test, as far as conntrack and its rules go.
#[derive(Clone)]
struct Under {
    conntrack: Conntrack,
    table: Table,
    /// Rules with their counters of packets and bytes.
    rules: Vec<(Rule, u64, u64)>,
    /// The chains that drop what no rule decides about.
    closed: Vec<String>,
    now: Instant,
    /// How much longer the script has run than its own times say.
    slept: Duration,
    listens: bool,
    /// Whether the first SYN came from the host itself.
    opener_is_local: bool,
    /// The sequence number of the peer's first SYN, from which the script counts.
    remote_initial: Option<u32>,
    /// Packets that the host owes an answer, oldest first.
    unanswered: VecDeque<Arrived>,
    /// The packet before, if it was inbound.
    last: Option<Arrived>,
    dialogue: Vec<String>,
    /// How many of the script's next packets have left already.
    ahead: usize,
}

/// An inbound packet and what became of it.
#[derive(Clone)]
struct Arrived {
    line: usize,
    text: String,
    /// The rule that kept it back, or conntrack itself.
    dropped: Option<String>,
    seg: Segment,
}

impl Under {
    fn event(&mut self, event: &Event, following: &[Event], result: &mut Result) -> std::result::Result<(), String> {
        self.now = event.at + self.slept;
        match &event.what {
            What::Call(name) => {
                self.listens |= name == "listen";
                // What is sent next may be the program's doing.
                self.last = None;
            }
            What::Packet(packet) if packet.inbound => {
                self.arrive(event.line, packet);
                let answered = following.iter().find_map(|next| match &next.what {
                    What::Packet(next) => Some(!next.inbound),
                    What::Command(_) => Some(false),
                    What::Call(_) => None,
                });
                self.answer_unasked(answered == Some(true));
            }
            What::Packet(_) if self.ahead > 0 => self.ahead -= 1,
            What::Packet(packet) => self.send(event.line, packet, result),
            What::Command(text) => {
                for command in shell::read(text)? {
                    self.command(event.line, text, command, following, result)?;
                }
            }
        }
        Ok(())
    }

    fn tuple(&self, inbound: bool) -> Tuple {
        let (local, remote) = if self.opener_is_local { (CLIENT_PORT, SERVICE_PORT) } else { (SERVICE_PORT, CLIENT_PORT) };
        let out = Tuple { src: End { host: LOCAL, port: local }, dst: End { host: REMOTE, port: remote } };
        if inbound { out.inverse() } else { out }
    }

    /// A packet in the numbers that are on the wire. Scripts count both sides from their first SYN; only the sequence number of
    /// an inbound SYN is as it is written.
    fn segment(&self, packet: &Packet) -> Segment {
        let remote = self.remote_initial.unwrap_or(0);
        let syn = packet.flags.has(TcpFlags::SYN);
        let has_ack = packet.flags.has(TcpFlags::ACK);
        let (seq, ack_base) = match (packet.inbound, syn) {
            (true, true) => (packet.seq, LOCAL_INITIAL),
            (true, false) => (packet.seq.wrapping_add(remote), LOCAL_INITIAL),
            (false, _) => (packet.seq.wrapping_add(LOCAL_INITIAL), remote),
        };
        let ack = if has_ack { packet.ack.wrapping_add(ack_base) } else { 0 };
        let mut options = packet.options.clone();
        for edge in options.sack.iter_mut().flatten() {
            *edge = u64::from((*edge as u32).wrapping_add(ack_base));
        }
        let mut segment = options.on(Segment {
            at: self.now,
            seq: Seq(seq),
            ack: Seq(ack),
            len: packet.len,
            window: packet.window.unwrap_or(WINDOW),
            flags: packet.flags,
            ..Segment::EMPTY
        });
        if packet.has_options {
            segment.bits.0 |= SegmentBits::HAS_OPTIONS;
        }
        segment
    }

    /// A packet passes conntrack and a chain; says what keeps it back, if anything does.
    fn pass(&mut self, inbound: bool, seg: &Segment) -> (CtState, Option<String>) {
        let mut moment = Moment::exact(self.now);
        let mut lapse: Option<Lapse> = None;
        let tuple = self.tuple(inbound);
        let tracked = self.conntrack.track(&mut self.table, tuple, Proto::Tcp, seg, &mut moment, &mut lapse);
        let (state, attached): (CtState, Option<Attached>) = match tracked {
            Tracked::Yes(attached) => (attached.state, Some(attached)),
            Tracked::Invalid(_) => (CtState::Invalid, None),
            Tracked::Dropped => return (CtState::Invalid, Some("conntrack dropped it".to_owned())),
        };
        let chain = if inbound { "INPUT" } else { "OUTPUT" };
        let mut decided = None;
        for (rule, packets, bytes) in self.rules.iter_mut().filter(|(rule, _, _)| rule.chain == chain) {
            let by_state = rule.states.is_empty() || rule.states.iter().any(|name| name == state.name());
            let by_flags = rule.flags.is_none_or(|(mask, set)| seg.flags.0 & mask == set);
            let by_ports = [tuple.src.port, tuple.dst.port].iter().zip(rule.ports).all(|(port, wanted)| wanted.is_none_or(|w| w == *port));
            if by_state && by_flags && by_ports {
                const HEADERS: u64 = 40;
                *packets += 1;
                *bytes += HEADERS + u64::from(seg.len);
                if let Some(target) = rule.target {
                    decided = Some((target, format!("-A {chain} {} dropped it", rule.spec)));
                    break;
                }
            }
        }
        let by_policy = || self.closed.iter().any(|closed| closed == chain).then(|| format!("-P {chain} DROP dropped it"));
        let dropped = match decided {
            Some((Target::Drop, why)) => Some(why),
            Some((Target::Accept, _)) => None,
            None => by_policy(),
        };
        if let Some(attached) = attached.filter(|_| dropped.is_none()) {
            self.conntrack.confirm(&mut self.table, attached, &mut moment);
        }
        self.conntrack.discard_unconfirmed(&mut self.table);
        (state, dropped)
    }

    fn arrive(&mut self, line: usize, packet: &Packet) {
        let syn = packet.flags.has(TcpFlags::SYN);
        if syn && !packet.flags.has(TcpFlags::ACK) && self.table.iter().next().is_none() && self.listens {
            self.opener_is_local = false;
        }
        let seg = self.segment(packet);
        if syn && self.remote_initial.is_none() {
            self.remote_initial = Some(packet.seq);
        }
        let (state, dropped) = self.pass(true, &seg);
        let fate = dropped.as_deref().unwrap_or("let in");
        self.dialogue.push(format!("line {line}: {} -> {}, {fate}; {}", packet.text, state.name(), self.told()));
        let arrived = Arrived { line, text: packet.text.clone(), dropped, seg };
        if packet.len > 0 || packet.flags.any(TcpFlags::SYN | TcpFlags::FIN) {
            self.unanswered.push_back(arrived.clone());
        }
        self.last = Some(arrived);
    }

    /// A listening host answers a SYN by itself; a script that ends there, or looks at the table, need not say so.
    fn answer_unasked(&mut self, script_answers: bool) {
        let opens = |arrived: &Arrived| arrived.dropped.is_none() && arrived.seg.flags.0 & 0x17 == TcpFlags::SYN;
        let Some(arrived) = self.last.clone().filter(|arrived| self.listens && !script_answers && opens(arrived)) else { return };
        self.unanswered.pop_back();
        let answer = Segment {
            at: self.now,
            // A new connection begins somewhere else than the old one.
            seq: Seq(LOCAL_INITIAL.wrapping_add(0x0100_0000)),
            ack: arrived.seg.end(),
            sack: arrived.seg.end(),
            window: WINDOW,
            flags: TcpFlags(TcpFlags::SYN | TcpFlags::ACK),
            bits: SegmentBits(SegmentBits::HAS_OPTIONS),
            ..Segment::EMPTY
        };
        let (state, _) = self.pass(false, &answer);
        self.dialogue.push(format!("the host's own SYN/ACK -> {}; {}", state.name(), self.told()));
    }

    fn send(&mut self, line: usize, packet: &Packet, result: &mut Result) {
        result.steps += 1;
        let reset = packet.flags.has(TcpFlags::RST);
        let bare = packet.len == 0 && (reset || packet.flags.has(TcpFlags::ACK)) && !packet.flags.has(TcpFlags::FIN);
        let opens_answer = packet.flags.0 & (TcpFlags::SYN | TcpFlags::ACK) == TcpFlags::SYN | TcpFlags::ACK;
        // A reset answers the packet before it; an acknowledgement answers the oldest packet that wants one.
        let cause = match (reset, bare || opens_answer) {
            (true, _) => self.last.take(),
            (false, true) => self.unanswered.pop_front(),
            (false, false) => None,
        };
        let seg = self.segment(packet);
        if packet.flags.0 & 0x17 == TcpFlags::SYN && self.table.iter().next().is_none() {
            self.opener_is_local = true;
        }
        let (state, dropped) = self.pass(false, &seg);
        let told = format!("line {line}: {} -> {}; {}", packet.text, state.name(), self.told());
        let swallowed = cause.and_then(|cause| Some((cause.dropped.clone()?, cause)));
        let got = match (dropped, swallowed) {
            (Some(why), _) => Some(format!("{} and {why}", state.name())),
            (None, Some((why, cause))) => Some(format!("no answer: {why} (line {}: {})", cause.line, cause.text)),
            (None, None) => None,
        };
        if let Some(got) = got {
            let dialogue = self.dialogue.clone();
            result.disagree(|| Disagreement {
                step: line,
                injected: packet.text.clone(),
                expected: "the packet leaves".to_owned(),
                got,
                dialogue,
                recording: None,
            });
        }
        self.dialogue.push(told);
        self.last = None;
    }

    fn command(
        &mut self,
        line: usize,
        text: &str,
        command: Command,
        following: &[Event],
        result: &mut Result,
    ) -> std::result::Result<(), String> {
        match command {
            Command::Nothing => {}
            Command::Sleep(span) => self.slept = Duration(self.slept.0.saturating_add(span.0)),
            Command::Flush => self.table = Table::EMPTY,
            Command::Sysctl(name, value) => self.set(&name, &value)?,
            Command::Append(rule) => self.rules.push((rule, 0, 0)),
            Command::Insert(rule) => self.rules.insert(0, (rule, 0, 0)),
            Command::Delete(rule) => {
                let at = self.rules.iter().position(|(known, _, _)| *known == rule);
                self.rules.remove(at.ok_or("there is no such rule to delete")?);
            }
            Command::FlushRules(chain) => self.rules.retain(|(rule, _, _)| chain.as_ref().is_some_and(|c| *c != rule.chain)),
            Command::ZeroRules(chain) => {
                for (rule, packets, bytes) in &mut self.rules {
                    if chain.as_ref().is_none_or(|c| *c == rule.chain) {
                        (*packets, *bytes) = (0, 0);
                    }
                }
            }
            Command::Policy(chain, target) => {
                self.closed.retain(|closed| *closed != chain);
                if target == Target::Drop {
                    self.closed.push(chain);
                }
            }
            Command::Assert(assertion) => self.assert(line, text, &assertion, following, result)?,
        }
        Ok(())
    }

    /// What an assertion looks at.
    fn printed(&self, assertion: &Assertion) -> String {
        match &assertion.listing {
            Listing::Rules(chain) => self.printed_rules(chain),
            Listing::Entries(filter) => self.listing(filter),
        }
    }

    fn assert(
        &mut self,
        line: usize,
        text: &str,
        assertion: &Assertion,
        following: &[Event],
        result: &mut Result,
    ) -> std::result::Result<(), String> {
        result.steps += 1;
        let listing = self.printed(assertion);
        let mut holds = assertion.holds(&listing)?;
        // The host's next packets may have left before the look.
        let mut later = (self.clone(), result.clone());
        for event in following.iter().skip(self.ahead) {
            let What::Packet(packet) = &event.what else { break };
            if holds || packet.inbound {
                break;
            }
            later.0.send(event.line, packet, &mut later.1);
            later.0.ahead += 1;
            if assertion.holds(&later.0.printed(assertion))? {
                (*self, *result) = later.clone();
                holds = true;
            }
        }
        if !holds {
            let dialogue = self.dialogue.clone();
            let shown = listing.trim_end().replace('\n', "; ");
            result.disagree(|| Disagreement {
                step: line,
                injected: text.to_owned(),
                expected: "the assertion holds".to_owned(),
                got: if shown.is_empty() { "an empty listing".to_owned() } else { shown },
                dialogue,
                recording: None,
            });
        }
        self.dialogue.push(format!("line {line}: {text}"));
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> std::result::Result<(), String> {
        let Some(name) = name.strip_prefix("net.netfilter.nf_conntrack_") else { return Ok(()) };
        let number: u64 = value.parse().map_err(|_| format!("sysctl nf_conntrack_{name}: '{value}' is no number"))?;
        let s = &mut self.conntrack.settings;
        let span = Duration::from_secs(number);
        match name {
            "tcp_loose" => s.tcp_loose = number.min(255) as u8,
            "tcp_be_liberal" => s.tcp_be_liberal = number != 0,
            "tcp_max_retrans" => s.tcp_max_retrans = number.min(255) as u8,
            "tcp_ignore_invalid_rst" => s.tcp_ignore_invalid_rst = number != 0,
            "tcp_timeout_max_retrans" => s.tcp_timeout_max_retrans = span,
            "tcp_timeout_unacknowledged" => s.tcp_timeout_unacknowledged = span,
            "log_invalid" | "checksum" | "acct" | "timestamp" => {}
            _ => {
                let state = State::ALL.into_iter().find(|s| name == format!("tcp_timeout_{}", s.name().to_ascii_lowercase()));
                let state = state.ok_or_else(|| format!("sysctl nf_conntrack_{name} is not understood"))?;
                s.tcp_timeouts[state as usize] = span;
            }
        }
        Ok(())
    }

    /// The entries as `conntrack -L` prints them.
    fn listing(&self, filter: &Filter) -> String {
        let wanted = |e: &&Entry| {
            e.deadline() > self.now
                && filter.sport.is_none_or(|port| e.original.src.port == port)
                && filter.dport.is_none_or(|port| e.original.dst.port == port)
        };
        self.table.iter().filter(wanted).map(|e| self.line(e) + "\n").collect()
    }

    fn line(&self, e: &Entry) -> String {
        let tuple = |t: Tuple| {
            let address = |host: Host| ADDRESSES[usize::from(host.0 & 1)];
            format!("src={} dst={} sport={} dport={}", address(t.src.host), address(t.dst.host), t.src.port, t.dst.port)
        };
        let unreplied = if e.is(status::SEEN_REPLY) { "" } else { " [UNREPLIED]" };
        let assured = if e.is(status::ASSURED) { " [ASSURED]" } else { "" };
        format!(
            "tcp      6 {} {} {}{unreplied} {}{assured} mark=0 use=1",
            e.deadline().since(self.now).as_secs(),
            e.tcp.state.name(),
            tuple(e.original),
            tuple(e.reply)
        )
    }

    fn told(&self) -> String {
        self.table.iter().next().map_or("no entry".to_owned(), |e| self.line(e))
    }

    /// A chain as `iptables -v -S` prints it.
    fn printed_rules(&self, chain: &str) -> String {
        let policy = if self.closed.iter().any(|closed| closed == chain) { "DROP" } else { "ACCEPT" };
        let mut out = format!("-P {chain} {policy} -c 0 0\n");
        for (rule, packets, bytes) in self.rules.iter().filter(|(rule, _, _)| rule.chain == chain) {
            let (matches, target) = match rule.spec.rfind("-j ") {
                Some(at) => (rule.spec[..at].trim_end(), format!(" {}", &rule.spec[at..])),
                None => (rule.spec.as_str(), String::new()),
            };
            out.push_str(&format!("-A {chain} {matches} -c {packets} {bytes}{target}\n"));
        }
        out
    }
}
