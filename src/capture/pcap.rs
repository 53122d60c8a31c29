//! The classic pcap format: microseconds and nanoseconds in two byte orders, and the relatives of it that were ever in use.
//!
//! Nothing here knows where the bytes come from. File headers are read by pcap-file. Records are found here, in a third of the
//! instructions; of usual files a test holds them to the raw records of pcap-file's slice parser. (Its finished ones it refuses where
//! the fraction of a second is a whole second or more.)
use super::LinkType;
use super::file::{PACKET_MAX, Refusal, Sink, Stop, u16_at, u32_at};
use crate::time::Instant;
use pcap_file::pcap::PcapParser;

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// What Wireshark accepts as a packet in any file, however small its snapshot length.
const PACKET_USUAL: u32 = 256 << 10;
/// Microseconds and nanoseconds as libpcap writes them.
const MICROS: u32 = 0xa1b2_c3d4;
const NANOS: u32 = 0xa1b2_3c4d;
/// Alexey Kuznetzov's patched libpcap, whose record headers carry more.
const PATCHED: u32 = 0xa1b2_cd34;
/// netsniff-ng's own: nanoseconds, and eight more bytes in record headers.
const NETSNIFF: u32 = 0xa1e2_cb12;
/// Ixia's: after the file header stands how long the rest is; from hardware with nanoseconds, from software with microseconds.
const IXIA_HARD: u32 = 0x1c00_01ac;
const IXIA_SOFT: u32 = 0x1c00_01ab;
/// What libpcap sets apart for two formats that were never published.
const MESQUITA: u32 = 0xa1b2_34cd;
const NAVTEL: u32 = 0xa12b_3c4d;
/// The version that tcpdump of DG/UX wrote.
const DG_UX: u16 = 543;
/// Records that are looked at to tell relatives with the same magic apart.
const TRIED: usize = 100;
/// So many records in a row are no accident.
const ENOUGH: usize = 4;
/// Records of one capture are not further apart than this, if only their order in the file is to be believed: a month.
const NEAR_SECONDS: u32 = 30 * 86_400;

/// In which order a record header has its two lengths.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lengths {
    CapturedFirst,
    /// Before version 2.3.
    WireFirst,
    /// Version 2.3 was written with either; captured is what is less.
    Either,
}

pub(super) struct Pcap {
    link: LinkType,
    snaplen: u32,
    nanos_per_tick: u64,
    big: bool,
    /// What record headers have beyond the usual sixteen bytes.
    extra: usize,
    lengths: Lengths,
}

impl Pcap {
    /// Reads the file header, if the file begins like one. `complete` says that `head` is the whole file.
    pub(super) fn detect(head: &[u8], complete: bool) -> Option<Result<(Pcap, usize), Refusal>> {
        for big in [false, true] {
            let magic = u32_at(head, 0, big);
            match magic {
                MICROS | NANOS | PATCHED | NETSNIFF => return Some(Pcap::header(head, magic, big, FILE_HEADER, complete)),
                IXIA_HARD | IXIA_SOFT => return Some(Pcap::header(head, magic, big, FILE_HEADER + 4, complete)),
                MESQUITA | NAVTEL => {
                    let whose = if magic == NAVTEL { "Navtel" } else { "Francisco Mesquita" };
                    let what = format!("it is a pcap variant of {whose} (magic {magic:08x}), whose records were never described");
                    return Some(Err(Refusal::Foreign(what)));
                }
                _ => {}
            }
        }
        None
    }

    fn header(head: &[u8], magic: u32, big: bool, size: usize, complete: bool) -> Result<(Pcap, usize), Refusal> {
        let Some(Ok(mut header)) = head.get(..FILE_HEADER).filter(|_| head.len() >= size).map(<[u8; FILE_HEADER]>::try_from) else {
            return Err(Refusal::Header(format!("cut short: only {} of the {size} bytes of the pcap header are there", head.len())));
        };
        // But for its magic the header is an ordinary one.
        header[..4].copy_from_slice(&if big { MICROS.to_be_bytes() } else { MICROS.to_le_bytes() });
        PcapParser::new(&header).map_err(|error| Refusal::Header(format!("unusable pcap header: {error}")))?;
        let version = (u16_at(&header, 4, big), u16_at(&header, 6, big));
        let lengths = match version {
            (2, 0..=2) | (DG_UX, _) => Lengths::WireFirst,
            (2, 3) => Lengths::Either,
            (2, _) => Lengths::CapturedFirst,
            (major, minor) => return Err(Refusal::Header(format!("pcap version {major}.{minor} is not known; expected 2.4"))),
        };
        let mut nanos_per_tick = if matches!(magic, NANOS | NETSNIFF | IXIA_HARD) { 1 } else { 1_000 };
        // The upper half of the field says how long the frame check sequence is, which no protocol below needs.
        let mut link = LinkType(u32_at(&header, 20, big) as u16);
        // AIX writes version 2.2, nanoseconds, and the interface types of RFC 1573.
        if (magic, version) == (MICROS, (2, 2))
            && let Some(of_aix) = aix_link(link)
        {
            (link, nanos_per_tick) = (of_aix, 1);
        }
        let snaplen = u32_at(&header, 16, big);
        let usual = Pcap { link, snaplen, nanos_per_tick, big, extra: 0, lengths };
        let extras: &[usize] = match magic {
            MICROS if version.1 == 4 => &[0, 8, 4],
            PATCHED => &[8, 12],
            NETSNIFF => &[8],
            _ => &[0],
        };
        Ok((usual.with_fitting(extras, &head[size..], complete), size))
    }

    /// Chooses how long the record headers are: the first length that makes sense of all that can be seen, else the first.
    ///
    /// Patches of 1999 and Nokia's libpcap wrote longer headers behind the usual magic, so that nothing else tells them apart.
    fn with_fitting(mut self, extras: &[usize], records: &[u8], complete: bool) -> Pcap {
        for &extra in extras {
            self.extra = extra;
            if self.makes_sense(records, complete) {
                return self;
            }
        }
        self.extra = extras.first().copied().unwrap_or_default();
        self
    }

    /// Whether the first records can have headers of this length. The usual length is believed unless something contradicts it; another
    /// one has to fit to the end of the file, or for several records in a row.
    fn makes_sense(&self, records: &[u8], complete: bool) -> bool {
        let header = RECORD_HEADER + self.extra;
        let (mut used, mut seen) = (0, 0);
        while seen < TRIED {
            let rest = records.get(used..).unwrap_or_default();
            if rest.len() < header {
                break;
            }
            let (captured, wire) = self.captured_and_wire(rest);
            let fraction = u64::from(u32_at(rest, 4, self.big)) * self.nanos_per_tick;
            let near = u32_at(rest, 0, self.big).abs_diff(u32_at(records, 0, self.big)) < NEAR_SECONDS;
            if captured > PACKET_USUAL || captured > wire || fraction >= 1_000_000_000 || self.extra > 0 && !near {
                return false;
            }
            used += header + captured as usize;
            seen += 1;
        }
        self.extra == 0 || seen >= ENOUGH || complete && used == records.len()
    }

    /// Finds the records in a block. Returns how many bytes they take and why it ended there.
    pub(super) fn parse(&self, block: &[u8], sink: &mut Sink<'_>) -> (usize, Stop) {
        let mut used = 0;
        if self.extra > 0 || self.lengths != Lengths::CapturedFirst {
            while let Some(size) = self.unusual_record(block, used, sink) {
                used += size;
            }
        } else if self.big {
            used = self.usual_records::<true>(block, sink);
        } else {
            used = self.usual_records::<false>(block, sink);
        }
        (used, self.why(&block[used..]))
    }

    /// The records of a block as libpcap writes them.
    fn usual_records<const BIG: bool>(&self, block: &[u8], sink: &mut Sink<'_>) -> usize {
        let mut rest = block;
        while let Some((header, data)) = rest.split_first_chunk::<RECORD_HEADER>() {
            let captured = field::<BIG>(header, 8);
            let Some(after) = data.get(captured as usize..).filter(|_| !self.absurd(captured)) else { break };
            let at = self.instant(field::<BIG>(header, 0), field::<BIG>(header, 4));
            sink.push(at, block.len() - data.len(), captured, field::<BIG>(header, 12), self.link);
            rest = after;
        }
        block.len() - rest.len()
    }

    /// A record that pcap-file does not know.
    fn unusual_record(&self, block: &[u8], start: usize, sink: &mut Sink<'_>) -> Option<usize> {
        let header = block.get(start..start + RECORD_HEADER + self.extra)?;
        let (captured, wire) = self.captured_and_wire(header);
        let size = header.len() + captured as usize;
        if self.absurd(captured) || block.len() < start + size {
            return None;
        }
        let at = self.instant(u32_at(header, 0, self.big), u32_at(header, 4, self.big));
        sink.push(at, start + header.len(), captured, wire, self.link);
        Some(size)
    }

    /// The two lengths of a record header.
    fn captured_and_wire(&self, header: &[u8]) -> (u32, u32) {
        let (first, second) = (u32_at(header, 8, self.big), u32_at(header, 12, self.big));
        match self.lengths {
            Lengths::WireFirst => (second, first),
            Lengths::Either if first > second => (second, first),
            Lengths::CapturedFirst | Lengths::Either => (first, second),
        }
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
        let header = RECORD_HEADER + self.extra;
        if rest.len() < header {
            return Stop::Need { need: header, part: "in a record header" };
        }
        let (captured, _) = self.captured_and_wire(rest);
        if self.absurd(captured) {
            let limit = self.snaplen.clamp(PACKET_USUAL, PACKET_MAX);
            return Stop::Damaged(format!("a record header claims {captured} captured bytes; at most {limit} are believed in this file"));
        }
        Stop::Need { need: header + captured as usize, part: "in the data of a packet" }
    }
}

/// A field of a record header.
#[inline(always)]
fn field<const BIG: bool>(header: &[u8; RECORD_HEADER], at: usize) -> u32 {
    let raw = [header[at], header[at + 1], header[at + 2], header[at + 3]];
    if BIG { u32::from_be_bytes(raw) } else { u32::from_le_bytes(raw) }
}

/// The link type for an interface type of RFC 1573, of those that AIX captures on.
const fn aix_link(kind: LinkType) -> Option<LinkType> {
    match kind.0 {
        6 => Some(LinkType::ETHERNET),
        // Token Ring and FDDI, which are not decoded.
        9 => Some(LinkType(6)),
        15 => Some(LinkType(10)),
        24 => Some(LinkType::NULL),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::TimeCounters;
    use crate::capture::record::Head;
    use proptest::prelude::*;
    use std::fs;

    /// All records of a file as it is read here, and as pcap-file has them, up to the first one that is not believed.
    fn held_together(file: &[u8]) -> Result<(), TestCaseError> {
        let Some(Ok((pcap, size))) = Pcap::detect(file, true) else { return Ok(()) };
        if pcap.extra > 0 || pcap.lengths != Lengths::CapturedFirst {
            return Ok(());
        }
        let mut header: [u8; FILE_HEADER] = file[..FILE_HEADER].try_into().expect("as long as a header");
        header[..4].copy_from_slice(&if pcap.big { MICROS.to_be_bytes() } else { MICROS.to_le_bytes() });
        let (_, parser) = PcapParser::new(&header).expect("it was one");
        let block = &file[size..];
        let (mut heads, mut frame, mut times) = (Vec::new(), 0, TimeCounters::default());
        let (used, _) = pcap.parse(block, &mut Sink::new(&mut heads, &mut frame, &mut times, 0));
        let (mut rest, mut its) = (block, Vec::new());
        while let Ok((after, packet)) = parser.next_raw_packet(rest) {
            if pcap.absurd(packet.incl_len) {
                break;
            }
            its.push((
                pcap.instant(packet.ts_sec, packet.ts_frac),
                &block[block.len() - rest.len() + RECORD_HEADER..][..packet.data.len()],
                packet.orig_len.max(packet.incl_len),
            ));
            rest = after;
        }
        let bytes = |head: &Head| &block[head.start as usize..][..head.captured as usize];
        let ours: Vec<_> = heads.iter().map(|head| (head.at, bytes(head), head.wire_len)).collect();
        prop_assert_eq!(ours, its);
        prop_assert_eq!(used, block.len() - rest.len());
        Ok(())
    }

    fn file(big: bool, nanos: bool, records: &[(u32, u32, u8, u32)]) -> Vec<u8> {
        let four = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let two = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let mut out = four(if nanos { NANOS } else { MICROS }).to_vec();
        out.extend([two(2), two(4)].concat());
        out.extend([0, 0, 65_535, 1].map(four).concat());
        for (seconds, ticks, captured, wire) in records {
            out.extend([*seconds, *ticks, u32::from(*captured), *wire].map(four).concat());
            out.extend((0..*captured).map(|at| at.wrapping_mul(31)));
        }
        out
    }

    proptest! {
        #[test]
        fn records_are_those_of_pcap_file(
            big in any::<bool>(), nanos in any::<bool>(), records in prop::collection::vec(any::<(u32, u32, u8, u32)>(), 0..12),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in any::<prop::sample::Index>(),
        ) {
            let whole = file(big, nanos, &records);
            held_together(&whole)?;
            let mut changed = whole;
            for (at, byte) in changes {
                *at.get_mut(&mut changed) = byte;
            }
            held_together(&changed)?;
            held_together(&changed[..cut.index(changed.len())])?;
        }
    }

    #[test]
    fn records_of_every_fixture_are_those_of_pcap_file() {
        let fixtures = fs::read_dir("fixtures/captures").expect("they are there").map(|entry| entry.expect("readable").path());
        for path in fixtures.filter(|path| path.is_file()) {
            held_together(&fs::read(&path).expect("readable")).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
