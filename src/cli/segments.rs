//! `flowlapse segments`: captures to columns, a row a segment.

use super::output::{self, Names};
use super::{Ended, Failure, exit, files, global, interrupt, note, outlet, traffic};
use crate::archive::decode::decode;
use crate::archive::ledger::{FILES_MAX, Ledger};
use crate::archive::rows::{SegmentRows, SliceRows, segments_schema, slices_schema};
use crate::archive::store::{ParquetSink, StreamSink};
use crate::capture::Input;
use crate::decode::Filter;
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use rayon::prelude::*;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

/// How many batches wait for being written.
const AHEAD: usize = 4;

/// Decode captures to columns, a row a segment: for archives that one machine cannot hold.
///
/// A Parquet file for each capture in a directory, or one Arrow IPC stream. Rows have everything that the models read, a hash by which
/// flows can be spread, and where each segment stands. 'replay', 'sweep' and 'capacity' take them with --segments.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse segments ring-*.pcap.gz -o columns/
  flowlapse segments web.pcapng -o - | flowlapse replay - --segments --box aws-nlb
  flowlapse segments big.pcap --slices --file-index 17 --keep-going -o - > 17.arrow

Exit codes: 0 ran; 2 usage, or nothing could be read; 130 interrupted.")]
pub struct Args {
    /// Captures: pcap or pcapng, plain, gzip or zstd; `-` is standard input
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<OsString>,
    /// Where to: a directory, which gets a Parquet file for each capture, or `-` for a stream of one capture
    #[arg(long, short = 'o', value_name = "DIR", required = true)]
    out: PathBuf,
    /// Rows of many segments each, packed: what to send from machine to machine
    #[arg(long)]
    slices: bool,
    /// The number of the first capture in its archive
    #[arg(long, value_name = "N", default_value_t = 0)]
    file_index: u32,
    /// What to call the capture; with one alone
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A capture that cannot be opened is told in its ledger and is no error
    #[arg(long)]
    keep_going: bool,
    /// Only packets that match, in tcpdump's words: host, net, port, src, dst, tcp, udp, and, or, not
    #[arg(long, short = 'f', value_name = "FILTER")]
    filter: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    let filter = args.filter.as_deref().map(traffic::filter).transpose()?;
    let last = u64::from(args.file_index) + args.captures.len() as u64 - 1;
    if last >= FILES_MAX as u64 {
        return Err(Failure(format!("--file-index {}: at most {FILES_MAX} captures can be told apart", args.file_index)));
    }
    if let (Some(_), [_, _, ..]) = (&args.name, &args.captures[..]) {
        return Err(Failure("--name: what one capture is called; there are several".to_owned()));
    }
    if args.out == Path::new("-") {
        return to_stdout(args, filter.as_ref());
    }
    std::fs::create_dir_all(&args.out).map_err(|error| files::unwritable(&args.out, &error))?;
    let places: Vec<PathBuf> = args.captures.iter().enumerate().map(|(at, name)| args.out.join(place(args, at, name))).collect();
    let mut names = Names::new().reads("CAPTURE", &args.captures);
    for place in &places {
        names.write("--out", place)?;
    }
    let captures: Vec<(usize, (&OsString, PathBuf))> = args.captures.iter().zip(places).enumerate().collect();
    let one = |(at, (name, place)): (usize, (&OsString, PathBuf))| to_file(args, at, name, &place, filter.as_ref());
    let work = || captures.into_par_iter().map(one).collect::<Result<Vec<Ledger>, Failure>>();
    let ledgers = global::pool()?.install(work)?;
    let (segments, records) = ledgers.iter().fold((0, 0), |sum, one| (sum.0 + one.segments, sum.1 + one.packets.records));
    for ledger in &ledgers {
        tell(ledger);
    }
    let files = ledgers.len();
    note(&format!(
        "{}: {segments} segments of {records} packets in {files} {}",
        args.out.display(),
        if files == 1 { "file" } else { "files" }
    ));
    Ok(if ledgers.iter().any(|ledger| ledger.interrupted) { exit::INTERRUPTED } else { exit::RAN })
}

/// The name of a capture's file: its number, so that none has another's, and what it was called.
fn place(args: &Args, at: usize, name: &OsString) -> String {
    let path = Path::new(name);
    let stem = if name == "-" { "stdin".into() } else { path.file_name().unwrap_or_default().to_string_lossy() };
    let kind = if args.slices { "slices" } else { "segments" };
    format!("{:05}-{stem}.{kind}.parquet", args.file_index as usize + at)
}

fn tell(ledger: &Ledger) {
    for harm in &ledger.damage {
        note(&format!("{}: damaged after frame {}, at byte {}: {}", ledger.name, harm.after_frame, harm.offset, harm.what));
    }
    if let Some(error) = &ledger.error {
        note(&format!("{}: {error}", ledger.name));
    }
    if ledger.interrupted {
        note(&format!("{}: interrupted; only what was read so far is there", ledger.name));
    }
}

/// Decodes one capture; `take` gets its rows.
fn one(
    args: &Args,
    at: usize,
    name: &OsString,
    filter: Option<&Filter>,
    take: impl FnMut(&[crate::engine::gathered::Given]) -> Result<(), String>,
) -> Result<Ledger, Failure> {
    let input = Input::from_arg(name);
    let called = args.name.clone().unwrap_or_else(|| input.name());
    let mut ledger = Ledger::new(args.file_index + at as u32, &called);
    let mut capture = match traffic::open_inputs(&[input]) {
        Ok(capture) => capture,
        Err(Failure(why)) if args.keep_going && !interrupt::is_asked() => {
            // Its name stands beside.
            let opened = format!("{}: ", Input::from_arg(name).name());
            ledger.error = Some(why.strip_prefix(&opened).unwrap_or(&why).to_owned());
            return Ok(ledger);
        }
        Err(failure) => return Err(failure),
    };
    decode(&mut capture, filter, &mut ledger, interrupt::flag(), take).map_err(Failure)?;
    Ok(ledger)
}

/// The rows of one capture, batch by batch, of the kind that was asked for. `with_ledger`: behind slices comes a row with the ledger, for
/// a stream has no other place for it.
fn rows_of(
    args: &Args,
    at: usize,
    name: &OsString,
    filter: Option<&Filter>,
    with_ledger: bool,
    mut take: impl FnMut(RecordBatch) -> Result<(), String>,
) -> Result<Ledger, Failure> {
    let told = |error: ArrowError| error.to_string();
    if !args.slices {
        let rows = SegmentRows::default();
        return one(args, at, name, filter, |given| take(rows.batch(given).map_err(told)?));
    }
    let mut rows = SliceRows::default();
    let ledger = one(args, at, name, filter, |given| {
        rows.push(given);
        rows.batch(false).map_err(told)?.map_or(Ok(()), &mut take)
    })?;
    if with_ledger {
        rows.ledger(&ledger.line().map_err(Failure)?);
    } else {
        rows.flush();
    }
    rows.batch(true).map_err(told).and_then(|rest| rest.map_or(Ok(()), take)).map_err(Failure)?;
    Ok(ledger)
}

fn to_file(args: &Args, at: usize, name: &OsString, place: &Path, filter: Option<&Filter>) -> Result<Ledger, Failure> {
    let unwritable = |error: String| Failure(format!("{}: cannot be written: {error}", place.display()));
    let (file, pending) = output::begin(place).map_err(|error| files::unwritable(place, &error))?;
    let sink = BufWriter::with_capacity(1 << 20, file);
    let sink = if args.slices { ParquetSink::rows(sink, slices_schema()) } else { ParquetSink::segments(sink) };
    let (ledger, written) = beside(sink.map_err(unwritable)?, |send| {
        // Whoever writes says itself why it does so no more.
        rows_of(args, at, name, filter, false, |batch| send.send(batch).map_err(|_| "the rest was not written".to_owned()))
    });
    let sink = written.map_err(unwritable)?;
    let ledger = ledger?;
    sink.finish(std::slice::from_ref(&ledger)).map_err(unwritable)?;
    pending.commit().map_err(|error| files::unwritable(place, &error))?;
    Ok(ledger)
}

/// Writes batches in a thread of their own while the next ones are made.
fn beside<W: Write + Send, R>(
    mut sink: ParquetSink<W>,
    make: impl FnOnce(&SyncSender<RecordBatch>) -> R,
) -> (R, Result<ParquetSink<W>, String>) {
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel::<RecordBatch>(AHEAD);
        let writer = scope.spawn(move || {
            for batch in receive {
                sink.write(&batch)?;
            }
            Ok(sink)
        });
        let made = make(&send);
        drop(send);
        (made, writer.join().unwrap_or_else(|_| Err("its writer broke off".to_owned())))
    })
}

/// One capture as a stream.
fn to_stdout(args: &Args, filter: Option<&Filter>) -> Ended {
    let [name] = &args.captures[..] else {
        return Err(Failure("-o -: a stream has the rows of one capture; name a directory for several".to_owned()));
    };
    let mut broken = Ok(());
    let out = Stdout(&mut broken, BufWriter::with_capacity(1 << 20, io::stdout().lock()));
    let ledger = stream(args, name, filter, out);
    outlet::written(broken)?;
    let ledger = ledger?;
    tell(&ledger);
    Ok(if ledger.interrupted { exit::INTERRUPTED } else { exit::RAN })
}

fn stream(args: &Args, name: &OsString, filter: Option<&Filter>, out: impl Write) -> Result<Ledger, Failure> {
    let schema = if args.slices { slices_schema() } else { segments_schema() };
    let mut sink = StreamSink::new(out, &schema).map_err(Failure)?;
    let ledger = rows_of(args, 0, name, filter, true, |batch| sink.write(&batch))?;
    sink.finish().map_err(Failure)?;
    Ok(ledger)
}

/// Standard output that remembers what was wrong with it, for the exit code.
pub(super) struct Stdout<'e, W>(pub(super) &'e mut io::Result<()>, pub(super) W);

impl<W> Stdout<'_, W> {
    fn noted<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            *self.0 = Err(error);
            io::Error::from(kind)
        })
    }
}

impl<W: Write> Write for Stdout<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.1.write(bytes);
        self.noted(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.1.flush();
        self.noted(result)
    }
}
