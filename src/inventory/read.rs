//! Texts into an [`Inventory`]: what a machine's tools print, what its files hold, and bundles of both.
//!
//! A text is divided into blocks of one kind each, and each kind has a reader of its own below. A line that cannot be read is
//! named; no reader guesses what it might have been. All of it is linear in the length of the text.

mod bundle;
mod conntrack;
mod iptables;
mod ipvs_conns;
mod ipvs_services;
mod keepalived;
mod kube;
mod nft;
mod nft_words;
mod rules;
mod sniff;
mod sockets;
mod ssh;
mod sysctls;
mod words;

use super::{At, Inventory, Kind, Note, Shown, Unread};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A shell script that gathers on one machine what can be read here. It only reads, and prints to its standard output.
pub const COLLECTOR: &str = include_str!("read/collector.sh");

/// Reads a text of any kinds, in any order. `origin` is what the text is called in reports.
pub fn read(text: &str, origin: &str, into: &mut Inventory) {
    read_until(None, text, origin, into, &NEVER);
}

/// Reads a text of which one knows what it is.
pub fn read_as(kind: Kind, text: &str, origin: &str, into: &mut Inventory) {
    read_until(Some(kind), text, origin, into, &NEVER);
}

/// Reads a text of a kind, or of any kinds. When `stop` becomes true, what was read of it stands.
pub fn read_until(kind: Option<Kind>, text: &str, origin: &str, into: &mut Inventory, stop: &AtomicBool) {
    Reader::new(origin, into, stop).text(text, kind);
    into.interrupted |= stop.load(Ordering::Relaxed);
}

static NEVER: AtomicBool = AtomicBool::new(false);

/// How much of a line is quoted where it cannot be read.
const QUOTED: usize = 100;

/// A line of a text.
#[derive(Clone, Copy, Debug)]
struct Line<'t> {
    /// Without its end.
    text: &'t str,
    /// From 1.
    number: u32,
    /// Whether it has an end. The last one of a text that was cut has none.
    ended: bool,
}

impl Line<'_> {
    /// Whether it says nothing in any of the formats.
    fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }
}

/// Where readers put what they find.
struct Reader<'i> {
    into: &'i mut Inventory,
    origin: Arc<str>,
    stop: &'i AtomicBool,
}

impl<'i> Reader<'i> {
    fn new(origin: &str, into: &'i mut Inventory, stop: &'i AtomicBool) -> Reader<'i> {
        Reader { into, origin: Arc::from(origin), stop }
    }

    /// The lines, as long as nobody stops.
    fn going<'l, 't>(&self, lines: &'l [Line<'t>]) -> impl Iterator<Item = &'l Line<'t>> + use<'i, 'l, 't> {
        let stop = self.stop;
        lines.iter().take_while(move |_| !stop.load(Ordering::Relaxed))
    }

    fn text(&mut self, text: &str, kind: Option<Kind>) {
        let text = text.trim_start_matches('\u{feff}');
        let lines: Vec<Line<'_>> = text
            .split_inclusive('\n')
            .zip(1..)
            .map(|(whole, number)| {
                let ended = whole.ends_with('\n');
                Line { text: whole.trim_end_matches('\n').trim_end_matches('\r'), number, ended }
            })
            .collect();
        for block in sniff::blocks(&lines, kind, &self.origin) {
            self.block(&block);
        }
    }

    fn block(&mut self, block: &sniff::Block<'_>) {
        let lines = block.lines;
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        let kind = match block.what {
            sniff::What::Nothing => {
                self.into.ignored += lines.iter().filter(|line| !line.is_blank() && !is_comment(line)).count() as u64;
                return;
            }
            sniff::What::Marker => return bundle::marker(self, lines),
            sniff::What::Machine => return bundle::machine(self, lines),
            sniff::What::Kind(kind) => kind,
        };
        if let Some(first) = block.head {
            let at = self.at(first);
            self.into.shown.push(Shown { kind, at });
        }
        match kind {
            Kind::Sysctls => sysctls::read(self, lines),
            Kind::IpvsTimeouts => ipvs_services::timeouts(self, lines),
            Kind::IpvsServices => ipvs_services::read(self, lines),
            Kind::IpvsConns => ipvs_conns::read(self, lines),
            Kind::Conntrack | Kind::ConntrackEvents => conntrack::read(self, lines, kind),
            Kind::Sockets => sockets::read(self, lines),
            Kind::Sshd | Kind::Ssh => ssh::read(self, lines, kind),
            Kind::Nft => nft::read(self, lines),
            Kind::Iptables => iptables::read(self, lines),
            Kind::KubeProxy => kube::read(self, lines),
            Kind::Keepalived => keepalived::read(self, lines),
        }
    }

    fn at(&self, line: &Line<'_>) -> At {
        At { origin: Arc::clone(&self.origin), line: line.number }
    }

    fn unread(&mut self, line: &Line<'_>, kind: Kind, why: impl Into<String>) {
        let at = self.at(line);
        let text = line.text.trim().chars().take(QUOTED).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect();
        self.into.unread.push(Unread { at, kind, text, why: why.into() });
    }

    fn note(&mut self, line: &Line<'_>, text: impl Into<String>) {
        let at = self.at(line);
        self.into.notes.push(Note { at, text: text.into() });
    }

    fn ignore(&mut self) {
        self.into.ignored += 1;
    }

    /// Says of a line that was read that its last number may be a part of one: the text has no end, and the format no mark of it.
    fn open_end(&mut self, line: &Line<'_>) {
        if !line.ended && line.text.ends_with(|letter: char| letter.is_ascii_alphanumeric()) {
            self.note(line, "the text ends without the end of this line: if it was cut off here, its last number may be too short");
        }
    }
}

/// Whether a line is a comment in most of the formats.
fn is_comment(line: &Line<'_>) -> bool {
    line.text.trim_start().starts_with(['#', ';'])
}
