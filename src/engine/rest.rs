//! How a flow's way through a path rests between its packets: in eleven words for conntrack, IPVS and an idle box, where the
//! models at work take ten times as much.
//!
//! Nearly every flow has at most one entry at each box, with the addresses that the path gives it, and every box renewed it at
//! the same packet. What rests is what such a flow can differ in; all the rest follows from the path. Whatever is not of this
//! form rests as it is, beside. It knows the models' fields and none of their rules: what wakes is what went to rest.
//!
//! A new field of an entry has to rest too, or to follow from the path: where entries are made here, the compiler asks for it;
//! `tests/many/rest.rs` finds one that wakes as another.

use super::hop::{Device, Hop, HopState};
use super::opening::{passes_director, passes_router};
use super::path::Path;
use super::profile::Profile;
use super::rare::Rare;
use super::replay::{FlowRun, HopRun};
use super::timers::{Spans, TimerId, of_idle, of_running};
use super::told::heard;
use super::words::{
    ABSENT, BITS, CUT, FORWARD, HEAD, HOLE, HOPS, ODD, OVER, OWN, RARE, REVERSED, ROUTER, WORDS, bits_of, conn_bits, conn_of, form_of,
    idle_entry, pack_idle, rule_of, status_of, store_track, track_of,
};
use crate::flow::{Arena, Closing, Flow, Observation, PIECE, Revision};
use crate::model::conntrack::Timer;
use crate::model::conntrack::entry::{Entry, TcpTrack};
use crate::model::conntrack::router::Nat;
use crate::model::conntrack::rule::Rule;
use crate::model::ipvs::conn::{self, Conn};
use crate::model::ipvs::{self, Method};
use crate::model::{End, Host, Tuple};
use crate::net::Proto;
use crate::time::{Duration, Instant};

/// What stands in the words of one box.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) kind: Form,
    /// The tuple of a packet from the client as it comes to the box, but for its ports.
    from_client: [Host; 2],
    /// The same for a packet from the server.
    from_server: [Host; 2],
    /// Where its words begin.
    pub(super) at: usize,
    /// Whether replies never pass it.
    pub(super) one_way: bool,
    /// Where its own time and frame stand, if it has them.
    pub(super) own: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) enum Form {
    Router {
        /// The timers by the numbers of their rules.
        timers: Box<[Timer]>,
        /// Whether entries made by the server's packets have the tuple of a packet from the client for their reply.
        reverses: bool,
    },
    Director {
        settings: Box<ipvs::Settings>,
        real: Host,
    },
    Idle {
        /// Whether it matters how far each side's data has come.
        ends: bool,
    },
}

/// How the flows of a path rest.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) places: Vec<Place>,
    pub(super) words: usize,
    packs: bool,
    /// Whether every box sees all packets and is renewed by all.
    pub(super) even: bool,
    /// Whether a SYN from the client passes every box, with the addresses that the path expects.
    pub(super) opens: bool,
    /// What boxes remember of nothing, to begin with.
    blank: Box<[HopRun]>,
}

/// The resting flows of one shard, by number; `R` is what stands beside the few that have more than their words.
#[derive(Clone, Debug)]
pub(super) struct Shelf<R = Rare> {
    words: Vec<Box<[u64]>>,
    stride: usize,
    count: usize,
    /// The longest spells, which are at rest as they are at work.
    pub(super) profiles: Arena<Profile>,
    rares: Vec<Option<R>>,
    free: Vec<u32>,
}

impl<R> Shelf<R> {
    pub(super) fn new(layout: &Layout) -> Shelf<R> {
        let (words, profiles, rares, free) = (Vec::new(), Arena::default(), Vec::new(), Vec::new());
        Shelf { words, stride: layout.words, count: 0, profiles, rares, free }
    }

    /// A flow of which nothing is known, at the next place or in that of another.
    pub(super) fn put(&mut self, at: usize) {
        self.profiles.put(at, Profile::default());
        if at < self.count {
            self.set_beside(at, None);
            return self.words_mut(at).fill(0);
        }
        if self.count.is_multiple_of(PIECE) {
            // So that as many words as any flow has can be read of the last one too.
            self.words.push(vec![0; PIECE * self.stride + WORDS].into());
        }
        self.count += 1;
    }

    /// Has two flows change places.
    pub(super) fn swap(&mut self, one: usize, other: usize) {
        self.profiles.swap(one, other);
        for word in 0..self.stride {
            let kept = self.words(one)[word];
            self.words_mut(one)[word] = std::mem::replace(&mut self.words_mut(other)[word], kept);
        }
    }

    #[inline]
    pub(super) fn words(&self, at: usize) -> &[u64] {
        &self.words[at / PIECE][at % PIECE * self.stride..][..self.stride]
    }

    #[inline]
    pub(super) fn words_mut(&mut self, at: usize) -> &mut [u64] {
        &mut self.words[at / PIECE][at % PIECE * self.stride..][..self.stride]
    }

    /// The same, as so many words as there are at least, of which the last may be another flow's; and the spells.
    #[inline(always)]
    pub(super) fn first_words<const N: usize>(&mut self, at: usize) -> Option<(&mut [u64; N], &mut Profile)> {
        Some((self.words[at / PIECE][at % PIECE * self.stride..].first_chunk_mut()?, self.profiles.at_mut(at)))
    }

    /// Reads a little of each of a flow's cache lines.
    #[inline]
    pub(super) fn touch(&self, at: usize) -> u64 {
        let words = self.words(at);
        words[0] ^ words[self.stride - 1] ^ words[self.stride / 2] ^ self.profiles.at(at).touch()
    }

    /// Whether nothing unusual is known of a flow: then a duplicate or what it revises concerns its spells alone.
    #[inline]
    pub(super) fn is_plain(&self, at: usize) -> bool {
        self.words(at)[1] as u32 & RARE == 0
    }

    /// Whether such a flow is over, and its boxes rest in the words.
    #[inline]
    pub(super) fn is_plain_and_over(&self, at: usize) -> bool {
        self.words(at)[1] as u32 & (RARE | ODD | OVER) == OVER
    }

    /// Whether a flow has been cut.
    #[inline]
    pub(super) fn is_cut(&self, at: usize) -> bool {
        self.words(at)[1] as u32 & CUT != 0
    }

    /// What stands beside a flow's words.
    #[inline]
    pub(super) fn beside(&self, at: usize) -> Option<&R> {
        let rare = self.words(at)[1] as u32 & RARE;
        self.rares.get((rare as usize).wrapping_sub(1))?.as_ref()
    }

    /// The same, to change it.
    #[inline]
    pub(super) fn beside_mut(&mut self, at: usize) -> Option<&mut R> {
        let rare = self.words(at)[1] as u32 & RARE;
        self.rares.get_mut((rare as usize).wrapping_sub(1))?.as_mut()
    }

    /// Takes what stands beside a flow's words; its place is kept for what [`Shelf::set_beside`] puts there.
    #[inline]
    pub(super) fn take_beside(&mut self, at: usize) -> Option<R> {
        let rare = self.words(at)[1] as u32 & RARE;
        self.rares.get_mut((rare as usize).wrapping_sub(1))?.take()
    }

    /// Puts something beside the words of a flow, or nothing, in the place of what was there.
    #[inline]
    pub(super) fn set_beside(&mut self, at: usize, rare: Option<R>) {
        let known = self.words(at)[1] as u32 & RARE;
        let place = match (known, rare) {
            (0, None) => return,
            (known, None) => {
                self.rares[known as usize - 1] = None;
                self.free.push(known);
                0
            }
            (known, rare) => {
                let place = if known == 0 { self.room() } else { known };
                self.rares[place as usize - 1] = rare;
                place
            }
        };
        let word = &mut self.words_mut(at)[1];
        *word = *word & !u64::from(RARE) | u64::from(place);
    }

    /// A place for what stands beside the words of a flow.
    fn room(&mut self) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.rares.push(None);
            u32::try_from(self.rares.len()).unwrap_or(u32::MAX)
        });
        assert!(place <= RARE, "fewer than 2^26 unusual flows in a shard");
        place
    }
}

impl Shelf {
    /// A flow that has been cut takes from a segment only what it says about earlier silences.
    #[inline]
    pub(super) fn observed(&mut self, at: usize, flow: &Flow, observation: &Observation) {
        if let Some(Revision { ordinal, evidence, .. }) = observation.revises
            && let Some(rare) = self.beside_mut(at)
        {
            rare.revise(ordinal, evidence);
        }
        heard(self.profiles.at_mut(at), flow, observation);
    }
}

impl Layout {
    pub(super) fn of(path: &Path) -> Layout {
        let mut places = Vec::new();
        let mut words = HEAD;
        let (mut client, mut service) = (Host::CLIENT, Host::SERVICE);
        let mut opens = true;
        for hop in &path.hops {
            let from_client = [client, service];
            let own = (!is_renewed_by_all(hop)).then_some(words);
            words += if own.is_some() { OWN } else { 0 };
            let (kind, size) = match &hop.device {
                Device::Router(router) => {
                    opens &= passes_router(router, service);
                    match router.nat {
                        Nat::None => {}
                        Nat::Masquerade => client = router.place.far,
                        Nat::Dnat => service = router.place.real,
                    }
                    let timers = (0..Rule::NUMBERS as u16).map(|number| router.conntrack.settings.timer(Rule::from_number(number)));
                    (Form::Router { timers: timers.collect(), reverses: router.nat == Nat::None }, ROUTER)
                }
                Device::Director(director) => {
                    opens &= passes_director(director, service);
                    if director.ipvs.method == Method::Masq {
                        service = director.place.real;
                    }
                    (Form::Director { settings: Box::new(director.ipvs), real: director.place.real }, 0)
                }
                Device::Idle(idle) => {
                    let ends = idle.reads_data();
                    (Form::Idle { ends }, 1 + usize::from(ends))
                }
            };
            places.push(Place { kind, from_client, from_server: [service, client], at: words, one_way: !hop.sees_replies(), own });
            words += size;
        }
        let even = places.iter().all(|place| !place.one_way && place.own.is_none());
        let blank = path.hops.iter().map(|hop| HopRun { state: hop.empty(), renewed_by: 0, hole_since: false, lives: None });
        let packs = places.len() <= HOPS && !has_real_port(path);
        Layout { packs, even, opens: packs && opens, places, words, blank: blank.collect() }
    }

    /// The same for runs that note the lives of entries: small rests what the first packet made, and nothing has ended yet.
    pub(super) fn counting_lives(path: &Path) -> Layout {
        let mut layout = Layout::of(path);
        layout.blank.iter_mut().for_each(|part| part.lives = Some(Box::default()));
        layout
    }

    /// Whether the path is short enough for flows to rest small.
    pub(super) const fn packs(&self) -> bool {
        self.packs
    }

    /// A run for [`Layout::wake`] to fill again and again.
    pub(super) fn scratch(&self) -> FlowRun {
        FlowRun { hops: self.blank.clone(), ..FlowRun::blank() }
    }

    /// Puts a run to rest. It is a blank one afterwards, but for what the next one overwrites.
    #[inline]
    pub(super) fn rest(&self, shelf: &mut Shelf, at: usize, run: &mut FlowRun, flow: &Flow) {
        let packed = self.packs && self.lay(shelf.words_mut(at), run, flow);
        let cut = if run.cut.is_some() { CUT } else { 0 };
        if !packed {
            lay_aside(shelf.words_mut(at), run.over);
        }
        shelf.words_mut(at)[1] |= u64::from(cut);
        let hops = (!packed).then(|| std::mem::replace(&mut run.hops, self.blank.clone()));
        shelf.set_beside(at, Rare::of(run, hops));
    }

    /// Puts a run to rest in words, if it has the usual form; says whether it has. What stands beside them stays there.
    #[inline]
    pub(super) fn lay(&self, words: &mut [u64], run: &FlowRun, flow: &Flow) -> bool {
        let packed = self.pack(words, run, flow);
        if packed {
            words[1] |= u64::from(flags_of(run));
        }
        packed
    }

    /// The run that [`Layout::lay`] put to rest, but for its spells and what is unusual about it, in the place of another.
    #[inline]
    pub(super) fn take_up(&self, words: &[u64], run: &mut FlowRun, flow: &Flow) {
        run.be_usual();
        run.over = words[1] as u32 & OVER != 0;
        if run.hops.len() != self.blank.len() {
            run.hops.clone_from(&self.blank);
        }
        self.unpack(words, run, flow);
    }

    /// Wakes a run. What is unusual about it is moved, not copied: it has to be put to rest again.
    #[inline]
    pub(super) fn wake(&self, shelf: &mut Shelf, at: usize, run: &mut FlowRun, flow: &Flow) {
        let words = shelf.words(at);
        run.over = words[1] as u32 & OVER != 0;
        if words[1] as u32 & ODD == 0 {
            self.unpack(words, run, flow);
        }
        if let Some(rare) = shelf.take_beside(at) {
            rare.give(run);
        }
    }

    /// What rests, and goes on resting; but for the spells.
    pub(super) fn look(&self, shelf: &Shelf, at: usize, run: &mut FlowRun, flow: &Flow) {
        let words = shelf.words(at);
        if words[1] as u32 & ODD == 0 {
            self.take_up(words, run, flow);
        } else {
            run.be_usual();
            run.over = words[1] as u32 & OVER != 0;
        }
        if let Some(rare) = shelf.beside(at) {
            rare.clone().give(run);
        }
    }

    /// Packs the boxes' states, if they have the usual form.
    #[inline]
    fn pack(&self, words: &mut [u64], run: &FlowRun, flow: &Flow) -> bool {
        let ports = flow.ports();
        let mut renewed: Option<(Instant, u32)> = None;
        let mut bits = 0;
        for (hop, (place, part)) in self.places.iter().zip(&run.hops).enumerate() {
            let here = &mut words[place.at..];
            let packed = match (&place.kind, &part.state) {
                (Form::Router { timers, reverses }, HopState::Router(table)) => match table.only() {
                    Some(None) => Some((ABSENT, Instant::ZERO)),
                    Some(Some(entry)) => place.pack_entry(here, entry, timers, *reverses, ports, flow.proto()),
                    None => None,
                },
                (Form::Director { settings, real }, HopState::Director(held)) if held.is_plain() => match held.conns.only() {
                    Some(None) => Some((ABSENT, Instant::ZERO)),
                    Some(Some(conn)) => place.pack_conn(conn, settings, *real, ports, flow.proto()),
                    None => None,
                },
                (Form::Idle { .. }, HopState::Idle(None)) => Some((ABSENT, Instant::ZERO)),
                (Form::Idle { ends }, HopState::Idle(Some(entry))) => Some(pack_idle(here, entry, *ends)),
                _ => None,
            };
            let Some((small, refreshed)) = packed else { return false };
            let lives = part.lives.as_deref();
            if lives.is_some_and(|lives| !lives.are_as_old_as((small != ABSENT).then_some(flow.first))) {
                return false;
            }
            bits |= small << (BITS * hop as u32);
            let pair = (refreshed, part.renewed_by);
            if small == ABSENT {
                continue;
            }
            match place.own {
                Some(own) => (words[own], words[own + 1]) = (pair.0.0, u64::from(pair.1)),
                None if renewed.is_some_and(|others| others != pair) => return false,
                None => renewed = Some(pair),
            }
        }
        let (at, frame) = renewed.unwrap_or_default();
        words[0] = at.0;
        words[1] = u64::from(frame) << 32 | words[1] & u64::from(RARE);
        words[2] = bits;
        true
    }

    /// The entries that rest in words: of each its box, when it was last renewed, and its timer.
    #[inline]
    pub(super) fn each_timer(&self, path: &Path, words: &[u64], proto: Proto, mut tell: impl FnMut(usize, Instant, TimerId)) {
        for (hop, (place, device)) in self.places.iter().zip(path.hops.iter().map(|hop| &hop.device)).enumerate() {
            let bits = bits_of(words[2], hop);
            if bits == ABSENT {
                continue;
            }
            let refreshed = Instant(place.own.map_or(words[0], |own| words[own]));
            let timer = match (&place.kind, device) {
                (Form::Director { settings, .. }, _) => {
                    let (state, flags) = conn_of(bits);
                    of_running(proto, state, flags, conn::timeout(settings, proto, state, flags))
                }
                (Form::Idle { ends }, Device::Idle(idle)) => of_idle(idle, &idle_entry(&words[place.at..], bits, refreshed, *ends)),
                _ => TimerId(rule_of(bits).number()),
            };
            tell(hop, refreshed, timer);
        }
    }

    /// Of a flow that came to its end in order, with nothing unusual about it, how long its entries outlive it, added up: what
    /// `judge` says of it in [`Finding::outlived`](crate::finding::Finding::outlived), and its verdict is that it survives. For a packet
    /// that was late, blocked or invalid, a cut, and a doubt stand beside the words (`RARE`), and after its end no silence counts.
    pub(super) fn outlived(&self, shelf: &Shelf, at: usize, (path, spans): (&Path, &Spans), flow: &Flow) -> Option<Duration> {
        // What ends in another way is judged by more than its timers.
        if !shelf.is_plain_and_over(at) || shelf.is_cut(at) || flow.closing() != Closing::Fin {
            return None;
        }
        let words = shelf.words(at);
        let mut sum = Duration::ZERO;
        self.each_timer(path, words, flow.proto(), |hop, refreshed, timer| {
            let span = spans.get(hop, timer).map(|span| span.length).filter(|length| *length != Duration::MAX);
            sum = sum + span.map_or(Duration::ZERO, |length| (refreshed + length).since(flow.last));
        });
        Some(sum)
    }

    #[inline]
    fn unpack(&self, words: &[u64], run: &mut FlowRun, flow: &Flow) {
        let ports = flow.ports();
        let flags = words[1] as u32;
        let shared = (Instant(words[0]), (words[1] >> 32) as u32);
        for (hop, (place, part)) in self.places.iter().zip(&mut run.hops).enumerate() {
            let bits = bits_of(words[2], hop);
            let (refreshed, frame) = place.own.map_or(shared, |own| (Instant(words[own]), words[own + 1] as u32));
            part.renewed_by = frame;
            part.hole_since = flags & HOLE << hop != 0;
            let here = &words[place.at..];
            let there = bits != ABSENT;
            if let Some(lives) = &mut part.lives {
                lives.set(there.then_some(flow.first));
            }
            match (&place.kind, &mut part.state) {
                (Form::Router { timers, .. }, HopState::Router(table)) => {
                    table.set_only(there.then(|| place.entry(here, bits, refreshed, timers, ports, flow.proto())));
                }
                (Form::Director { settings, real }, HopState::Director(held)) => {
                    held.conns.set_only(there.then(|| place.conn(bits, refreshed, settings, *real, ports, flow.proto())));
                }
                (Form::Idle { ends }, HopState::Idle(held)) => {
                    *held = there.then(|| idle_entry(here, bits, refreshed, *ends));
                }
                _ => {}
            }
        }
    }
}

impl Place {
    const fn tuple(hosts: [Host; 2], [client, server]: [u16; 2]) -> Tuple {
        Tuple { src: End { host: hosts[0], port: client }, dst: End { host: hosts[1], port: server } }
    }

    /// The tuples of an entry: original and reply.
    fn tuples(&self, form: u64, [client, server]: [u16; 2]) -> (Tuple, Tuple) {
        let forth = Place::tuple(self.from_client, [client, server]);
        let back = Place::tuple(self.from_server, [server, client]);
        if form == REVERSED { (back, forth) } else { (forth, back) }
    }

    #[inline]
    fn pack_entry(
        &self,
        words: &mut [u64],
        entry: &Entry,
        timers: &[Timer],
        reverses: bool,
        ports: [u16; 2],
        proto: Proto,
    ) -> Option<(u64, Instant)> {
        let timer = timers.get(usize::from(entry.rule.number()))?;
        let tuples = (entry.original, entry.reply);
        let form = match tuples {
            _ if tuples == self.tuples(FORWARD, ports) => FORWARD,
            _ if reverses && tuples == self.tuples(REVERSED, ports) => REVERSED,
            _ => return None,
        };
        if timer.span != entry.timeout || timer.clause != entry.clause {
            return None;
        }
        let words = words.first_chunk_mut().expect("a router has so many words");
        Some((form | store_entry(words, entry, proto), entry.refreshed))
    }

    fn entry(&self, words: &[u64], bits: u64, refreshed: Instant, timers: &[Timer], ports: [u16; 2], proto: Proto) -> Entry {
        let (original, reply) = self.tuples(form_of(bits), ports);
        let timer = &timers[usize::from(rule_of(bits).number()).min(timers.len() - 1)];
        let udp = proto == Proto::Udp;
        let words: &[u64; ROUTER] = words.first_chunk().expect("a router has so many words");
        let track = if udp { TcpTrack::NEW } else { track_of(words, bits) };
        Entry {
            original,
            reply,
            status: status_of(words),
            clause: timer.clause,
            rule: timer.rule,
            tcp: track,
            stream_from: Instant(if udp { words[0] } else { 0 }),
            refreshed,
            timeout: timer.span,
        }
    }

    /// Packets are not counted while a flow rests: only a director under defence asks, and it has other tables.
    #[inline]
    fn pack_conn(&self, conn: &Conn, settings: &ipvs::Settings, real: Host, ports: [u16; 2], proto: Proto) -> Option<(u64, Instant)> {
        let bits = conn_bits(conn.state, conn.flags);
        let expected = self.conn(bits, conn.refreshed, settings, real, ports, proto);
        (*conn == Conn { in_pkts: conn.in_pkts, ..expected }).then_some((bits, conn.refreshed))
    }

    fn conn(&self, bits: u64, refreshed: Instant, settings: &ipvs::Settings, real: Host, [client, server]: [u16; 2], proto: Proto) -> Conn {
        let (state, flags) = conn_of(bits);
        let timeout = conn::timeout(settings, proto, state, flags);
        let clause = conn::clause(proto, state);
        let Tuple { src, dst } = Place::tuple(self.from_client, [client, server]);
        let dest = End { host: real, port: server };
        Conn { client: src, virt: dst, dest, state, flags, in_pkts: 0, refreshed, timeout, clause }
    }
}

/// What the third word's neighbour says of a run: whether it is over, and which boxes have not been renewed since packets are missing.
#[inline]
fn flags_of(run: &FlowRun) -> u32 {
    let hole = |(hop, part): (usize, &HopRun)| if part.hole_since { HOLE << hop } else { 0 };
    run.hops.iter().enumerate().map(hole).fold(if run.over { OVER } else { 0 }, |sum, bit| sum | bit)
}

/// What the same word says of a flow whose boxes' states rest as they are; what stands beside the words stays there.
pub(super) fn lay_aside(words: &mut [u64], over: bool) {
    let over = if over { OVER } else { 0 };
    words[1] = words[1] & u64::from(RARE) | u64::from(ODD | over);
}

/// What a conntrack entry is at rest, but for its tuples and when it was renewed; returns its bits.
fn store_entry(words: &mut [u64; ROUTER], entry: &Entry, proto: Proto) -> u64 {
    let bits = store_track(words, &entry.tcp, entry.status, entry.rule);
    if proto == Proto::Udp {
        words[0] = entry.stream_from.0;
    }
    bits
}

/// Whether every packet that a box lets through renews what it has of the flow, in most flows.
fn is_renewed_by_all(hop: &Hop) -> bool {
    match &hop.device {
        Device::Router(_) => true,
        Device::Director(_) => hop.sees_replies(),
        Device::Idle(idle) => idle.counts_all(),
    }
}

fn has_real_port(path: &Path) -> bool {
    path.hops.iter().any(|hop| matches!(&hop.device, Device::Director(director) if director.real_port.is_some()))
}
