//! One capture file: its format, its blocks, its damage.
//!
//! Nothing here knows other files or what is inside a packet.
use super::error::{CaptureError, Damage};
use super::foreign;
use super::pcap::Pcap;
use super::pcapng::PcapNg;
use super::record::{Batch, Head};
use super::source::{Input, Source};
use super::{LinkType, Options, TimeCounters};
use crate::time::Instant;

/// The longest packet that is believed even where the file announces longer ones. Wireshark's ordinary limit is 256 KiB.
pub(super) const PACKET_MAX: u32 = 16 << 20;

/// How much is read to recognise a file, at most and at least. What it is said to be does not depend on what is read beyond the least.
const FIRST_BYTES: usize = 64 << 10;
const FIRST_LEAST: usize = 4 << 10;

/// Why a format stopped reading a block.
pub(super) enum Stop {
    /// The next record is `need` bytes long and not all there. `part` says where the bytes end.
    Need { need: usize, part: &'static str },
    /// The next record makes no sense.
    Damaged(String),
}

/// Why a file was refused as a whole.
pub(super) enum Refusal {
    /// It is something else.
    Foreign(String),
    /// It is a capture that cannot be used.
    Header(String),
}

/// Where the formats put what they find.
pub(super) struct Sink<'a> {
    heads: &'a mut Vec<Head>,
    frame: &'a mut u32,
    pub(super) times: &'a mut TimeCounters,
    file: u16,
}

impl Sink<'_> {
    #[cfg(test)]
    pub(super) fn new<'a>(heads: &'a mut Vec<Head>, frame: &'a mut u32, times: &'a mut TimeCounters, file: u16) -> Sink<'a> {
        Sink { heads, frame, times, file }
    }

    #[inline]
    pub(super) fn push(&mut self, at: Instant, start: usize, captured: u32, wire_len: u32, link: LinkType) {
        *self.frame = self.frame.saturating_add(1);
        self.heads.push(Head {
            at,
            start: start as u32,
            captured,
            wire_len: wire_len.max(captured),
            frame: *self.frame,
            link,
            file: self.file,
        });
    }
}

enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

pub(super) struct File {
    source: Source,
    format: Format,
    /// Bytes that were read and belong to records not yet delivered.
    rest: Vec<u8>,
    /// Where `rest` begins in the decompressed stream.
    offset: u64,
    block: usize,
    frame: u32,
    times: TimeCounters,
    index: u16,
    ended: bool,
    damage: Option<Damage>,
}

impl File {
    pub(super) fn open(input: &Input, index: u16, options: &Options) -> Result<File, CaptureError> {
        let mut source = Source::open(input, options)?;
        let first = options.block_bytes.clamp(FIRST_LEAST, FIRST_BYTES);
        let mut rest = vec![0; first];
        let filled = source.fill(&mut rest);
        rest.truncate(filled);
        rest.shrink_to_fit();
        let header = |what| CaptureError::Header { input: input.name(), what };
        if rest.is_empty() {
            let empty = || format!("the {} stream holds no bytes; expected a capture", source.compression().unwrap_or("input"));
            return Err(header(source.failure().map_or_else(empty, str::to_owned)));
        }
        let (format, used) = detect(&rest, filled < FIRST_LEAST).map_err(|refusal| match refusal {
            Refusal::Foreign(what) => CaptureError::Foreign { input: input.name(), what },
            // Of a longer stream it depends on the size of the blocks whether its damage was met already.
            Refusal::Header(what) => header(match source.failure().filter(|_| filled < FIRST_LEAST) {
                Some(failure) => format!("{what}: {failure}"),
                None => what,
            }),
        })?;
        rest.drain(..used);
        Ok(File {
            source,
            format,
            rest,
            offset: used as u64,
            block: options.block_bytes.max(4096),
            frame: 0,
            times: TimeCounters::default(),
            index,
            ended: false,
            damage: None,
        })
    }

    pub(super) fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    pub(super) fn times(&self) -> TimeCounters {
        self.times
    }

    pub(super) fn consumed(&self) -> u64 {
        self.source.consumed()
    }

    pub(super) fn next_batch(&mut self, batch: &mut Batch) -> bool {
        batch.heads.clear();
        let mut size = self.block.max(self.rest.len());
        while !self.ended && batch.heads.is_empty() {
            size = self.read_block(batch, size);
        }
        !batch.heads.is_empty()
    }

    /// Reads one block and finds the records in it. Returns the size that the next block needs.
    fn read_block(&mut self, batch: &mut Batch, size: usize) -> usize {
        let Batch { bytes, heads } = batch;
        if bytes.len() < size {
            bytes.resize(size, 0);
        }
        let kept = self.rest.len();
        bytes[..kept].copy_from_slice(&self.rest);
        let filled = kept + self.source.fill(&mut bytes[kept..size]);
        let block = &bytes[..filled];
        let mut sink = Sink { heads, frame: &mut self.frame, times: &mut self.times, file: self.index };
        let (used, stop) = match &mut self.format {
            Format::Pcap(pcap) => pcap.parse(block, &mut sink),
            Format::PcapNg(pcapng) => pcapng.parse(block, &mut sink),
        };
        self.rest.clear();
        match stop {
            Stop::Damaged(what) => self.end(used, Some(what)),
            // The rest of a record may yet come; nobody waits for it.
            Stop::Need { .. } if filled < size && self.source.is_stopped() => self.end(used, None),
            Stop::Need { part, .. } if filled < size => {
                let left = filled - used;
                let what = match self.source.failure() {
                    Some(failure) if left > 0 => Some(format!("{failure}, {part} (only {left} of its bytes are there)")),
                    Some(failure) => Some(failure.to_owned()),
                    None if left > 0 => Some(format!("cut short {part}: only {left} of its bytes are there")),
                    None => None,
                };
                self.end(used, what);
            }
            Stop::Need { need, .. } => {
                self.rest.extend_from_slice(&block[used..]);
                self.offset += used as u64;
                return self.block.max(need);
            }
        }
        self.block
    }

    fn end(&mut self, used: usize, what: Option<String>) {
        self.ended = true;
        self.offset += used as u64;
        self.damage = what.map(|what| Damage { file: self.index, offset: self.offset, after_frame: self.frame, what });
    }
}

/// Recognises the format, and says how many bytes of header need not be seen again.
fn detect(head: &[u8], complete: bool) -> Result<(Format, usize), Refusal> {
    if let Some(found) = Pcap::detect(head, complete) {
        return found.map(|(pcap, used)| (Format::Pcap(pcap), used));
    }
    if let Some(found) = PcapNg::detect(head, complete) {
        return found.map(|pcapng| (Format::PcapNg(pcapng), 0));
    }
    let what = foreign::known(head).unwrap_or_else(|| {
        let bytes: Vec<String> = head.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("begins with {}", bytes.join(" "))
    });
    Err(Refusal::Foreign(what))
}

/// A 16-bit number at `at`, in the byte order of the file; zero beyond the end, which the callers exclude.
#[inline]
pub(super) fn u16_at(bytes: &[u8], at: usize, big: bool) -> u16 {
    let Some(Ok(raw)) = bytes.get(at..at + 2).map(<[u8; 2]>::try_from) else { return 0 };
    if big { u16::from_be_bytes(raw) } else { u16::from_le_bytes(raw) }
}

/// A 32-bit number at `at`, in the byte order of the file; zero beyond the end, which the callers exclude.
#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize, big: bool) -> u32 {
    let Some(Ok(raw)) = bytes.get(at..at + 4).map(<[u8; 4]>::try_from) else { return 0 };
    if big { u32::from_be_bytes(raw) } else { u32::from_le_bytes(raw) }
}
