//! What commands that take segments and write parts have in common: where rows come from, and where they go.

use super::output::{self, Names};
use super::segments::Stdout;
use super::{Failure, files, interrupt, outlet};
use crate::archive::intake::{Intake, Source, sorted};
use crate::archive::ledger::Archive;
use crate::archive::part::{self, Asked, PartLedger, Study};
use crate::archive::store::{self, ParquetSink, Rows, StreamSink};
use crate::engine::pipeline::Followed;
use arrow_array::RecordBatch;
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// The options about segments.
#[derive(clap::Args, Clone, Default, Debug)]
pub struct Archived {
    /// The inputs are segments, as 'flowlapse segments' writes them: Parquet or Arrow IPC; directories of Parquet files; `-` is a stream
    #[arg(long)]
    pub segments: bool,
    /// What is known of the archive as a whole, as 'flowlapse merge --ledgers' prints it; without it what the inputs say
    #[arg(long, value_name = "FILE", requires = "segments")]
    pub archive: Option<PathBuf>,
}

/// The option about parts.
#[derive(clap::Args, Clone, Default, Debug)]
pub struct Parted {
    /// In place of a report, write what became of each flow as rows, for 'flowlapse merge' and for SQL: a Parquet file, or `-` for an
    /// Arrow IPC stream
    #[arg(long, value_name = "FILE", requires = "segments")]
    pub part: Option<PathBuf>,
}

/// Files of rows: those that are named, and the Parquet files of directories that are named, by name.
///
/// # Errors
/// What cannot be read, or holds none.
pub fn listed(names: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for name in names {
        if !name.is_dir() {
            found.push(name.clone());
            continue;
        }
        let entries = std::fs::read_dir(name).map_err(|error| Failure(format!("{}: {}", name.display(), outlet::reason(&error))))?;
        let is_rows = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "parquet" || ending == "arrow");
        let mut inside: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).filter(is_rows).collect();
        if inside.is_empty() {
            return Err(Failure(format!("{}: no file in it ends with .parquet or .arrow", name.display())));
        }
        inside.sort();
        found.append(&mut inside);
    }
    Ok(found)
}

/// Opens a file of rows.
///
/// # Errors
/// That it cannot be read, or is none.
pub fn open(path: &Path) -> Result<Rows, Failure> {
    std::fs::metadata(path).map_err(|error| files::unreadable(path, &error, files::Wanted::Rows))?;
    store::open(path).map_err(|error| Failure(format!("{}: {error}; expected what 'flowlapse segments' or --part writes", path.display())))
}

impl Archived {
    /// The facts about the whole, where they were given.
    fn facts(&self) -> Result<Option<Archive>, Failure> {
        let Some(path) = &self.archive else { return Ok(None) };
        archive(path).map(Some)
    }

    /// The segments of the inputs.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn intake(&self, names: &[OsString]) -> Result<Intake, Failure> {
        let archive = self.facts()?;
        if names.iter().any(|name| name == "-") {
            if names.len() > 1 {
                return Err(Failure("-: a stream is the only input; give it alone".to_owned()));
            }
            let rows = store::stream(interrupt::stdin())
                .map_err(|error| Failure(format!("-: no Arrow IPC stream: {error}; expected what 'flowlapse segments -o -' writes")))?;
            let slices = rows.schema.column_with_name("slice").is_some();
            return Intake::stream(slices, rows.batches, archive.as_ref()).map_err(Failure);
        }
        let paths = listed(&names.iter().map(PathBuf::from).collect::<Vec<_>>())?;
        let mut sources = Vec::with_capacity(paths.len());
        let (mut slices, mut ledgers) = (Vec::new(), Vec::new());
        for path in paths {
            let rows = open(&path)?;
            let told = path.display().to_string();
            if rows.schema.column_with_name("slice").is_some() {
                ledgers.extend(rows.ledgers);
                slices.push(rows.batches.map(move |batch| batch.map_err(|error| format!("{told}: {error}"))));
                continue;
            }
            let begin = rows.ledgers.iter().filter_map(|ledger| ledger.begin_ns).min().unwrap_or(0);
            let again = move || {
                let named = move |error: String| format!("{told}: {error}");
                let rows = store::open(&path).map_err(named.clone())?;
                let batches: crate::archive::intake::Batches = Box::new(rows.batches.map(move |batch| batch.map_err(named.clone())));
                Ok(batches)
            };
            sources.push(Source { ledgers: rows.ledgers, begin, open: Box::new(again) });
        }
        match (sources.is_empty(), slices.is_empty()) {
            (_, true) => Intake::files(sources, archive.as_ref()).map_err(Failure),
            (true, false) => {
                let batches = sorted(slices.into_iter().flatten(), &mut ledgers).map_err(Failure)?;
                Intake::sorted(batches, archive.as_ref(), ledgers).map_err(Failure)
            }
            (false, false) => Err(Failure("some inputs are segments and some are slices; give one kind at a time".to_owned())),
        }
    }
}

/// Reads an archive's facts.
///
/// # Errors
/// That it cannot be read, or is none.
pub fn archive(path: &Path) -> Result<Archive, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| files::unreadable(path, &error, files::Wanted::Rows))?;
    Archive::parse(&text)
        .map_err(|error| Failure(format!("{}: no archive: {error}; expected what 'flowlapse merge --ledgers' prints", path.display())))
}

/// What went wrong while rows were read.
///
/// # Errors
/// The same.
pub fn whole(intake: &Intake) -> Result<(), Failure> {
    intake.error().map_or(Ok(()), |error| Err(Failure(format!("segments: {error}"))))
}

impl Parted {
    /// Checks that a part is not written over what is read.
    ///
    /// # Errors
    /// That it would be.
    pub fn name(&self, names: &mut Names) -> Result<(), Failure> {
        names.write_some("--part", self.part.as_deref())
    }
}

/// What takes rows.
pub type Take<'t> = &'t mut dyn FnMut(RecordBatch) -> Result<(), String>;

/// Writes the rows of a part.
///
/// # Errors
/// That they cannot be written.
pub fn write_part(to: &Path, write: impl FnOnce(Take<'_>) -> Result<(), String>) -> Result<(), Failure> {
    if to == Path::new("-") {
        let mut broken = Ok(());
        let out = Stdout(&mut broken, BufWriter::with_capacity(1 << 20, io::stdout().lock()));
        let written = StreamSink::new(out, &part::schema()).and_then(|mut sink| {
            write(&mut |batch| sink.write(&batch))?;
            sink.finish()
        });
        outlet::written(broken)?;
        return written.map_err(Failure);
    }
    let (file, pending) = output::begin(to).map_err(|error| files::unwritable(to, &error))?;
    let written = ParquetSink::rows(BufWriter::with_capacity(1 << 20, file), part::schema()).and_then(|mut sink| {
        write(&mut |batch| sink.write(&batch))?;
        sink.finish(&[])
    });
    written.map_err(|error| Failure(format!("{}: cannot be written: {error}", to.display())))?;
    pending.commit().map_err(|error| files::unwritable(to, &error))
}

/// Writes the rows of flows that were followed for another question than a replay's.
///
/// # Errors
/// That they cannot be written.
pub fn write_followed_part<R: Serialize + Sync>(
    to: &Path,
    study: Study,
    asked: Asked,
    path: &crate::engine::Path,
    run: &Followed<R>,
    (segments, filtered): (u64, u64),
) -> Result<(), Failure> {
    let ledger = PartLedger::of(study, asked, path, run, run.flows.len(), segments, filtered);
    write_part(to, |take| part::write_followed(run, &ledger, take))
}
