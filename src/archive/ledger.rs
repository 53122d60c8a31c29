//! What is known of a capture besides its segments, and of all captures of an archive together: enough for a judgement somewhere else
//! to say what one over all files would say.
//!
//! A capture's ledger is a line of JSON, schema `flowlapse-ledger/1`; an archive's facts are a document, `flowlapse-archive/1`. Both are
//! described in docs/archives.md. It opens nothing.

use crate::capture::{Damage, LinkType, TimeCounters};
use crate::decode::{DecodeCounters, Kind};
use crate::engine::gathered::Facts;
use crate::engine::steps::Steps;
use crate::flow::CLOCK_SLACK;
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The schema of a capture's ledger.
pub const LEDGER: &str = "flowlapse-ledger/1";
/// The schema of an archive's facts.
pub const ARCHIVE: &str = "flowlapse-archive/1";
/// How many files an archive may have: segments name theirs in sixteen bits.
pub const FILES_MAX: usize = u16::MAX as usize;

/// What the records of an input were.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub struct Counts {
    /// All records.
    pub records: u64,
    /// Those that gave a segment.
    pub decoded: u64,
    /// Segments that a filter left out.
    pub filtered: u64,
    /// Records that gave none, by what they were.
    pub not_followed: BTreeMap<String, u64>,
    /// Records of link types that are not decoded, by number.
    pub link_types: BTreeMap<u32, u64>,
    /// Records whose time was out of range.
    pub times_out_of_range: u64,
    /// Records without a time.
    pub times_missing: u64,
    /// How often the clock went back.
    pub times_backwards: u64,
    /// How far at most.
    pub times_backwards_max_ns: u64,
}

impl Counts {
    fn of(counters: &DecodeCounters, filtered: u64, times: &TimeCounters) -> Counts {
        Counts {
            records: counters.records,
            decoded: counters.decoded,
            filtered,
            not_followed: counters.seen().map(|(kind, count)| (kind.name().to_owned(), count)).collect(),
            link_types: counters.unsupported_links().map(|(link, count)| (u32::from(link.0), count)).collect(),
            times_out_of_range: times.saturated,
            times_missing: times.absent,
            times_backwards: times.backwards,
            times_backwards_max_ns: times.backwards_max.0,
        }
    }

    fn add(&mut self, other: &Counts) {
        self.records += other.records;
        self.decoded += other.decoded;
        self.filtered += other.filtered;
        for (kind, count) in &other.not_followed {
            *self.not_followed.entry(kind.clone()).or_default() += count;
        }
        for (link, count) in &other.link_types {
            *self.link_types.entry(*link).or_default() += count;
        }
        self.times_out_of_range += other.times_out_of_range;
        self.times_missing += other.times_missing;
        self.times_backwards += other.times_backwards;
        self.times_backwards_max_ns = self.times_backwards_max_ns.max(other.times_backwards_max_ns);
    }

    fn counters(&self) -> Result<DecodeCounters, String> {
        let mut counters = DecodeCounters::default();
        (counters.records, counters.decoded) = (self.records, self.decoded);
        for (name, count) in &self.not_followed {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
            counters.add_kind(kind.ok_or_else(|| format!("'{name}' is nothing that a record can be"))?, *count);
        }
        for (link, count) in &self.link_types {
            counters.add_link(LinkType(u16::try_from(*link).map_err(|_| format!("{link} is no link type"))?), *count);
        }
        Ok(counters)
    }

    fn times(&self) -> TimeCounters {
        TimeCounters {
            saturated: self.times_out_of_range,
            absent: self.times_missing,
            backwards: self.times_backwards,
            backwards_max: Duration(self.times_backwards_max_ns),
        }
    }
}

/// Where a file of an archive stops making sense.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Harm {
    /// The file.
    pub file: u32,
    /// The last frame before it; 0 where nothing could be read.
    pub after_frame: u32,
    /// The first unusable byte.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// A span of the clock, in nanoseconds since 1970.
type Span = (u64, u64);

/// What is known of one capture besides its segments.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Ledger {
    /// [`LEDGER`].
    pub schema: String,
    /// Its place among the files of the archive.
    pub file: u32,
    /// Its name.
    pub name: String,
    /// How many segments were handed out.
    pub segments: u64,
    /// What its records were.
    pub packets: Counts,
    /// The time of its earliest record; nothing where it has none.
    pub begin_ns: Option<u64>,
    /// The time of its latest record.
    pub end_ns: u64,
    /// The time of its last record.
    pub last_ns: u64,
    /// From when to when its clock was wrong, where it was set back and came as far again.
    pub clock_wrong_ns: Option<Span>,
    /// The same where it never came as far again.
    pub clock_behind_ns: Option<Span>,
    /// Where it is damaged.
    pub damage: Vec<Harm>,
    /// Why nothing at all could be read.
    pub error: Option<String>,
    /// Whether somebody stopped the reading.
    pub interrupted: bool,
}

impl Ledger {
    /// The ledger of a file of which nothing is known yet.
    pub fn new(file: u32, name: &str) -> Ledger {
        Ledger {
            schema: LEDGER.to_owned(),
            file,
            name: name.to_owned(),
            segments: 0,
            packets: Counts::default(),
            begin_ns: None,
            end_ns: 0,
            last_ns: 0,
            clock_wrong_ns: None,
            clock_behind_ns: None,
            damage: Vec::new(),
            error: None,
            interrupted: false,
        }
    }

    /// Takes down what a reading came to.
    pub(super) fn close(&mut self, read: &Reading<'_>) {
        let times = TimeCounters { backwards: read.steps.backwards, backwards_max: read.steps.largest, ..read.times };
        self.segments = read.segments;
        self.packets = Counts::of(&read.counters, read.filtered, &times);
        self.begin_ns = (read.counters.records > 0).then_some(read.begin.0);
        self.end_ns = read.end.0;
        self.last_ns = read.steps.last().0;
        let span = |(from, to): (Instant, Instant)| (from.0, to.0);
        self.clock_wrong_ns = read.steps.wrong.map(span);
        self.clock_behind_ns = read.steps.unfinished().map(span);
        let harm = |d: Damage| Harm { file: self.file, after_frame: d.after_frame, offset: d.offset, what: d.what };
        self.damage = read.damages.iter().cloned().map(harm).collect();
        self.interrupted = read.interrupted;
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn parse(line: &str) -> Result<Ledger, String> {
        let ledger: Ledger = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if ledger.schema == LEDGER { Ok(ledger) } else { Err(format!("schema '{}'; expected {LEDGER}", ledger.schema)) }
    }

    /// As a line.
    ///
    /// # Errors
    /// That it cannot be written, which a text always can.
    pub fn line(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }
}

/// What a reading of one capture came to.
pub(super) struct Reading<'r> {
    pub(super) counters: DecodeCounters,
    pub(super) filtered: u64,
    pub(super) segments: u64,
    pub(super) times: TimeCounters,
    pub(super) begin: Instant,
    pub(super) end: Instant,
    pub(super) steps: &'r Steps,
    pub(super) damages: Vec<Damage>,
    pub(super) interrupted: bool,
}

/// What is known of all captures of an archive together.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Archive {
    /// [`ARCHIVE`].
    pub schema: String,
    /// The names of the files, by number.
    pub inputs: Vec<String>,
    /// How many segments there are.
    pub segments: u64,
    /// What the records were.
    pub packets: Counts,
    /// The time of the earliest record.
    pub begin_ns: u64,
    /// When the archive ended.
    pub end_ns: u64,
    /// From when to when the clock was wrong.
    pub clock_wrong_ns: Option<Span>,
    /// Where files are damaged, or could not be read at all.
    pub damage: Vec<Harm>,
    /// Whether the reading of one was stopped.
    pub interrupted: bool,
}

impl Archive {
    /// Puts the ledgers of all files together, in any order.
    ///
    /// # Errors
    /// Two of one file, or too many.
    pub fn of(mut ledgers: Vec<Ledger>) -> Result<Archive, String> {
        ledgers.sort_by_key(|ledger| ledger.file);
        if let Some([one, other]) = ledgers.windows(2).find(|pair| pair[0].file == pair[1].file).and_then(|pair| pair.first_chunk()) {
            return Err(format!("file {} has two ledgers, {} and {}; each file has its own number", one.file, one.name, other.name));
        }
        let count = ledgers.last().map_or(0, |last| last.file as usize + 1);
        if count > FILES_MAX {
            return Err(format!("there is a file number {}; at most {FILES_MAX} files can be told apart", count - 1));
        }
        let mut inputs: Vec<String> = (0..count).map(|file| format!("file {file}")).collect();
        let mut packets = Counts::default();
        let (mut begin, mut segments, mut damage, mut interrupted) = (u64::MAX, 0, Vec::new(), false);
        for ledger in &ledgers {
            inputs[ledger.file as usize].clone_from(&ledger.name);
            packets.add(&ledger.packets);
            segments += ledger.segments;
            begin = begin.min(ledger.begin_ns.unwrap_or(u64::MAX));
            interrupted |= ledger.interrupted;
            damage.extend(ledger.damage.iter().cloned());
            let unread = ledger.error.iter().map(|what| Harm { file: ledger.file, after_frame: 0, offset: 0, what: what.clone() });
            damage.extend(unread);
        }
        let (end_ns, clock_wrong_ns) = clock(&ledgers, packets.times_backwards_max_ns);
        let schema = ARCHIVE.to_owned();
        Ok(Archive { schema, inputs, segments, packets, begin_ns: begin.min(end_ns), end_ns, clock_wrong_ns, damage, interrupted })
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Archive, String> {
        let archive: Archive = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if archive.schema == ARCHIVE { Ok(archive) } else { Err(format!("schema '{}'; expected {ARCHIVE}", archive.schema)) }
    }

    /// The same as a run wants it.
    ///
    /// # Errors
    /// What is no fact.
    pub fn facts(&self) -> Result<Facts, String> {
        let damage = |harm: &Harm| {
            let file = u16::try_from(harm.file).map_err(|_| format!("damage in file {}, which is none", harm.file))?;
            Ok(Damage { file, offset: harm.offset, after_frame: harm.after_frame, what: harm.what.clone() })
        };
        Ok(Facts {
            counters: self.packets.counters()?,
            filtered: self.packets.filtered,
            damages: self.damage.iter().map(damage).collect::<Result<_, String>>()?,
            times: self.packets.times(),
            names: self.inputs.clone(),
            begin: Instant(self.begin_ns),
            end: Instant(self.end_ns),
            wrong: self.clock_wrong_ns.map(|(from, to)| (Instant(from), Instant(to))),
            interrupted: self.interrupted,
        })
    }
}

/// When the archive ended, and from when to when the clock was wrong: as if all files had been read as one, merged by time.
///
/// A file whose clock was set back is read alone until it comes as far again, for all the others are ahead of it. Where it ends before,
/// the next record of any other file is where the clock came as far again.
fn clock(ledgers: &[Ledger], backwards_max: u64) -> (u64, Option<Span>) {
    let read = || ledgers.iter().filter(|ledger| ledger.begin_ns.is_some());
    let place = |ledger: &Ledger| (ledger.end_ns, ledger.file);
    let Some(last) = read().max_by_key(|ledger| place(ledger)) else { return (0, None) };
    let unfinished = read().filter(|ledger| place(ledger) < place(last)).filter_map(|ledger| ledger.clock_behind_ns);
    let wrong = read().filter_map(|ledger| ledger.clock_wrong_ns).chain(unfinished);
    let wrong = wrong.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    let end = if backwards_max > CLOCK_SLACK.0 { last.last_ns } else { last.end_ns };
    (end, wrong)
}
