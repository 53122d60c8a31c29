//! Rows back to segments, each flow's in order: from a stream of rows that some engine has sorted, and from files.
//!
//! Three ways, by what the rows are: slices sorted by flow, of which no more is held than those that overlap; segments in any order in
//! which those of a flow are in theirs; files of segments, merged by time and opened when their time comes. Knows no boxes.

use super::ledger::{Archive, Ledger};
use super::rows::{self, column};
use super::slice::Unpacker;
use crate::decode::DecodeCounters;
use crate::engine::gathered::{Facts, Given, Segments};
use crate::engine::pipeline::Run;
use crate::time::Instant;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Batches of rows, one after the other.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch, String>> + Send>;

/// How many segments are handed over at a time.
const HANDFUL: usize = 4096;

/// Segments out of rows.
pub struct Intake {
    rows: Rows,
    facts: Known,
    error: Option<String>,
    /// What the segments say themselves.
    begin: Instant,
    end: Instant,
    segments: u64,
    file_max: u16,
    /// Segments that were left out when they were decoded.
    filtered: u64,
}

/// Where the facts about the whole come from.
enum Known {
    Archive(Box<Facts>),
    /// From ledgers that come with the rows, or else from the segments.
    Ledgers(Vec<Ledger>),
}

enum Rows {
    Slices(Slices),
    Stream(Stream),
    Files(Files),
}

impl Intake {
    /// Out of a stream of batches, of slices or of segments. Without `archive` the facts about the whole are those of the ledgers that
    /// come with slices, or what the segments say themselves.
    ///
    /// # Errors
    /// That the facts are none.
    pub fn stream(slices: bool, batches: Batches, archive: Option<&Archive>) -> Result<Intake, String> {
        let rows = if slices { Rows::Slices(Slices::new(batches)) } else { Rows::Stream(Stream { batches, last: None, by: By::Any }) };
        Intake::new(rows, archive, Vec::new())
    }

    /// Out of files of segments, each in the order of its capture. Without `archive` the facts about the whole are those of the files'
    /// ledgers.
    ///
    /// # Errors
    /// That the facts are none.
    pub fn files(files: Vec<Source>, archive: Option<&Archive>) -> Result<Intake, String> {
        let ledgers = files.iter().flat_map(|file| file.ledgers.iter().cloned()).collect();
        Intake::new(Rows::Files(Files::new(files)), archive, ledgers)
    }

    /// Out of slices that [`sorted`] has sorted.
    ///
    /// # Errors
    /// That the facts are none.
    pub fn sorted(batches: Batches, archive: Option<&Archive>, ledgers: Vec<Ledger>) -> Result<Intake, String> {
        Intake::new(Rows::Slices(Slices::new(batches)), archive, ledgers)
    }

    fn new(rows: Rows, archive: Option<&Archive>, ledgers: Vec<Ledger>) -> Result<Intake, String> {
        let facts = match archive {
            Some(archive) => Known::Archive(Box::new(archive.facts()?)),
            None => Known::Ledgers(ledgers),
        };
        Ok(Intake { rows, facts, error: None, begin: Instant::MAX, end: Instant::ZERO, segments: 0, file_max: 0, filtered: 0 })
    }

    /// What went wrong, if anything did; no more segments came then.
    pub const fn error(&self) -> Option<&String> {
        self.error.as_ref()
    }

    /// How many segments a run left out of those that came.
    pub const fn filtered<L>(&self, run: &Run<L>) -> u64 {
        run.filtered.saturating_sub(self.filtered)
    }

    /// How many segments came.
    pub const fn segments(&self) -> u64 {
        self.segments
    }
}

impl Segments for Intake {
    fn next(&mut self, into: &mut Vec<Given>) -> bool {
        if self.error.is_some() {
            return false;
        }
        let from = into.len();
        let more = match &mut self.rows {
            Rows::Slices(slices) => slices.next(into, &mut self.facts),
            Rows::Stream(stream) => stream.next(into),
            Rows::Files(files) => files.next(into),
        };
        for given in &into[from..] {
            self.begin = self.begin.min(given.packet.segment.at);
            self.end = self.end.max(given.packet.segment.at);
            self.file_max = self.file_max.max(given.packet.segment.file);
        }
        self.segments += (into.len() - from) as u64;
        more.unwrap_or_else(|error| {
            self.error = Some(error);
            into.truncate(from);
            false
        })
    }

    fn facts(&mut self) -> Facts {
        let facts = self.known();
        self.filtered = facts.filtered;
        facts
    }
}

impl Intake {
    fn known(&mut self) -> Facts {
        let known = std::mem::replace(&mut self.facts, Known::Ledgers(Vec::new()));
        let of_segments = || {
            let mut counters = DecodeCounters::default();
            (counters.records, counters.decoded) = (self.segments, self.segments);
            Facts {
                counters,
                filtered: 0,
                damages: Vec::new(),
                times: crate::capture::TimeCounters::default(),
                names: if self.file_max == 0 {
                    vec!["-".to_owned()]
                } else {
                    (0..=self.file_max).map(|file| format!("file {file}")).collect()
                },
                begin: self.begin,
                end: self.end,
                wrong: None,
                interrupted: false,
            }
        };
        match known {
            Known::Archive(facts) => *facts,
            Known::Ledgers(ledgers) if ledgers.is_empty() => of_segments(),
            Known::Ledgers(ledgers) => Archive::of(ledgers).and_then(|archive| archive.facts()).unwrap_or_else(|error| {
                self.error = Some(error);
                of_segments()
            }),
        }
    }
}

/// The place of a segment in the whole input.
fn place(given: &Given) -> (u64, u16, u32) {
    (given.order, given.packet.segment.file, given.packet.segment.frame)
}

/// Something of which the next segment is known; the earliest is the greatest, as heaps want it.
struct Head<T> {
    given: Given,
    rest: T,
}

impl<T> PartialEq for Head<T> {
    fn eq(&self, other: &Head<T>) -> bool {
        place(&self.given) == place(&other.given)
    }
}

impl<T> Eq for Head<T> {}

impl<T> PartialOrd for Head<T> {
    fn partial_cmp(&self, other: &Head<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Head<T> {
    fn cmp(&self, other: &Head<T>) -> Ordering {
        place(&other.given).cmp(&place(&self.given))
    }
}

/// Slices that come sorted by flow and order.
struct Slices {
    batches: Batches,
    batch: Option<[ArrayRef; 3]>,
    row: usize,
    rows: usize,
    /// The last row's hash and order.
    last: Option<(i64, i64)>,
    /// The slices of the flow that is at work, which overlap.
    active: BinaryHeap<Head<Unpacker>>,
}

impl Slices {
    fn new(batches: Batches) -> Slices {
        Slices { batches, batch: None, row: 0, rows: 0, last: None, active: BinaryHeap::new() }
    }

    /// The hash and the order of the next row.
    fn peek(&mut self, facts: &mut Known) -> Result<Option<(i64, i64)>, String> {
        while self.row >= self.rows {
            let Some(batch) = self.batches.next() else { return Ok(None) };
            let batch = batch?;
            let long = |name| column(&batch, name, &DataType::Int64);
            let batch = [long("flow_hash")?, long("order_ns")?, column(&batch, "slice", &DataType::Binary)?, ledgers(&batch)?];
            let [hashes, orders, slices, ledgers] = batch;
            let ledgers = ledgers.as_string::<i32>();
            let keep: Vec<usize> = (0..hashes.len()).filter(|row| ledgers.is_null(*row)).collect();
            if let Known::Ledgers(known) = facts {
                for line in ledgers.iter().flatten() {
                    known.push(Ledger::parse(line).map_err(|error| format!("a ledger: {error}"))?);
                }
            }
            // Ledgers stand at the end of a capture's slices.
            if keep.len() < hashes.len() && keep.last().is_some_and(|last| last + 1 != keep.len()) {
                return Err("slices of several captures follow one another; sort them by flow_hash and order_ns".to_owned());
            }
            (self.row, self.rows) = (0, keep.len());
            self.batch = Some([hashes, orders, slices]);
        }
        let Some([hashes, orders, _]) = &self.batch else { return Ok(None) };
        Ok(Some((hashes.as_primitive::<Int64Type>().value(self.row), orders.as_primitive::<Int64Type>().value(self.row))))
    }

    /// Puts the next row's slice to work.
    fn take(&mut self, (hash, order): (i64, i64)) -> Result<(), String> {
        if self.last.is_some_and(|last| last > (hash, order)) {
            return Err("rows are not sorted by flow_hash and order_ns".to_owned());
        }
        self.last = Some((hash, order));
        let Some([_, _, slices]) = &self.batch else { return Ok(()) };
        let bytes = slices.as_binary::<i32>().value(self.row).to_vec();
        self.row += 1;
        let mut rest = Unpacker::new(bytes, order.cast_unsigned()).map_err(|error| error.to_string())?;
        if let Some(given) = rest.segment().map_err(|error| error.to_string())? {
            self.active.push(Head { given, rest });
        }
        Ok(())
    }

    fn next(&mut self, into: &mut Vec<Given>, facts: &mut Known) -> Result<bool, String> {
        while into.len() < HANDFUL {
            // Every slice of the flow that begins before the earliest segment at hand, or with it.
            let hash = self.last.map(|(hash, _)| hash);
            let mut coming = self.peek(facts)?;
            while let Some(row) = coming {
                let belongs = match self.active.peek() {
                    None => true,
                    Some(head) => Some(row.0) == hash && row.1.cast_unsigned() <= head.given.order,
                };
                if !belongs {
                    break;
                }
                self.take(row)?;
                coming = self.peek(facts)?;
            }
            let Some(mut head) = self.active.pop() else { break };
            // Up to where another slice has something to say.
            let until = coming.filter(|row| self.last.is_some_and(|(hash, _)| row.0 == hash)).map(|row| row.1.cast_unsigned());
            loop {
                into.push(head.given);
                let Some(given) = head.rest.segment().map_err(|error| error.to_string())? else { break };
                head.given = given;
                let waits = into.len() >= HANDFUL
                    || until.is_some_and(|until| until <= given.order)
                    || self.active.peek().is_some_and(|other| *other > head);
                if waits {
                    self.active.push(head);
                    break;
                }
            }
        }
        Ok(!into.is_empty())
    }
}

/// The column of ledgers, which may not be there.
fn ledgers(batch: &RecordBatch) -> Result<ArrayRef, String> {
    match batch.column_by_name("ledger") {
        Some(found) => arrow_cast::cast(found, &DataType::Utf8).map_err(|error| format!("column 'ledger': {error}")),
        None => Ok(arrow_array::new_null_array(&DataType::Utf8, batch.num_rows())),
    }
}

/// By what rows are sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Any,
    Time,
    Flow,
}

/// Rows of segments that come sorted by time, or by flow and time.
struct Stream {
    batches: Batches,
    last: Option<(i64, (u64, u16, u32))>,
    by: By,
}

impl Stream {
    fn next(&mut self, into: &mut Vec<Given>) -> Result<bool, String> {
        while into.is_empty() {
            let Some(batch) = self.batches.next() else { return Ok(false) };
            let batch = batch?;
            rows::segments_of(&batch, into)?;
            let hashes = column(&batch, "flow_hash", &DataType::Int64)?;
            for (given, hash) in into.iter().zip(hashes.as_primitive::<Int64Type>().values()) {
                let here = (*hash, place(given));
                let last = self.last.replace(here).unwrap_or(here);
                let (by_time, by_flow) = (last.1 <= here.1, last <= here);
                self.by = match self.by {
                    By::Any if by_time && by_flow => By::Any,
                    By::Any | By::Time if by_time => By::Time,
                    By::Any | By::Flow if by_flow => By::Flow,
                    _ => return Err("rows are sorted neither by order_ns, file, frame nor by flow_hash, order_ns, file, frame".to_owned()),
                };
            }
        }
        Ok(true)
    }
}

/// A file of segments that is opened when its time comes.
pub struct Source {
    /// The ledgers of its captures.
    pub ledgers: Vec<Ledger>,
    /// No segment of it comes before.
    pub begin: u64,
    /// Opens it.
    pub open: Box<dyn FnOnce() -> Result<Batches, String> + Send>,
}

/// Files of segments, merged by time.
struct Files {
    /// Those that are not open, the next one last.
    waiting: Vec<Source>,
    open: BinaryHeap<Head<Cursor>>,
}

struct Cursor {
    batches: Batches,
    given: std::vec::IntoIter<Given>,
}

impl Cursor {
    fn head(mut self) -> Result<Option<Head<Cursor>>, String> {
        loop {
            if let Some(given) = self.given.next() {
                return Ok(Some(Head { given, rest: self }));
            }
            let Some(batch) = self.batches.next() else { return Ok(None) };
            let mut given = Vec::new();
            rows::segments_of(&batch?, &mut given)?;
            if given.windows(2).any(|pair| place(&pair[0]) > place(&pair[1])) {
                return Err("rows are not sorted by order_ns, file, frame".to_owned());
            }
            self.given = given.into_iter();
        }
    }
}

impl Files {
    fn new(mut waiting: Vec<Source>) -> Files {
        // The order of files that begin together makes no difference: segments are compared.
        waiting.sort_by_key(|file| std::cmp::Reverse(file.begin));
        Files { waiting, open: BinaryHeap::new() }
    }

    fn next(&mut self, into: &mut Vec<Given>) -> Result<bool, String> {
        while into.len() < HANDFUL {
            while self.waiting.last().is_some_and(|file| self.open.peek().is_none_or(|head| file.begin <= head.given.order)) {
                let Some(file) = self.waiting.pop() else { break };
                self.open.extend(Cursor { batches: (file.open)()?, given: Vec::new().into_iter() }.head()?);
            }
            let Some(Head { given, rest }) = self.open.pop() else { break };
            into.push(given);
            self.open.extend(rest.head()?);
        }
        Ok(!into.is_empty())
    }
}

/// Slices in any order, sorted: all of them are held.
///
/// # Errors
/// What is wrong with the rows.
pub fn sorted(batches: impl Iterator<Item = Result<RecordBatch, String>>, ledgers_into: &mut Vec<Ledger>) -> Result<Batches, String> {
    let mut all: Vec<(i64, i64, Vec<u8>)> = Vec::new();
    for batch in batches {
        let batch = batch?;
        let long = |name| column(&batch, name, &DataType::Int64);
        let (hashes, orders, slices, lines) =
            (long("flow_hash")?, long("order_ns")?, column(&batch, "slice", &DataType::Binary)?, ledgers(&batch)?);
        let rows = hashes.as_primitive::<Int64Type>().values().iter().zip(orders.as_primitive::<Int64Type>().values());
        for (row, (hash, order)) in rows.enumerate() {
            let lines = lines.as_string::<i32>();
            if lines.is_null(row) {
                all.push((*hash, *order, slices.as_binary::<i32>().value(row).to_vec()));
            } else {
                ledgers_into.push(Ledger::parse(lines.value(row)).map_err(|error| format!("a ledger: {error}"))?);
            }
        }
    }
    all.sort();
    let mut all = all.into_iter().peekable();
    Ok(Box::new(std::iter::from_fn(move || {
        all.peek()?;
        Some(rows::slices_of(all.by_ref().take(HANDFUL)).map_err(|error| error.to_string()))
    })))
}
