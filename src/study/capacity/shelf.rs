//! One box's table in a global run: the model of it, the numbers of its entries, and what is counted.
//!
//! It knows when the table has work to do; whose turn it is otherwise is the business of `together`.

use super::carry::{CLASSES, Held, class_of};
use super::meter::{Census, Meter};
use super::pairs::{NO_CLASS, Pairs};
use super::sizes::{CtSize, Size, VsSize};
use super::{Event, What};
use crate::engine::hop::{Device, Hop, HopState};
use crate::engine::shared::{self, Key};
use crate::model::conntrack::entry::status;
use crate::model::conntrack::full::{FullTable, Limit};
use crate::model::ipvs::conn::Conn;
use crate::model::ipvs::defence::{self, Defence, Done, Kind};
use crate::model::{Clause, DropReason, Moment, Outcome, Packet};
use crate::rng::Rng;
use crate::time::Instant;

/// Entries that went, for what reason, by class; those of the flood apart.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Losses {
    /// By class: innocent, flood.
    pub by_class: [[u64; 2]; CLASSES],
}

impl Losses {
    /// All of them: innocent, flood.
    pub fn total(&self) -> [u64; 2] {
        self.by_class.iter().fold([0; 2], |sum, row| [sum[0] + row[0], sum[1] + row[1]])
    }
}

/// What a table did to flows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Deeds {
    /// Packets that wanted a new entry and were dropped: innocent, flood.
    pub refused: [u64; 2],
    /// Of those, dropped by `drop_packet`.
    pub by_drop_packet: [u64; 2],
    /// When the first one was dropped because there was no room.
    pub full_from: Option<Instant>,
    /// In how many seconds at least one was.
    pub full_seconds: u64,
    /// Entries that made room for others (`early_drop`); at a director, those that `drop_entry` took.
    pub evicted: Losses,
    /// Entries that a collection under pressure took.
    pub collected: Losses,
    /// What a director's defences counted.
    pub done: Option<Done>,
    /// What happened when.
    pub events: Vec<Event>,
    last_full_second: u64,
}

enum Model {
    Conntrack(Box<FullTable>),
    Director(Box<Defence>),
}

/// One box's table.
pub struct Shelf {
    model: Model,
    /// The numbers of its entries.
    pub pairs: Pairs,
    /// What is counted over time.
    pub meter: Meter,
    /// What it did to flows.
    pub deeds: Deeds,
    evicted: Vec<u32>,
    seen: Option<([u8; 3], bool, u64, bool)>,
}

/// What a packet of a flow met at a table.
pub struct Met {
    /// What the box did.
    pub outcome: Outcome,
    /// Whether entries of other flows went: they stand in [`Shelf::gone`].
    pub evicts: bool,
}

impl Shelf {
    /// An empty table; none for a box that has none.
    pub fn new(hop: &Hop, size: &Size, seed: u64, begin: Instant, end: Instant) -> Option<Shelf> {
        let seed = Rng::keyed(seed, 0x0073_6865_6c66).number();
        let model = match (&hop.device, size) {
            (Device::Router(router), Size::Conntrack(CtSize { max, buckets, .. })) => {
                let limit = Limit { max: max.map_or(u64::MAX, |(max, _)| max), buckets: buckets.0 };
                let mut table = FullTable::new(limit, router.conntrack.settings.dialect, seed);
                table.take_census();
                table.start(begin);
                Model::Conntrack(Box::new(table))
            }
            (Device::Director(director), Size::Director(VsSize { defences, pages, entry_bytes, .. })) => {
                let mut defence = Defence::new(*defences, director.ipvs.dialect, seed);
                if let Some(pages) = pages {
                    defence.limit_memory(*pages, *entry_bytes);
                }
                defence.start(begin);
                Model::Director(Box::new(defence))
            }
            _ => return None,
        };
        let deeds = Deeds { last_full_second: u64::MAX, ..Deeds::default() };
        let mut shelf = Shelf { model, pairs: Pairs::default(), meter: Meter::new(begin, end), deeds, evicted: Vec::new(), seen: None };
        shelf.note_defences(begin);
        Some(shelf)
    }

    fn holds(&self, id: u32) -> bool {
        holds(&self.model, id)
    }

    /// A pair of numbers for a flow.
    pub fn take(&mut self, owner: u32, flood: bool) -> u32 {
        let model = &self.model;
        self.pairs.take(owner, flood, |id| holds(model, id))
    }

    /// A flow has nothing more to say.
    pub fn leave(&mut self, pair: u32) {
        let model = &self.model;
        self.pairs.leave(pair, |id| holds(model, id));
    }

    /// When the table has something to do next.
    pub fn due(&self) -> Instant {
        match &self.model {
            Model::Conntrack(table) => table.collect_due().min(table.next_end()),
            Model::Director(defence) => defence.next_tick().min(defence.next_end()),
        }
    }

    /// Does what is due. Entries that went are in [`Shelf::gone`].
    pub fn work(&mut self, now: Instant) {
        self.meter.pass(now);
        match &mut self.model {
            Model::Conntrack(table) => {
                table.notice(now);
                if table.collect_due() <= now {
                    table.collect(now, &mut self.evicted);
                    count(&mut self.deeds.collected, &mut self.pairs, &self.evicted);
                }
            }
            Model::Director(defence) => {
                defence.expire(now);
                if defence.next_tick() <= now {
                    let available = defence.available().unwrap_or(u64::MAX);
                    defence.tick(now, available, &mut self.evicted);
                    count(&mut self.deeds.evicted, &mut self.pairs, &self.evicted);
                    self.note_defences(now);
                }
            }
        }
        self.measure(now);
    }

    /// Whether the director's transition tables are those of `secure_tcp` now.
    pub fn secure_tcp(&self) -> Option<bool> {
        match &self.model {
            Model::Conntrack(_) => None,
            Model::Director(defence) => Some(defence.secure_tcp()),
        }
    }

    /// The entries of other flows that went.
    pub fn gone(&mut self) -> Option<u32> {
        self.evicted.pop()
    }

    /// An entry that was there before the first packet of its flow, room or not.
    pub fn adopt(&mut self, hop: &Hop, held: &Held, number: u64, now: Instant) {
        match (&mut self.model, &hop.device, &held.state) {
            (Model::Conntrack(table), Device::Router(router), HopState::Router(entries)) => {
                for entry in entries.iter() {
                    let id = shared::entry_number(router, held.pair, entry);
                    table.insert(id, number * 2 + u64::from(id % 2), shared::standing(entry));
                }
            }
            (Model::Director(defence), Device::Director(director), HopState::Director(entries)) => {
                shared::follow(defence, director, Key { pair: held.pair, tuple: number }, entries, true);
            }
            _ => {}
        }
        self.settle(hop, held, now, false);
    }

    /// One packet at the box.
    pub fn packet(&mut self, hop: &Hop, held: &mut Held, number: u64, packet: Packet<'_>, moment: &mut Moment) -> Outcome {
        let key = Key { pair: held.pair, tuple: number };
        let flood = self.pairs.is_flood(held.pair);
        let outcome = match (&mut self.model, &hop.device) {
            (Model::Conntrack(table), Device::Router(router)) => {
                let out = shared::at_router(table, router, key, hop, &mut held.state, packet, moment, &mut self.evicted);
                if !self.evicted.is_empty() {
                    count(&mut self.deeds.evicted, &mut self.pairs, &self.evicted);
                    if self.deeds.evicted.total() != [0; 2] && !self.deeds.events.iter().any(|event| event.what == What::EarlyDrop) {
                        self.deeds.events.push(Event { at: moment.now, what: What::EarlyDrop });
                    }
                }
                out
            }
            (Model::Director(defence), Device::Director(director)) => {
                shared::at_director(defence, director, key, hop, &mut held.state, packet, moment)
            }
            _ => hop.packet(&mut held.state, packet, moment),
        };
        match outcome.dropped {
            Some(DropReason::TableFull) => {
                self.deeds.refused[usize::from(flood)] += 1;
                self.note_full(moment.now);
            }
            Some(DropReason::UnderDefence) => {
                self.deeds.refused[usize::from(flood)] += 1;
                self.deeds.by_drop_packet[usize::from(flood)] += 1;
            }
            _ => {}
        }
        self.settle(hop, held, moment.now, outcome.created && outcome.lapse.is_some());
        outcome
    }

    fn note_full(&mut self, now: Instant) {
        if self.deeds.full_from.is_none() {
            self.deeds.full_from = Some(now);
            let what = if matches!(self.model, Model::Conntrack(_)) { What::Full } else { What::NoMemory };
            self.deeds.events.push(Event { at: now, what });
        }
        let second = now.0 / 1_000_000_000;
        if self.deeds.last_full_second != second {
            self.deeds.last_full_second = second;
            self.deeds.full_seconds += 1;
        }
    }

    /// Keeps the classes of a flow's entries.
    fn settle(&mut self, hop: &Hop, held: &Held, now: Instant, anew: bool) {
        let mut classes = [NO_CLASS; 2];
        match (&hop.device, &held.state) {
            (Device::Router(router), HopState::Router(entries)) => {
                for entry in entries.iter().filter(|entry| entry.is(status::CONFIRMED)) {
                    classes[(shared::entry_number(router, held.pair, entry) % 2) as usize] = class_of(entry);
                }
            }
            (_, HopState::Director(entries)) => {
                let kind = |conn: &Conn| if conn.clause == Clause::IpvsUdp { Kind::Udp } else { Kind::Tcp(conn.state) };
                classes[0] = entries.conns.iter().next().map_or(NO_CLASS, |conn| defence::class(kind(conn)));
                let template = defence::class(Kind::Template { one_packet: false, assured: false });
                classes[1] = entries.template.as_ref().map_or(NO_CLASS, |_| template);
            }
            _ => {}
        }
        for (side, class) in classes.into_iter().enumerate() {
            let id = held.pair * 2 + side as u32;
            let class = if class != NO_CLASS && self.holds(id) { class } else { NO_CLASS };
            let before = self.pairs.set_class(id, class);
            if class != NO_CLASS {
                self.meter.made += u64::from(before == NO_CLASS || anew && side == 0);
                if let Model::Conntrack(table) = &mut self.model {
                    table.classify(id, class);
                }
            }
        }
        self.measure(now);
    }

    fn measure(&mut self, now: Instant) {
        let census = match &self.model {
            Model::Conntrack(table) => {
                let (classes, ended) = table.classes();
                Census { classes, ended }
            }
            Model::Director(defence) => {
                let mut classes = [0; CLASSES];
                classes.iter_mut().zip(defence.classes()).for_each(|(class, count)| *class = count);
                Census { classes, ended: 0 }
            }
        };
        self.meter.set(now, census);
    }

    /// Writes down when a defence went on or off, as a reader of the sysctls sees it.
    fn note_defences(&mut self, now: Instant) {
        let Model::Director(defence) = &self.model else { return };
        let (scans, rate) = defence.at_work();
        let state = (defence.modes(), scans, rate, defence.secure_tcp());
        let before = self.seen.replace(state);
        let (old_scans, old_drops, old_secure) = before.map_or((false, false, false), |(_, scans, rate, secure)| (scans, rate > 0, secure));
        let [entry, packet, secure] = defence.modes();
        let changes = [
            (old_scans, scans, What::DropEntry { on: scans, mode: entry }),
            (old_drops, rate > 0, What::DropPacket { on: rate > 0, mode: packet }),
            (old_secure, defence.secure_tcp(), What::SecureTcp { on: defence.secure_tcp(), mode: secure }),
        ];
        self.deeds.events.extend(changes.into_iter().filter(|(old, new, _)| old != new).map(|(_, _, what)| Event { at: now, what }));
    }

    /// The end has come, or somebody stopped it before.
    pub fn finish(mut self, until: Option<Instant>) -> (Meter, Deeds) {
        if let Some(until) = until {
            self.meter.cut(until);
        }
        self.meter.finish();
        if let Model::Director(defence) = &self.model {
            self.deeds.done = Some(defence.done());
        }
        (self.meter, self.deeds)
    }
}

fn holds(model: &Model, id: u32) -> bool {
    match model {
        Model::Conntrack(table) => table.holds(id),
        Model::Director(defence) => defence.holds(id),
    }
}

fn count(losses: &mut Losses, pairs: &mut Pairs, gone: &[u32]) {
    for id in gone {
        let class = pairs.set_class(*id, NO_CLASS);
        losses.by_class[usize::from(class) % CLASSES][usize::from(pairs.is_flood(id / 2))] += 1;
    }
}
