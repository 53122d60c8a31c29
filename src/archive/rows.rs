//! Segments and slices as rows of Arrow: the schemas, and both ways between rows and segments.
//!
//! Whoever writes or reads Parquet or IPC does it elsewhere. The schemas are described in docs/archives.md; a change that breaks readers
//! changes the number behind a schema's name.

use super::hash::{flow_hash, protocol};
use super::slice::Packer;
use crate::decode::Decoded;
use crate::engine::gathered::Given;
use crate::net::{Addr, Direction, Proto, Segment, SegmentBits, Seq, Sock, TcpFlags};
use crate::time::Instant;
use arrow_array::builder::{BinaryBuilder, Int32Builder, Int64Builder, StringBuilder, StringDictionaryBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use hashbrown::HashTable;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The schema of rows that are a segment each.
pub const SEGMENTS: &str = "flowlapse-segments/1";
/// The schema of rows that are a slice each.
pub const SLICES: &str = "flowlapse-slices/1";
/// Under which key of a schema's metadata its name stands.
pub const SCHEMA_KEY: &str = "flowlapse.schema";
/// The same for the ledgers, a line each.
pub const LEDGERS_KEY: &str = "flowlapse.ledgers";

fn schema(name: &str, fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new_with_metadata(fields, HashMap::from([(SCHEMA_KEY.to_owned(), name.to_owned())])))
}

fn text() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// One row a segment.
pub fn segments_schema() -> SchemaRef {
    let field = |name, of| Field::new(name, of, false);
    schema(
        SEGMENTS,
        vec![
            field("flow_hash", DataType::Int64),
            field("order_ns", DataType::Int64),
            field("at_ns", DataType::Int64),
            field("file", DataType::Int32),
            field("frame", DataType::Int64),
            field("proto", DataType::Int8),
            field("src", text()),
            field("src_port", DataType::Int32),
            field("dst", text()),
            field("dst_port", DataType::Int32),
            field("flags", DataType::Int16),
            field("seq", DataType::Int64),
            field("ack", DataType::Int64),
            field("sack", DataType::Int64),
            field("len", DataType::Int64),
            field("window", DataType::Int32),
            field("window_scale", DataType::Int16),
            field("options", DataType::Int16),
            field("ttl", DataType::Int16),
            field("ip_id", DataType::Int32),
        ],
    )
}

/// One row a slice; a capture's last row is its ledger.
pub fn slices_schema() -> SchemaRef {
    let field = |name, of| Field::new(name, of, false);
    schema(
        SLICES,
        vec![
            field("flow_hash", DataType::Int64),
            field("order_ns", DataType::Int64),
            field("segments", DataType::Int32),
            field("slice", DataType::Binary),
            Field::new("ledger", DataType::Utf8, true),
        ],
    )
}

/// Makes rows that are a segment each.
#[derive(Debug)]
pub struct SegmentRows {
    schema: SchemaRef,
}

impl Default for SegmentRows {
    fn default() -> SegmentRows {
        SegmentRows { schema: segments_schema() }
    }
}

impl SegmentRows {
    /// The rows of some segments.
    ///
    /// # Errors
    /// What Arrow says, which has nothing to say here.
    pub fn batch(&self, given: &[Given]) -> Result<RecordBatch, ArrowError> {
        let long = |of: &dyn Fn(&Given) -> i64| Arc::new(Int64Array::from_iter_values(given.iter().map(of))) as ArrayRef;
        let int = |of: &dyn Fn(&Given) -> i32| Arc::new(Int32Array::from_iter_values(given.iter().map(of))) as ArrayRef;
        let short = |of: &dyn Fn(&Segment) -> u8| {
            Arc::new(Int16Array::from_iter_values(given.iter().map(|g| i16::from(of(&g.packet.segment))))) as ArrayRef
        };
        let columns: Vec<ArrayRef> = vec![
            long(&|g| flow_hash(g.packet.src, g.packet.dst, g.packet.proto)),
            long(&|g| g.order.cast_signed()),
            long(&|g| g.packet.segment.at.0.cast_signed()),
            int(&|g| i32::from(g.packet.segment.file)),
            long(&|g| i64::from(g.packet.segment.frame)),
            Arc::new(Int8Array::from_iter_values(given.iter().map(|g| protocol(g.packet.proto).cast_signed()))),
            addresses(given.iter().map(|g| g.packet.src.addr))?,
            int(&|g| i32::from(g.packet.src.port)),
            addresses(given.iter().map(|g| g.packet.dst.addr))?,
            int(&|g| i32::from(g.packet.dst.port)),
            short(&|s| s.flags.0),
            long(&|g| i64::from(g.packet.segment.seq.0)),
            long(&|g| i64::from(g.packet.segment.ack.0)),
            long(&|g| i64::from(g.packet.segment.sack.0)),
            long(&|g| i64::from(g.packet.segment.len)),
            int(&|g| i32::from(g.packet.segment.window)),
            short(&|s| s.window_scale),
            short(&|s| s.bits.0),
            short(&|s| s.ttl),
            int(&|g| i32::from(g.packet.segment.ip_id)),
        ];
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

/// Addresses as text, each written once.
fn addresses(addrs: impl Iterator<Item = Addr>) -> Result<ArrayRef, ArrowError> {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    let mut known: HashMap<Addr, String, foldhash::fast::FixedState> = HashMap::default();
    for addr in addrs {
        builder.append(known.entry(addr).or_insert_with(|| addr.to_string()))?;
    }
    Ok(Arc::new(builder.finish()))
}

/// What a slice may grow to.
const SLICE_BYTES: usize = 16 << 10;
/// How many tuples may have a slice under way, and how many bytes they may have together.
const OPEN_MAX: usize = 1 << 17;
const OPEN_BYTES: usize = 64 << 20;
/// A batch of slices has so many bytes, or so many rows.
const BATCH_BYTES: usize = 4 << 20;
const BATCH_ROWS: usize = 1 << 16;

/// Makes rows that are a slice each.
#[derive(Debug)]
pub struct SliceRows {
    schema: SchemaRef,
    open: Vec<(i64, Packer)>,
    index: HashTable<(i64, u32)>,
    open_bytes: usize,
    hashes: Int64Builder,
    orders: Int64Builder,
    counts: Int32Builder,
    slices: BinaryBuilder,
    ledgers: StringBuilder,
    rows: usize,
    bytes: usize,
}

impl Default for SliceRows {
    fn default() -> SliceRows {
        SliceRows {
            schema: slices_schema(),
            open: Vec::new(),
            index: HashTable::new(),
            open_bytes: 0,
            hashes: Int64Builder::new(),
            orders: Int64Builder::new(),
            counts: Int32Builder::new(),
            slices: BinaryBuilder::new(),
            ledgers: StringBuilder::new(),
            rows: 0,
            bytes: 0,
        }
    }
}

impl SliceRows {
    /// Adds segments of one file. Rows are ready when [`SliceRows::batch`] has some.
    pub fn push(&mut self, given: &[Given]) {
        for Given { packet, order } in given {
            let hash = flow_hash(packet.src, packet.dst, packet.proto);
            let place = self.index.find(hash.cast_unsigned(), |(known, at)| *known == hash && self.open[*at as usize].1.is_of(packet));
            let at = if let Some((_, at)) = place {
                *at as usize
            } else {
                let at = self.open.len();
                let packer = Packer::new(packet, *order);
                self.open_bytes += packer.bytes().len();
                self.open.push((hash, packer));
                self.index.insert_unique(hash.cast_unsigned(), (hash, at as u32), |(hash, _)| hash.cast_unsigned());
                at
            };
            let packer = &mut self.open[at].1;
            let before = packer.bytes().len();
            packer.push(packet, *order);
            let after = packer.bytes().len();
            self.open_bytes += after - before;
            if after >= SLICE_BYTES || self.open.len() >= OPEN_MAX || self.open_bytes >= OPEN_BYTES {
                if after >= SLICE_BYTES { self.close(at) } else { self.flush() }
            }
        }
    }

    /// Makes a row of one slice; the last one takes its place.
    fn close(&mut self, at: usize) {
        let last = self.open.len() - 1;
        if let Ok(entry) = self.index.find_entry(self.open[at].0.cast_unsigned(), |(_, place)| *place as usize == at) {
            entry.remove();
        }
        if let Some((_, place)) = self.index.find_mut(self.open[last].0.cast_unsigned(), |(_, place)| *place as usize == last) {
            *place = at as u32;
        }
        let (hash, packer) = self.open.swap_remove(at);
        self.open_bytes -= packer.bytes().len();
        self.row(hash, &packer);
    }

    fn row(&mut self, hash: i64, packer: &Packer) {
        self.hashes.append_value(hash);
        self.orders.append_value(packer.first().cast_signed());
        self.counts.append_value(packer.count().cast_signed());
        self.slices.append_value(packer.bytes());
        self.ledgers.append_null();
        self.rows += 1;
        self.bytes += packer.bytes().len();
    }

    /// Makes rows of all slices under way, in the order in which they began.
    pub fn flush(&mut self) {
        self.index.clear();
        self.open_bytes = 0;
        for (hash, packer) in std::mem::take(&mut self.open) {
            self.row(hash, &packer);
        }
    }

    /// Adds a file's ledger, behind its slices.
    pub fn ledger(&mut self, line: &str) {
        self.flush();
        self.hashes.append_value(0);
        self.orders.append_value(0);
        self.counts.append_value(0);
        self.slices.append_value([]);
        self.ledgers.append_value(line);
        self.rows += 1;
    }

    /// The rows that are ready, if they are many, or wanted in any case.
    ///
    /// # Errors
    /// What Arrow says, which has nothing to say here.
    pub fn batch(&mut self, in_any_case: bool) -> Result<Option<RecordBatch>, ArrowError> {
        if self.rows == 0 || !in_any_case && self.rows < BATCH_ROWS && self.bytes < BATCH_BYTES {
            return Ok(None);
        }
        (self.rows, self.bytes) = (0, 0);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.hashes.finish()),
            Arc::new(self.orders.finish()),
            Arc::new(self.counts.finish()),
            Arc::new(self.slices.finish()),
            Arc::new(self.ledgers.finish()),
        ];
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map(Some)
    }
}

/// Rows of slices that are at hand.
pub(super) fn slices_of(slices: impl Iterator<Item = (i64, i64, Vec<u8>)>) -> Result<RecordBatch, ArrowError> {
    let mut rows = SliceRows::default();
    for (hash, order, bytes) in slices {
        rows.hashes.append_value(hash);
        rows.orders.append_value(order);
        rows.counts.append_value(0);
        rows.slices.append_value(bytes);
        rows.ledgers.append_null();
        rows.rows += 1;
    }
    Ok(rows.batch(true)?.unwrap_or_else(|| RecordBatch::new_empty(slices_schema())))
}

/// A column by name, as a type that its values fit into.
pub(super) fn column(batch: &RecordBatch, name: &str, of: &DataType) -> Result<ArrayRef, String> {
    let found = batch.column_by_name(name).ok_or_else(|| format!("there is no column '{name}'"))?;
    let found = if found.data_type() == of {
        Arc::clone(found)
    } else {
        arrow_cast::cast(found, of).map_err(|error| format!("column '{name}': {error}"))?
    };
    if found.null_count() > 0 { Err(format!("column '{name}' has rows without a value")) } else { Ok(found) }
}

/// A number of a row in fewer bits.
fn narrow<T: TryFrom<i64>>(name: &str, number: i64) -> Result<T, String> {
    T::try_from(number).map_err(|_| format!("column '{name}': {number} is out of range"))
}

/// The segments of rows that are a segment each.
///
/// # Errors
/// Which column is missing or holds something else.
pub fn segments_of(batch: &RecordBatch, into: &mut Vec<Given>) -> Result<(), String> {
    let long = |name| column(batch, name, &DataType::Int64);
    let [order, at, frame, seq, ack, sack, len] =
        [long("order_ns")?, long("at_ns")?, long("frame")?, long("seq")?, long("ack")?, long("sack")?, long("len")?];
    let int = |name| column(batch, name, &DataType::Int32);
    let [file, src_port, dst_port, window, ip_id] = [int("file")?, int("src_port")?, int("dst_port")?, int("window")?, int("ip_id")?];
    let short = |name| column(batch, name, &DataType::Int16);
    let [flags, window_scale, options, ttl] = [short("flags")?, short("window_scale")?, short("options")?, short("ttl")?];
    let proto = column(batch, "proto", &DataType::Int8)?;
    let (src, dst) = (Ends::of(batch, "src")?, Ends::of(batch, "dst")?);
    for row in 0..batch.num_rows() {
        let long = |column: &ArrayRef| column.as_primitive::<Int64Type>().value(row);
        let int = |column: &ArrayRef| i64::from(column.as_primitive::<Int32Type>().value(row));
        let short = |column: &ArrayRef| i64::from(column.as_primitive::<Int16Type>().value(row));
        let segment = Segment {
            at: Instant(narrow("at_ns", long(&at))?),
            frame: narrow("frame", long(&frame))?,
            seq: Seq(narrow("seq", long(&seq))?),
            ack: Seq(narrow("ack", long(&ack))?),
            sack: Seq(narrow("sack", long(&sack))?),
            len: narrow("len", long(&len))?,
            window: narrow("window", int(&window))?,
            file: narrow("file", int(&file))?,
            flags: TcpFlags(narrow("flags", short(&flags))?),
            dir: Direction::Original,
            window_scale: narrow("window_scale", short(&window_scale))?,
            bits: SegmentBits(narrow("options", short(&options))?),
            ttl: narrow("ttl", short(&ttl))?,
            ip_id: narrow("ip_id", int(&ip_id))?,
        };
        let proto = match proto.as_primitive::<Int8Type>().value(row) {
            6 => Proto::Tcp,
            17 => Proto::Udp,
            other => return Err(format!("column 'proto': {other}; expected 6 (TCP) or 17 (UDP)")),
        };
        let src = Sock { addr: src.at(row), port: narrow("src_port", int(&src_port))? };
        let dst = Sock { addr: dst.at(row), port: narrow("dst_port", int(&dst_port))? };
        if src.addr.is_v6() != dst.addr.is_v6() {
            return Err(format!("a packet from {src} to {dst}; both are IPv4, or both IPv6"));
        }
        into.push(Given { packet: Decoded { src, dst, proto, segment }, order: narrow("order_ns", long(&order))? });
    }
    Ok(())
}

/// A column of addresses: each different one was read once.
struct Ends {
    keys: ArrayRef,
    addrs: Vec<Option<Addr>>,
}

impl Ends {
    fn of(batch: &RecordBatch, name: &str) -> Result<Ends, String> {
        let column = column(batch, name, &text())?;
        let dictionary = column.as_dictionary::<Int32Type>();
        let values = dictionary.values().as_string::<i32>();
        // A dictionary may be that of a whole file, and a batch have few of its addresses.
        let mut addrs = vec![None; values.len()];
        for key in dictionary.keys().values() {
            let Some(slot) = usize::try_from(*key).ok().and_then(|key| addrs.get_mut(key)) else {
                return Err(format!("column '{name}' has a value that is not in its dictionary"));
            };
            if slot.is_none() {
                let text = values.value(*key as usize);
                let addr = text.parse::<IpAddr>().map_err(|_| format!("column '{name}': '{text}' is no address"))?;
                *slot = Some(Addr::from(addr));
            }
        }
        Ok(Ends { keys: Arc::new(dictionary.keys().clone()), addrs })
    }

    fn at(&self, row: usize) -> Addr {
        let key = self.keys.as_primitive::<Int32Type>().value(row);
        usize::try_from(key).ok().and_then(|key| self.addrs.get(key).copied()?).unwrap_or(Addr::v4([0; 4]))
    }
}
