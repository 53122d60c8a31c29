//! Rows as Parquet and as Arrow IPC, into writers and out of readers that somebody else opens.
//!
//! The libraries that read them panic at some of what is damaged; here that becomes an error like others.

use super::intake::Batches;
use super::ledger::Ledger;
use super::rows::{LEDGERS_KEY, segments_schema};
use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;

/// Rows of a row group: what a reader of one file holds at a time.
const GROUP_ROWS: usize = 1 << 18;
/// Rows that are read at a time; of files that are merged each is open only when its time comes.
const READ_ROWS: usize = 8192;

thread_local! {
    /// Whether a panic of this thread is caught and told as an error.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Reads something that may be damaged.
fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                before(info);
            }
        }));
    });
    GUARDED.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(false);
    result.unwrap_or_else(|_| Err("its rows are damaged".to_owned()))
}

/// The batches of a reader, up to the first that cannot be read.
fn batches<E: std::fmt::Display>(mut reader: impl Iterator<Item = Result<RecordBatch, E>> + Send + 'static) -> Batches {
    let mut ended = false;
    Box::new(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let next = guarded(|| reader.next().transpose().map_err(|error| told(&error))).transpose();
        ended = !matches!(next, Some(Ok(_)));
        next
    }))
}

fn told(error: &dyn std::fmt::Display) -> String {
    error.to_string()
}

fn properties() -> WriterPropertiesBuilder {
    let zstd = ZstdLevel::try_new(1).map_or(Compression::UNCOMPRESSED, Compression::ZSTD);
    WriterProperties::builder()
        .set_compression(zstd)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_created_by(crate::archive::CREATED_BY.to_owned())
}

/// A Parquet file under way.
pub struct ParquetSink<W: Write + Send> {
    writer: ArrowWriter<W>,
}

impl<W: Write + Send> ParquetSink<W> {
    /// A file of segments.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn segments(sink: W) -> Result<ParquetSink<W>, String> {
        let mut properties = properties();
        let schema = segments_schema();
        // Dictionaries of numbers cost a third more time and save a sixth of the bytes.
        for field in schema.fields().iter().filter(|field| field.data_type().is_integer()) {
            let path = ColumnPath::from(field.name().as_str());
            properties =
                properties.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
        ParquetSink::new(sink, schema, properties.set_statistics_enabled(EnabledStatistics::Chunk).build())
    }

    /// A file of other rows.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn rows(sink: W, schema: SchemaRef) -> Result<ParquetSink<W>, String> {
        ParquetSink::new(sink, schema, properties().build())
    }

    fn new(sink: W, schema: SchemaRef, properties: WriterProperties) -> Result<ParquetSink<W>, String> {
        let options = ArrowWriterOptions::new().with_properties(properties);
        ArrowWriter::try_new_with_options(sink, schema, options).map(|writer| ParquetSink { writer }).map_err(|error| told(&error))
    }

    /// Adds rows.
    ///
    /// # Errors
    /// That they cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), String> {
        self.writer.write(batch).map_err(|error| told(&error))
    }

    /// Ends the file with the ledgers of the captures that it was made of.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn finish(mut self, ledgers: &[Ledger]) -> Result<(), String> {
        if !ledgers.is_empty() {
            let lines = ledgers.iter().map(Ledger::line).collect::<Result<Vec<String>, String>>()?;
            self.writer.append_key_value_metadata(KeyValue::new(LEDGERS_KEY.to_owned(), lines.join("\n")));
        }
        self.writer.close().map(|_| ()).map_err(|error| told(&error))
    }
}

/// A stream of rows under way.
pub struct StreamSink<W: Write> {
    writer: StreamWriter<W>,
}

impl<W: Write> StreamSink<W> {
    /// Begins a stream.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn new(sink: W, schema: &Schema) -> Result<StreamSink<W>, String> {
        StreamWriter::try_new(sink, schema).map(|writer| StreamSink { writer }).map_err(|error| told(&error))
    }

    /// Adds rows.
    ///
    /// # Errors
    /// That they cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), String> {
        self.writer.write(batch).map_err(|error| told(&error))
    }

    /// Ends it.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn finish(mut self) -> Result<(), String> {
        self.writer.finish().map_err(|error| told(&error))
    }
}

/// Rows that can be read, and what is known of them beforehand.
pub struct Rows {
    /// Their columns.
    pub schema: SchemaRef,
    /// The ledgers that stand beside them.
    pub ledgers: Vec<Ledger>,
    /// The rows.
    pub batches: Batches,
}

/// Reads a stream of rows.
///
/// # Errors
/// That it is none.
pub fn stream(reader: impl Read + Send + 'static) -> Result<Rows, String> {
    let reader = guarded(|| StreamReader::try_new(BufReader::with_capacity(1 << 20, reader), None).map_err(|error| told(&error)))?;
    let schema = reader.schema();
    Ok(Rows { schema, ledgers: Vec::new(), batches: batches(reader) })
}

/// Opens a file of rows: Parquet, or Arrow IPC as a file or as a stream, by what it begins with.
///
/// # Errors
/// That it cannot be read, or is none.
pub fn open(path: &Path) -> Result<Rows, String> {
    let mut begin = Vec::new();
    let file = || File::open(path).map_err(|error| told(&error));
    file()?.take(8).read_to_end(&mut begin).map_err(|error| told(&error))?;
    if begin.starts_with(b"PAR1") {
        let file = file()?;
        let builder = guarded(|| ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| told(&error)))?;
        let pairs = builder.metadata().file_metadata().key_value_metadata();
        let lines = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == LEDGERS_KEY)).and_then(|pair| pair.value.as_deref());
        let ledgers = lines.unwrap_or_default().lines().map(Ledger::parse).collect::<Result<_, String>>()?;
        let schema = std::sync::Arc::clone(builder.schema());
        let reader = guarded(|| builder.with_batch_size(READ_ROWS).build().map_err(|error| told(&error)))?;
        return Ok(Rows { schema, ledgers, batches: batches(reader) });
    }
    if begin.starts_with(b"ARROW1") {
        let file = file()?;
        let reader = guarded(|| FileReader::try_new(file, None).map_err(|error| told(&error)))?;
        let schema = reader.schema();
        return Ok(Rows { schema, ledgers: Vec::new(), batches: batches(reader) });
    }
    if begin.starts_with(&[0xff; 4]) {
        return stream(file()?);
    }
    Err("it is neither Parquet nor Arrow IPC".to_owned())
}
