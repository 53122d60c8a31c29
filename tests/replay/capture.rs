//! Captures that are written down as dialogues, and what a replay makes of them.
//!
//! A dialogue is a row of words; each packet follows the one before it by a millisecond, or by the silence that was written
//! between them:
//!
//! | word | meaning |
//! |---|---|
//! | `open` | the handshake, three packets |
//! | `c10`, `s10` | ten bytes from the client, from the server |
//! | `c`, `s` | an ACK |
//! | `ck`, `sk` | a keepalive probe |
//! | `cf`, `sf` | a FIN |
//! | `cr`, `sr`, `sr+5` | a RST, with the exact sequence number or so far beyond it |
//! | `cS`, `sS` | a SYN, a SYN/ACK |
//! | `cz`, `sz` | an ACK that announces a window of zero |
//! | `c!10`, `s!10` | ten bytes that were sent and are not in the capture |
//! | `again` | the packet before, seen twice by the capture |
//! | `retry` | the packet before, sent again |
//! | `+900` | silence, in seconds |
//! | `@` | the silence that the table is about |
#![allow(dead_code, reason = "each test file uses its own part")]

use flowlapse::capture::{self, Input};
use flowlapse::decode::Filter;
use flowlapse::engine::pipeline::{self, Job, Run};
use flowlapse::engine::{Clock, Path};
use flowlapse::finding::judge::judge;
use flowlapse::finding::{Finding, evidence_name};
use flowlapse::net::Direction;
use flowlapse::policy;
use flowlapse::report::{Report, json, text};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicBool;

pub(crate) const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;
/// When every dialogue begins, in nanoseconds since 1970.
pub(crate) const START: u64 = 1_700_000_000 * SECOND;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// A packet: when it was captured, and its bytes from the IP header on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Packet {
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
}

/// What one end has sent.
#[derive(Clone, Copy)]
struct End {
    sock: SocketAddr,
    next: u32,
}

/// The two ends of a dialogue, and where it begins.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
    /// The initial sequence numbers.
    pub(crate) isn: [u32; 2],
    /// The time of the first packet.
    pub(crate) start: u64,
    pub(crate) udp: bool,
}

impl Ends {
    /// The `number`-th client and the one server.
    pub(crate) fn number(number: u16) -> Ends {
        let client = SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 40_000 + number % 20_000));
        Ends { client, server: SocketAddr::from(([10, 1, 0, 1], 443)), isn: [1_000, 9_000_000], start: START, udp: false }
    }

    pub(crate) fn udp(self) -> Ends {
        Ends { udp: true, server: SocketAddr::new(self.server.ip(), 5_353), ..self }
    }

    pub(crate) fn six(self) -> Ends {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        Ends {
            client: SocketAddr::new(address("fd00:1::2"), self.client.port()),
            server: SocketAddr::new(address("fd00:2::1"), self.server.port()),
            ..self
        }
    }

    /// The packets of a dialogue between these ends; `silence` stands where the dialogue says `@`.
    pub(crate) fn talk(self, dialogue: &str, silence: u64) -> Vec<Packet> {
        let mut talk = Talk {
            ends: [End { sock: self.client, next: self.isn[0] }, End { sock: self.server, next: self.isn[1] }],
            clock: self.start,
            pause: Some(0),
            udp: self.udp,
            packets: Vec::new(),
        };
        for word in dialogue.split_whitespace() {
            talk.word(word, silence);
        }
        talk.packets
    }
}

struct Talk {
    ends: [End; 2],
    clock: u64,
    /// The silence before the next packet, where one was written.
    pause: Option<u64>,
    udp: bool,
    packets: Vec<Packet>,
}

impl Talk {
    fn word(&mut self, word: &str, silence: u64) {
        match word {
            "@" => return self.pause = Some(silence),
            "open" => return ["cS", "sS", "c"].into_iter().for_each(|word| self.word(word, silence)),
            "again" | "retry" => {
                let last = self.packets.last().expect("a packet to repeat").bytes.clone();
                self.clock += if word == "again" { 5_000 } else { self.pause.take().unwrap_or(MILLISECOND) };
                return self.packets.push(Packet { at: self.clock, bytes: last });
            }
            _ => {}
        }
        if let Some(seconds) = word.strip_prefix('+') {
            self.pause = Some((seconds.parse::<f64>().expect("seconds") * 1e9).round() as u64);
            return;
        }
        let (who, what) = word.split_at(1);
        let from = usize::from(who == "s");
        assert!(matches!(who, "c" | "s"), "no such word: {word}");
        if let Some(len) = what.strip_prefix('!') {
            let len: u32 = len.parse().expect("a length");
            self.ends[from].next = self.ends[from].next.wrapping_add(len);
            return;
        }
        let (what, offset) = what.split_once('+').map_or((what, 0), |(what, more)| (what, more.parse().expect("an offset")));
        let (flags, len, back, window) = match what {
            "" => (ACK, 0, 0, 8_000),
            "k" => (ACK, 0, 1, 8_000),
            "f" => (FIN | ACK, 0, 0, 8_000),
            "r" => (RST | ACK, 0, 0, 0),
            "S" => (if from == 0 { SYN } else { SYN | ACK }, 0, 0, 8_000),
            "z" => (ACK, 0, 0, 0),
            len => (PSH | ACK, len.parse().expect("a length"), 0, 8_000),
        };
        self.clock += self.pause.take().unwrap_or(MILLISECOND);
        let (me, peer) = (self.ends[from], self.ends[1 - from]);
        let seq = me.next.wrapping_sub(back).wrapping_add(offset);
        let ack = if flags & ACK == 0 { 0 } else { peer.next };
        let transport = if self.udp { udp(me.sock, peer.sock, len) } else { tcp(me.sock, peer.sock, flags, seq, ack, window, len) };
        let phantom = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        self.ends[from].next = me.next.wrapping_add(len + phantom);
        let bytes = ip(me.sock.ip(), peer.sock.ip(), if self.udp { 17 } else { 6 }, &transport);
        self.packets.push(Packet { at: self.clock, bytes });
    }
}

fn tcp(from: SocketAddr, to: SocketAddr, flags: u8, seq: u32, ack: u32, window: u16, len: u32) -> Vec<u8> {
    let mut header = from.port().to_be_bytes().to_vec();
    header.extend(to.port().to_be_bytes());
    header.extend(seq.to_be_bytes());
    header.extend(ack.to_be_bytes());
    header.extend([0x50, flags]);
    header.extend(window.to_be_bytes());
    header.extend([0; 4]);
    header.resize(20 + len as usize, 0x61);
    header
}

fn udp(from: SocketAddr, to: SocketAddr, len: u32) -> Vec<u8> {
    let mut header = from.port().to_be_bytes().to_vec();
    header.extend(to.port().to_be_bytes());
    header.extend((8 + len as u16).to_be_bytes());
    header.extend([0; 2]);
    header.resize(8 + len as usize, 0x61);
    header
}

fn ip(from: IpAddr, to: IpAddr, proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet;
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet = vec![0x45, 0];
            packet.extend((20 + payload.len() as u16).to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 64, proto, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet = vec![0x60, 0, 0, 0];
            packet.extend((payload.len() as u16).to_be_bytes());
            packet.extend([proto, 64]);
            packet.extend(from.octets());
            packet.extend(to.octets());
        }
        _ => panic!("both ends are of one family"),
    }
    packet.extend(payload);
    packet
}

/// A pcap file with nanoseconds and raw IP.
pub(crate) fn pcap<'a>(packets: impl IntoIterator<Item = &'a Packet>) -> Vec<u8> {
    let mut file = 0xa1b2_3c4d_u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0]);
    for word in [0_u32, 0, 262_144, 101] {
        file.extend(word.to_le_bytes());
    }
    for packet in packets {
        let len = packet.bytes.len() as u64;
        for word in [packet.at / SECOND, packet.at % SECOND, len, len] {
            file.extend((word as u32).to_le_bytes());
        }
        file.extend(&packet.bytes);
    }
    file
}

/// What to run: everything that is not the capture itself.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) boxes: Vec<String>,
    pub(crate) clock: Clock,
    pub(crate) threads: usize,
    pub(crate) filter: Option<&'static str>,
}

impl Setup {
    /// Boxes, separated by blanks, behind an ideal clock.
    pub(crate) fn boxes(boxes: &str) -> Setup {
        Setup { boxes: boxes.split_whitespace().map(str::to_owned).collect(), clock: Clock::Ideal, threads: 1, filter: None }
    }

    pub(crate) fn clock(self, clock: Clock) -> Setup {
        Setup { clock, ..self }
    }

    pub(crate) fn path(&self) -> Path {
        let read = |name: &str| Err(format!("{name} is not to be read"));
        let specs: Vec<_> =
            self.boxes.iter().flat_map(|text| policy::parse(text, &read).unwrap_or_else(|error| panic!("--box {text}: {error}"))).collect();
        Path::build(&specs, self.clock).unwrap_or_else(|error| panic!("{:?}: {error}", self.boxes))
    }

    fn run(&self, files: &[Vec<u8>], path: &Path) -> (Run, Vec<Finding>) {
        let inputs: Vec<Input> = files
            .iter()
            .enumerate()
            .map(|(index, bytes)| Input::Bytes { name: format!("file{index}"), bytes: bytes.as_slice().into() })
            .collect();
        let mut capture = capture::open(&inputs).expect("the test's file is a capture");
        let filter = self.filter.map(|text| Filter::parse(text).expect("a filter"));
        let job = Job { threads: self.threads, filter, ..Job::default() };
        let run = pipeline::run(&mut capture, path, &job, &AtomicBool::new(false));
        let findings = (0..run.flows.len())
            .map(|number| {
                let flow = run.flows.flow(number);
                judge(path, run.socks(flow), flow, &run.flows.run(number), run.end)
            })
            .collect();
        (run, findings)
    }

    /// The findings of some files.
    pub(crate) fn files(&self, files: &[Vec<u8>]) -> Vec<Finding> {
        self.run(files, &self.path()).1
    }

    /// The findings of packets in their order.
    pub(crate) fn judge(&self, packets: &[Packet]) -> Vec<Finding> {
        self.files(&[pcap(packets)])
    }

    /// The finding of the only flow of a dialogue.
    pub(crate) fn talk(&self, ends: Ends, dialogue: &str, silence: u64) -> Finding {
        let mut findings = self.judge(&ends.talk(dialogue, silence));
        assert_eq!(findings.len(), 1, "one flow: {dialogue}");
        findings.remove(0)
    }

    /// The report for machines, as bytes.
    pub(crate) fn json(&self, files: &[Vec<u8>]) -> Vec<u8> {
        let path = self.path();
        let (run, _) = self.run(files, &path);
        let mut bytes = Vec::new();
        json::write(&Report::new(&path, &run), &mut bytes).expect("memory takes everything");
        bytes
    }

    /// The report for people.
    pub(crate) fn text(&self, files: &[Vec<u8>]) -> String {
        let path = self.path();
        let (run, _) = self.run(files, &path);
        text::told(&Report::new(&path, &run), text::Layout::default())
    }

    /// The same, one flow a line.
    pub(crate) fn ndjson(&self, files: &[Vec<u8>]) -> Vec<u8> {
        let path = self.path();
        let (run, _) = self.run(files, &path);
        let mut bytes = Vec::new();
        json::write_lines(&Report::new(&path, &run), true, &mut bytes).expect("memory takes everything");
        bytes
    }
}

/// A finding in a line: verdict, box and state with the timer where it is not the state's own, victim, fate; what each end feels;
/// what would have kept it.
pub(crate) fn tell(f: &Finding) -> String {
    let Some(d) = &f.decisive else { return f.verdict.name().to_owned() };
    let mut text = format!("{} {}.{}", f.verdict.name(), d.hop, d.cause.state);
    if d.cause.timer != d.cause.state.to_ascii_lowercase() {
        let _ = write!(text, "/{}", d.cause.timer);
    }
    if let Some((frame, _)) = d.victim {
        let _ = write!(text, " #{frame}");
    }
    let from = if d.dir == Direction::Original { "client" } else { "server" };
    let _ = write!(text, " {} from {from}, {}", d.kind.name(), d.fate);
    if let Some([client, server]) = &f.symptoms {
        let _ = write!(text, "; {}/{}", client.feeling.name(), server.feeling.name());
    }
    for advice in &f.advice {
        let line = advice.line.replace("sysctl -w net.netfilter.nf_conntrack_", "ct:");
        let _ = write!(text, "; {}", line.replace("sysctl -w net.ipv4.tcp_keepalive_time=", "keepalive "));
    }
    text
}

/// What is known about the silence that decided.
pub(crate) fn evidence(f: &Finding) -> &'static str {
    f.decisive.as_ref().map_or("", |d| evidence_name(d.evidence))
}

/// The caveats by name.
pub(crate) fn caveats(f: &Finding) -> Vec<&'static str> {
    f.caveats.iter().map(|c| c.name()).collect()
}

/// One row: the boxes, the dialogue with `@` for the silence, the timer in seconds, and what is said of a silence of its length.
pub(crate) type Row = (&'static str, &'static str, u64, &'static str);

/// A silence that is a nanosecond shorter than the timer is survived, one of exactly its length is not.
pub(crate) fn both_sides(ends: Ends, rows: &[Row]) {
    let mut wrong = String::new();
    for &(boxes, dialogue, timer, expected) in rows {
        let setup = Setup::boxes(boxes);
        let before = tell(&setup.talk(ends, dialogue, timer * SECOND - 1));
        let finding = setup.talk(ends, dialogue, timer * SECOND);
        let at = tell(&finding);
        if let Some(d) = &finding.decisive {
            let numbers = (d.timeout.0, d.idle.0, d.excess().0, d.refreshed.0 + d.idle.0);
            let end = finding.span.1.0;
            assert_eq!(numbers, (timer * SECOND, timer * SECOND, 0, end), "{boxes}: {dialogue}");
        }
        if before != "survives" || at != expected {
            let _ = writeln!(wrong, "({boxes:?}, {dialogue:?}, {timer}, {at:?}), // just before: {before}");
        }
    }
    assert!(wrong.is_empty(), "these rows come out otherwise:\n{wrong}");
}
