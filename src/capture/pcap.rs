//! The classic pcap format: four magics in two byte orders, and the patched one of the late nineties.
//!
//! Nothing here knows where the bytes come from. Headers and records are read by pcap-file's slice parser; only its raw
//! records are used, because it refuses a finished record whose fraction of a second is a whole second or more.
use super::LinkType;
use super::file::{PACKET_MAX, Refusal, Sink, Stop, u32_at};
use crate::time::Instant;
use pcap_file::Endianness;
use pcap_file::pcap::{PcapParser, PcapTsResolution};

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// What Wireshark accepts as a packet in any file, however small its snapshot length.
const PACKET_USUAL: u32 = 256 << 10;
/// The magic of Alexey Kuznetzov's patched libpcap, whose record headers carry eight more bytes.
const PATCHED: u32 = 0xa1b2_cd34;
const PATCHED_EXTRA: usize = 8;

pub(super) struct Pcap {
    parser: PcapParser,
    link: LinkType,
    snaplen: u32,
    nanos_per_tick: u64,
    big: bool,
    patched: bool,
}

impl Pcap {
    /// Reads the file header, if the file begins like one.
    pub(super) fn detect(head: &[u8]) -> Option<Result<(Pcap, usize), Refusal>> {
        let (big, patched) = match u32_at(head, 0, true) {
            0xa1b2_c3d4 | 0xa1b2_3c4d => (true, false),
            0xd4c3_b2a1 | 0x4d3c_b2a1 => (false, false),
            PATCHED => (true, true),
            0x34cd_b2a1 => (false, true),
            _ => return None,
        };
        Some(Pcap::header(head, big, patched).map(|pcap| (pcap, FILE_HEADER)))
    }

    fn header(head: &[u8], big: bool, patched: bool) -> Result<Pcap, Refusal> {
        let Some(Ok(mut header)) = head.get(..FILE_HEADER).map(<[u8; FILE_HEADER]>::try_from) else {
            return Err(Refusal::Header(format!("cut short: only {} of the 24 bytes of the pcap header are there", head.len())));
        };
        if patched {
            // But for its magic the header is an ordinary one.
            header[..4].copy_from_slice(&if big { 0xa1b2_c3d4_u32.to_be_bytes() } else { 0xa1b2_c3d4_u32.to_le_bytes() });
        }
        let (_, parser) = PcapParser::new(&header).map_err(|error| Refusal::Header(format!("unusable pcap header: {error}")))?;
        let about = parser.header();
        if about.version_major != 2 {
            return Err(Refusal::Header(format!(
                "pcap version {}.{} is not known; expected 2.4",
                about.version_major, about.version_minor
            )));
        }
        let nanos_per_tick = if about.ts_resolution == PcapTsResolution::NanoSecond { 1 } else { 1_000 };
        Ok(Pcap {
            // The upper half of the field says how long the frame check sequence is, which no protocol below needs.
            link: LinkType(u32_at(&header, 20, big) as u16),
            snaplen: about.snaplen,
            nanos_per_tick,
            big: about.endianness == Endianness::Big,
            patched,
            parser,
        })
    }

    /// Finds the records in a block. Returns how many bytes they take and why it ended there.
    pub(super) fn parse(&self, block: &[u8], sink: &mut Sink<'_>) -> (usize, Stop) {
        let mut used = 0;
        if self.patched {
            while let Some(size) = self.patched_record(block, used, sink) {
                used += size;
            }
        } else {
            let mut rest = block;
            while let Ok((after, packet)) = self.parser.next_raw_packet(rest) {
                if packet.incl_len > PACKET_USUAL && self.absurd(packet.incl_len) {
                    break;
                }
                let at = self.instant(packet.ts_sec, packet.ts_frac);
                sink.push(at, used + RECORD_HEADER, packet.incl_len, packet.orig_len, self.link);
                used = block.len() - after.len();
                rest = after;
            }
        }
        (used, self.why(&block[used..]))
    }

    /// A record of the patched format, which pcap-file does not know.
    fn patched_record(&self, block: &[u8], start: usize, sink: &mut Sink<'_>) -> Option<usize> {
        let header = block.get(start..start + RECORD_HEADER + PATCHED_EXTRA)?;
        let captured = u32_at(header, 8, self.big);
        let size = header.len() + captured as usize;
        if self.absurd(captured) || block.len() < start + size {
            return None;
        }
        let at = self.instant(u32_at(header, 0, self.big), u32_at(header, 4, self.big));
        sink.push(at, start + header.len(), captured, u32_at(header, 12, self.big), self.link);
        Some(size)
    }

    /// Two 32-bit fields cannot exceed 64 bits of nanoseconds, even where the fraction is more than a second.
    fn instant(&self, seconds: u32, ticks: u32) -> Instant {
        Instant(u64::from(seconds) * 1_000_000_000 + u64::from(ticks) * self.nanos_per_tick)
    }

    /// Whether a packet length cannot be meant: more than Wireshark believes and more than the file announces.
    fn absurd(&self, captured: u32) -> bool {
        captured > PACKET_USUAL && (captured > self.snaplen || captured > PACKET_MAX)
    }

    /// Why the record at the beginning of `rest` was not read.
    fn why(&self, rest: &[u8]) -> Stop {
        let header = if self.patched { RECORD_HEADER + PATCHED_EXTRA } else { RECORD_HEADER };
        if rest.len() < header {
            return Stop::Need { need: header, part: "in a record header" };
        }
        let captured = u32_at(rest, 8, self.big);
        if self.absurd(captured) {
            return Stop::Damaged(format!("a record header claims {captured} captured bytes, the file's limit is {}", self.snaplen));
        }
        Stop::Need { need: header + captured as usize, part: "in the data of a packet" }
    }
}
