//! The three defences of a director against a flood, over its whole table: `drop_entry`, `drop_packet`, `secure_tcp`.
//!
//! Source: `update_defense_level`, `defense_work_handler` (`net/netfilter/ipvs/ip_vs_ctl.c`), `ip_vs_random_dropentry`,
//! `todrop_entry` (`ip_vs_conn.c`), `ip_vs_todrop` (`ip_vs.h`), 2.4 to 7.1; the spec's ipvs.md section 3. Which bucket an entry stands in
//! depends on a key that is random at boot, and which buckets a scan visits on chance: both here on the seed. Leaves out:
//! SCTP, and that up to 5.8 a victim stays until the next tick. Must not know packets, or what a caller keeps beside an entry.

use super::dialect::{Dialect, Scan, TemplateRule};
use super::state::State;
use crate::kernel::wheel::{Hz, Phase, fire_tick, granule_ticks};
use crate::model::chains::Chains;
use crate::model::deadlines::Deadlines;
use crate::model::lateness::Lateness;
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// The settings of the defences.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DefenceSettings {
    /// `drop_entry`, 0 to 3.
    pub drop_entry: u8,
    /// `drop_packet`, 0 to 3.
    pub drop_packet: u8,
    /// `secure_tcp`, 0 to 3.
    pub secure_tcp: u8,
    /// `amemthresh`, pages: below it, modes 1 and 2 defend.
    pub amemthresh: u32,
    /// `am_droprate`: mode 3 of `drop_packet` drops every so-manieth packet.
    pub am_droprate: u32,
    /// `conn_tab_bits`: the table has 2 to this power buckets, at most 27.
    pub tab_bits: u8,
    /// How late the timer of the tick fires.
    pub lateness: Lateness,
}

impl DefenceSettings {
    /// Everything off, in a release.
    pub const fn defaults(dialect: &Dialect) -> DefenceSettings {
        DefenceSettings {
            drop_entry: 0,
            drop_packet: 0,
            secure_tcp: 0,
            amemthresh: dialect.amemthresh,
            am_droprate: 10,
            tab_bits: 12,
            lateness: Lateness::Exact,
        }
    }
}

/// What kind of entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A TCP connection.
    Tcp(State),
    /// A UDP flow.
    Udp,
    /// A persistence template.
    Template {
        /// Of a service with one-packet scheduling.
        one_packet: bool,
        /// One of its connections was established (4.19 and later).
        assured: bool,
    },
}

/// What the defences must know of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpvsStanding {
    /// Kind and state.
    pub kind: Kind,
    /// `in_pkts`: packets from the client.
    pub in_pkts: u32,
    /// When its timer was last started.
    pub refreshed: Instant,
    /// When the timer fires.
    pub deadline: Instant,
    /// The template that controls it.
    pub template: Option<u32>,
}

/// What the defences have done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Done {
    /// Half-open connections dropped: SYN_RECV and SYNACK.
    pub half_open: u64,
    /// Connections in ESTABLISHED dropped.
    pub established: u64,
    /// UDP flows dropped.
    pub udp: u64,
    /// Templates dropped.
    pub templates: u64,
    /// Packets that would have made an entry and were looked at by `drop_packet`.
    pub tested: u64,
    /// Those of them that were dropped.
    pub packets: u64,
}

/// One entry; with its node in the chains and its timer it takes 56 bytes.
#[derive(Clone, Copy)]
struct Row {
    standing: Option<Packed>,
    children: u32,
}

/// A standing in fewer bytes: only whether the packets are more than 8 matters.
#[derive(Clone, Copy)]
struct Packed {
    refreshed: Instant,
    deadline: Instant,
    template: u32,
    kind: Kind,
    in_pkts: u8,
}

const NO_ROW: Row = Row { standing: None, children: 0 };
const NO_TEMPLATE: u32 = u32::MAX;

/// An entry must have been quiet for so long (`todrop_entry`).
const QUIET: Duration = Duration::from_secs(60);
/// An entry with more packets from the client than this is never dropped.
const PACKETS_MAX: u8 = 8;
/// `DEFENSE_TIMER_PERIOD`.
const PERIOD: Duration = Duration::from_secs(1);

/// The defences of one director and its table.
pub struct Defence {
    settings: DefenceSettings,
    dialect: &'static Dialect,
    period: Duration,
    next: Instant,
    drops_entries: bool,
    secure: bool,
    rate: u64,
    counter: u64,
    /// `todrop_counter` by the number of packets.
    todrop: [u8; PACKETS_MAX as usize + 1],
    key: u64,
    rng: Rng,
    chains: Chains,
    rows: Vec<Row>,
    timers: Deadlines,
    count: u64,
    /// Whether nothing was there at the last tick, nor since.
    settled: bool,
    done: Done,
    /// Entries by [`class`].
    classes: [u64; CLASSES],
    /// Pages that are free while the table is empty, and the bytes of an entry.
    memory: Option<(u64, u64)>,
    scratch: Vec<u32>,
}

/// From how many ticks on they are left out where nothing is there: an hour, give or take.
const RESTS_FROM: u64 = 3600;

/// Into how many classes entries fall.
pub const CLASSES: usize = 13;

/// The class of an entry: its state by number, then UDP, then templates.
pub const fn class(kind: Kind) -> u8 {
    match kind {
        Kind::Tcp(state) => state as u8,
        Kind::Udp => 11,
        Kind::Template { .. } => 12,
    }
}

impl Defence {
    /// An empty table. The modes act at once, as after a change of the sysctl; with them memory is taken to be plenty.
    pub fn new(settings: DefenceSettings, dialect: &'static Dialect, seed: u64) -> Defence {
        let mut rng = Rng::keyed(seed, 0x6465_6665);
        let period = period(if dialect.wheel { settings.lateness } else { Lateness::Exact });
        let mut defence = Defence {
            settings,
            dialect,
            period,
            next: Instant::ZERO + Duration(1 + rng.below(period.0)),
            drops_entries: false,
            secure: false,
            rate: 0,
            counter: 0,
            todrop: [0; PACKETS_MAX as usize + 1],
            key: rng.number(),
            rng,
            chains: Chains::new(1 << settings.tab_bits.min(27)),
            rows: Vec::new(),
            timers: Deadlines::default(),
            count: 0,
            settled: false,
            done: Done::default(),
            classes: [0; CLASSES],
            memory: None,
            scratch: Vec::new(),
        };
        defence.update_level(u64::MAX);
        defence
    }

    /// Time begins at `at` and not at 0: the first tick is so much later.
    pub fn start(&mut self, at: Instant) {
        self.next = at + self.next.since(Instant::ZERO);
    }

    /// When [`Defence::tick`] is to be called next.
    pub const fn next_tick(&self) -> Instant {
        self.next
    }

    /// The time between two ticks: a second, and what the timer wheel adds to it.
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// Connections and templates in the table, as of the last tick.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Pages that the entries take; 0 where nobody knows how large one is.
    pub const fn pages(&self) -> u64 {
        (self.count * self.dialect.entry_bytes as u64).div_ceil(4096)
    }

    /// What a reader of the sysctls `drop_entry`, `drop_packet`, `secure_tcp` sees.
    pub const fn modes(&self) -> [u8; 3] {
        [self.settings.drop_entry, self.settings.drop_packet, self.settings.secure_tcp]
    }

    /// The entries by [`class`], as of the last tick or [`Defence::expire`].
    pub const fn classes(&self) -> [u64; CLASSES] {
        self.classes
    }

    /// How much memory the table may take: pages that are free while it is empty, and the bytes of an entry.
    pub const fn limit_memory(&mut self, pages: u64, entry_bytes: u64) {
        self.memory = Some((pages, entry_bytes));
    }

    /// The pages that are still free; nothing where the memory is not limited.
    pub fn available(&self) -> Option<u64> {
        self.memory.map(|(pages, bytes)| pages.saturating_sub((self.count * bytes).div_ceil(4096)))
    }

    /// Whether there is no memory left for another entry.
    pub fn is_exhausted(&self) -> bool {
        self.available() == Some(0)
    }

    /// When the next entry may end by its timer; later than everything if there is none.
    pub fn next_end(&self) -> Instant {
        self.timers.next()
    }

    /// Takes out the entries whose timers have fired.
    pub fn expire(&mut self, now: Instant) {
        self.fire_timers(now);
    }

    /// Whether `drop_entry` is at work, and the rate at which `drop_packet` drops; 0: not at all.
    pub const fn at_work(&self) -> (bool, u64) {
        (self.drops_entries, self.rate)
    }

    /// Whether the transition tables of `secure_tcp` are in force.
    pub const fn secure_tcp(&self) -> bool {
        self.secure
    }

    /// What was done so far.
    pub const fn done(&self) -> Done {
        self.done
    }

    /// Whether an entry is in the table.
    pub fn holds(&self, id: u32) -> bool {
        self.rows.get(id as usize).is_some_and(|row| row.standing.is_some())
    }

    /// Whether a template is assured; nothing if it is not in the table.
    pub fn assured(&self, id: u32) -> Option<bool> {
        match self.rows.get(id as usize)?.standing?.kind {
            Kind::Template { assured, .. } => Some(assured),
            Kind::Tcp(_) | Kind::Udp => None,
        }
    }

    /// A packet of a service would make an entry (`ip_vs_todrop`): true if it is dropped instead.
    pub const fn drops_new(&mut self) -> bool {
        if self.rate == 0 {
            return false;
        }
        self.done.tested += 1;
        self.counter = self.counter.saturating_sub(1);
        if self.counter > 0 {
            return false;
        }
        self.counter = self.rate;
        self.done.packets += 1;
        true
    }

    /// A new entry. `tuple` is a number that stands for the client's address: the same one hashes into the same bucket each time.
    /// Ids are the caller's, small ones first; one that is in use stands for another entry from now on.
    pub fn insert(&mut self, id: u32, tuple: u64, standing: IpvsStanding) {
        self.remove(id);
        let bucket = Rng::keyed(self.key, tuple).below(u64::from(self.chains.buckets())) as u32;
        self.chains.link(id, bucket);
        self.count += 1;
        self.settled = false;
        self.set(id, standing);
    }

    /// A packet of an entry. Nothing happens if the entry is gone.
    pub fn update(&mut self, id: u32, standing: IpvsStanding) {
        if self.holds(id) {
            self.adopt(id, -1);
            self.set(id, standing);
        }
    }

    fn set(&mut self, id: u32, standing: IpvsStanding) {
        let IpvsStanding { kind, in_pkts, refreshed, deadline, template } = standing;
        let packed = Packed { refreshed, deadline, template: template.unwrap_or(NO_TEMPLATE), kind, in_pkts: in_pkts.min(255) as u8 };
        self.classes[usize::from(class(kind))] += 1;
        if let Some(before) = self.row(id).standing.replace(packed) {
            self.classes[usize::from(class(before.kind))] -= 1;
        }
        self.timers.set(id, deadline);
        self.adopt(id, 1);
    }

    fn row(&mut self, id: u32) -> &mut Row {
        if id as usize >= self.rows.len() {
            self.rows.resize(id as usize + 1, NO_ROW);
        }
        &mut self.rows[id as usize]
    }

    /// Counts an entry among the children of its template, or no longer.
    fn adopt(&mut self, id: u32, by: i32) {
        let template = self.rows[id as usize].standing.map_or(NO_TEMPLATE, |standing| standing.template);
        if template != NO_TEMPLATE {
            let row = self.row(template);
            row.children = row.children.saturating_add_signed(by);
        }
    }

    /// An entry ended otherwise. Nothing happens if it is gone.
    pub fn remove(&mut self, id: u32) {
        if self.holds(id) {
            self.adopt(id, -1);
            if let Some(before) = self.rows[id as usize].standing.take() {
                self.classes[usize::from(class(before.kind))] -= 1;
            }
            self.chains.unlink(id);
            self.count -= 1;
        }
    }

    /// The work of one tick (`defense_work_handler`): the levels by the memory that is available, in pages, and a scan where
    /// `drop_entry` is on. Entries that were dropped are appended; nobody is told anything on the wire.
    pub fn tick(&mut self, now: Instant, available_pages: u64, dropped: &mut Vec<u32>) {
        self.fire_timers(now);
        self.update_level(available_pages);
        if self.drops_entries {
            self.scan(now, dropped);
        }
        self.settled = self.count == 0;
        self.next = now + self.period;
    }

    /// Leaves out ticks of an empty table, which change nothing but the draws of `drop_entry`: a silence of years costs no more than one
    /// of an hour. The next tick is at `until` or less than one period before it. Short silences are gone through, tick by tick.
    pub fn rest(&mut self, until: Instant) {
        let ticks = until.since(self.next).0 / self.period.0;
        if self.settled && ticks >= RESTS_FROM {
            self.next += Duration(self.period.0 * ticks);
        }
    }

    fn fire_timers(&mut self, now: Instant) {
        loop {
            let rows = &self.rows;
            let ended = self.timers.pop(now, |id| rows.get(id as usize)?.standing.map(|standing| standing.deadline));
            let Some(id) = ended else { return };
            self.remove(id);
        }
    }

    fn update_level(&mut self, available: u64) {
        let threshold = u64::from(self.settings.amemthresh);
        let short = available < threshold;
        let level = |mode: &mut u8| match *mode {
            0 => false,
            1 | 2 => {
                *mode = if short { 2 } else { 1 };
                short
            }
            _ => true,
        };
        self.drops_entries = level(&mut self.settings.drop_entry);
        self.secure = level(&mut self.settings.secure_tcp);
        let always = self.settings.drop_packet > 2;
        if !level(&mut self.settings.drop_packet) {
            self.rate = 0;
        } else if always {
            self.rate = u64::from(self.settings.am_droprate);
        } else {
            self.rate = threshold / (threshold - available);
            self.counter = self.rate;
        }
    }

    /// Looks at a thirty-second of the table (`ip_vs_random_dropentry`).
    fn scan(&mut self, now: Instant, dropped: &mut Vec<u32>) {
        let buckets = self.chains.buckets();
        let start = self.rng.number() as u32;
        for step in 0..buckets / 32 {
            let bucket = match self.dialect.drop_scan {
                Scan::WithReplacement => self.rng.below(u64::from(buckets)) as u32,
                Scan::Run => start.wrapping_add(step) % buckets,
            };
            if self.chains.first(bucket).is_none() {
                continue;
            }
            let mut chain = std::mem::take(&mut self.scratch);
            chain.clear();
            chain.extend(self.chains.chain(bucket));
            for id in &chain {
                if self.is_victim(*id, now) {
                    self.drop_entry(*id, dropped);
                }
            }
            self.scratch = chain;
        }
    }

    fn is_victim(&mut self, id: u32, now: Instant) -> bool {
        let Row { standing: Some(entry), children } = self.rows[id as usize] else { return false };
        let rule = self.dialect.drop_templates;
        match entry.kind {
            _ if rule == TemplateRule::Unassured && children > 0 => false,
            Kind::Template { one_packet, assured } => match rule {
                TemplateRule::Skip => false,
                TemplateRule::OnePacket => one_packet && children == 0 && self.todrop(entry, now),
                TemplateRule::Unassured if one_packet => self.todrop(entry, now),
                TemplateRule::Unassured => !assured,
            },
            Kind::Tcp(State::SynRecv | State::SynAck) => true,
            Kind::Tcp(State::Established) | Kind::Udp => self.todrop(entry, now),
            Kind::Tcp(_) => false,
        }
    }

    /// Of the quiet entries with i packets from the client, every i-th that is looked at.
    fn todrop(&mut self, entry: Packed, now: Instant) -> bool {
        if now.since(entry.refreshed) < QUIET || !(1..=PACKETS_MAX).contains(&entry.in_pkts) {
            return false;
        }
        let counter = &mut self.todrop[usize::from(entry.in_pkts)];
        *counter = counter.saturating_sub(1);
        if *counter > 0 {
            return false;
        }
        *counter = entry.in_pkts;
        true
    }

    fn drop_entry(&mut self, id: u32, dropped: &mut Vec<u32>) {
        let Some(entry) = self.rows[id as usize].standing else { return };
        match entry.kind {
            Kind::Tcp(State::Established) => self.done.established += 1,
            Kind::Tcp(_) => self.done.half_open += 1,
            Kind::Udp => self.done.udp += 1,
            Kind::Template { .. } => self.done.templates += 1,
        }
        self.remove(id);
        dropped.push(id);
        // The template goes with its last connection.
        let Some(Row { standing: Some(template), children: 0 }) = self.rows.get(entry.template as usize).copied() else { return };
        let spared =
            self.dialect.drop_templates == TemplateRule::Unassured && matches!(template.kind, Kind::Template { assured: true, .. });
        if !spared {
            self.done.templates += 1;
            self.remove(entry.template);
            dropped.push(entry.template);
        }
    }
}

/// The work is queued anew when it is done: on the wheel of 4.8 it comes a granule's remainder later than a second.
fn period(lateness: Lateness) -> Duration {
    match lateness {
        Lateness::Wheel(Hz(hz)) | Lateness::Phase(Phase { hz: Hz(hz), .. }) => {
            let ticks = u64::from(hz);
            // A timer fires where a granule begins, and there it is armed again.
            let aligned = granule_ticks(ticks, Hz(hz));
            Hz(hz).span(fire_tick(aligned, aligned + ticks, Hz(hz)) - aligned)
        }
        Lateness::Exact => PERIOD,
    }
}
