//! The pcapng format: sections, interfaces and packet blocks in either byte order.
//!
//! Nothing here knows where the bytes come from. The blocks are framed and read here rather than by pcap-file: its
//! `next_block` costs four times as much, and both of its readers give up a file whose interface has a time resolution
//! finer than a nanosecond or a name that is not UTF-8, although every packet in it is fine.
use super::LinkType;
use super::file::{PACKET_MAX, Refusal, Sink, Stop, u16_at, u32_at};
use crate::time::Instant;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const JOURNAL_EXPORT: u32 = 9;
const CUSTOM: u32 = 0xbad;
const CUSTOM_NOT_TO_COPY: u32 = 0x4000_0bad;
/// Type, length, and the length again at the end.
const FRAMING: usize = 12;
/// The longest block that is believed, as in Wireshark.
const BLOCK_MAX: u32 = PACKET_MAX;
/// The most interfaces of a section that are believed: 64 MiB of them.
const INTERFACES_MAX: usize = 1 << 20;

#[derive(Default)]
pub(super) struct PcapNg {
    big: bool,
    interfaces: Vec<Interface>,
    /// The time of the last packet that had one, for those that have none.
    last: Instant,
}

#[derive(Clone, Copy)]
struct Interface {
    link: LinkType,
    snaplen: u32,
    ticks: Ticks,
    offset_seconds: i64,
}

/// What one unit of a time stamp is.
#[derive(Clone, Copy)]
enum Ticks {
    /// So many nanoseconds.
    Nanos(u64),
    /// So many to a nanosecond.
    PerNano(u128),
    /// Two to this power to a second.
    Binary(u32),
}

impl PcapNg {
    /// Looks at the first section header, if the file begins like one. `complete` says that `head` is the whole file.
    pub(super) fn detect(head: &[u8], complete: bool) -> Option<Result<PcapNg, Refusal>> {
        if u32_at(head, 0, true) != SECTION_HEADER {
            return None;
        }
        let cut = |whole: usize| {
            Refusal::Header(format!("cut short: only {} of the {whole} bytes of the pcapng section header are there", head.len()))
        };
        if head.len() < 28 {
            return Some(Err(cut(28)));
        }
        let mut pcapng = PcapNg::default();
        if let Err(what) = pcapng.section(&head[8..]) {
            return Some(Err(Refusal::Header(what)));
        }
        let length = u32_at(head, 4, pcapng.big) as usize;
        Some(if complete && head.len() < length && length <= BLOCK_MAX as usize { Err(cut(length)) } else { Ok(pcapng) })
    }

    /// Finds the packets in a block of bytes. Returns how many bytes were used up and why it ended there.
    pub(super) fn parse(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> (usize, Stop) {
        let mut used = 0;
        loop {
            match self.block(bytes, used, sink) {
                Ok(size) => used += size,
                Err(stop) => return (used, stop),
            }
        }
    }

    /// Reads the block at `start` and returns its size.
    #[inline]
    fn block(&mut self, bytes: &[u8], start: usize, sink: &mut Sink<'_>) -> Result<usize, Stop> {
        let Some(rest) = bytes.get(start..).filter(|rest| rest.len() >= FRAMING) else {
            return Err(Stop::Need { need: FRAMING, part: "in a block header" });
        };
        // The type of a section header reads the same both ways; its body says which way the rest is to be read.
        let kind = u32_at(rest, 0, self.big);
        let big = if kind == SECTION_HEADER { byte_order(&rest[8..]).map_err(Stop::Damaged)? } else { self.big };
        let length = u32_at(rest, 4, big);
        if (length as usize) < FRAMING || length > BLOCK_MAX {
            return Err(Stop::Damaged(format!("a block of type {kind:#x} claims a length of {length} bytes")));
        }
        // Wireshark reads on at the next multiple of four, too.
        let size = (length as usize).next_multiple_of(4);
        let Some(block) = rest.get(..size) else {
            return Err(Stop::Need { need: size, part: "in a block" });
        };
        let trailer = u32_at(block, size - 4, big);
        if trailer != length {
            return Err(Stop::Damaged(format!("a block of type {kind:#x} claims {length} bytes at its start and {trailer} at its end")));
        }
        let body = &block[8..size - 4];
        match kind {
            ENHANCED_PACKET => self.enhanced(body, start + 8, sink),
            OBSOLETE_PACKET => self.obsolete(body, start + 8, sink),
            SIMPLE_PACKET => self.simple(body, start + 8, sink),
            INTERFACE_DESCRIPTION => self.interface(body),
            SECTION_HEADER => self.section(body),
            // Wireshark gives journal entries and custom blocks frame numbers, so they must count here, too.
            JOURNAL_EXPORT | CUSTOM | CUSTOM_NOT_TO_COPY => {
                let link = if kind == JOURNAL_EXPORT { LinkType::JOURNAL } else { LinkType::CUSTOM };
                sink.push(self.last, start + 8, body.len() as u32, body.len() as u32, link);
                Ok(())
            }
            _ => Ok(()),
        }
        .map_err(Stop::Damaged)?;
        Ok(size)
    }

    fn section(&mut self, body: &[u8]) -> Result<(), String> {
        self.big = byte_order(body)?;
        self.interfaces.clear();
        match u16_at(body, 4, self.big) {
            1 => Ok(()),
            major => Err(format!("pcapng version {major} is not known; expected 1")),
        }
    }

    fn interface(&mut self, body: &[u8]) -> Result<(), String> {
        if body.len() < 8 {
            return Err("an interface description is too short".to_owned());
        }
        if self.interfaces.len() >= INTERFACES_MAX {
            return Err(format!("a section describes more than {INTERFACES_MAX} interfaces"));
        }
        let mut interface = Interface {
            link: LinkType(u16_at(body, 0, self.big)),
            snaplen: u32_at(body, 4, self.big),
            ticks: Ticks::Nanos(1_000),
            offset_seconds: 0,
        };
        let mut options = &body[8..];
        while options.len() >= 4 {
            let (code, length) = (u16_at(options, 0, self.big), u16_at(options, 2, self.big) as usize);
            let Some(value) = options.get(4..4 + length) else { break };
            match (code, value) {
                (0, _) => break,
                (9, &[resolution]) => interface.ticks = Ticks::from_option(resolution),
                (14, &[..]) if length == 8 => {
                    let halves = [u32_at(value, 0, self.big), u32_at(value, 4, self.big)];
                    let (high, low) = if self.big { (halves[0], halves[1]) } else { (halves[1], halves[0]) };
                    interface.offset_seconds = (u64::from(high) << 32 | u64::from(low)) as i64;
                }
                _ => {}
            }
            options = options.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Ok(())
    }

    fn enhanced(&mut self, body: &[u8], start: usize, sink: &mut Sink<'_>) -> Result<(), String> {
        if body.len() < 20 {
            return Err("a packet block is too short".to_owned());
        }
        self.packet(u32_at(body, 0, self.big), body, start, sink)
    }

    fn obsolete(&mut self, body: &[u8], start: usize, sink: &mut Sink<'_>) -> Result<(), String> {
        if body.len() < 20 {
            return Err("a packet block is too short".to_owned());
        }
        self.packet(u32::from(u16_at(body, 0, self.big)), body, start, sink)
    }

    /// The obsolete block differs from the enhanced one only in the width of the interface number.
    #[inline]
    fn packet(&mut self, interface: u32, body: &[u8], start: usize, sink: &mut Sink<'_>) -> Result<(), String> {
        let about = *self.known(interface)?;
        let ticks = u64::from(u32_at(body, 4, self.big)) << 32 | u64::from(u32_at(body, 8, self.big));
        let captured = u32_at(body, 12, self.big);
        if captured as usize > body.len() - 20 {
            return Err(format!("a packet claims {captured} captured bytes in a block that has room for {}", body.len() - 20));
        }
        let (at, saturated) = about.instant(ticks);
        sink.times.saturated += u64::from(saturated);
        self.last = at;
        sink.push(at, start + 20, captured, u32_at(body, 16, self.big), about.link);
        Ok(())
    }

    fn simple(&mut self, body: &[u8], start: usize, sink: &mut Sink<'_>) -> Result<(), String> {
        let about = *self.known(0)?;
        if body.len() < 4 {
            return Err("a simple packet block is too short".to_owned());
        }
        let wire_len = u32_at(body, 0, self.big);
        let snaplen = if about.snaplen == 0 { u32::MAX } else { about.snaplen };
        let captured = wire_len.min(snaplen).min(body.len() as u32 - 4);
        sink.times.absent += 1;
        sink.push(self.last, start + 4, captured, wire_len, about.link);
        Ok(())
    }

    #[inline]
    fn known(&self, interface: u32) -> Result<&Interface, String> {
        self.interfaces
            .get(interface as usize)
            .ok_or_else(|| format!("a packet names interface {interface}, but only {} were described before it", self.interfaces.len()))
    }
}

/// Whether the section that begins with this body is big-endian.
fn byte_order(body: &[u8]) -> Result<bool, String> {
    match u32_at(body, 0, true) {
        0x1a2b_3c4d => Ok(true),
        0x4d3c_2b1a => Ok(false),
        other => Err(format!("a section header has the byte-order mark {other:08x}; expected 1a2b3c4d either way round")),
    }
}

impl Ticks {
    /// Reads `if_tsresol`: a power of ten, or of two where the highest bit is set.
    fn from_option(resolution: u8) -> Ticks {
        let power = u32::from(resolution & 0x7f);
        if resolution & 0x80 != 0 {
            Ticks::Binary(power)
        } else if power <= 9 {
            Ticks::Nanos(10_u64.pow(9 - power))
        } else {
            // A tick finer than 10⁻⁴⁷ s makes every 64-bit time stamp zero nanoseconds.
            Ticks::PerNano(10_u128.checked_pow(power - 9).unwrap_or(u128::MAX))
        }
    }
}

impl Interface {
    /// The time that a time stamp stands for, and whether it had to be moved into the range of 64 bits.
    #[inline]
    fn instant(&self, ticks: u64) -> (Instant, bool) {
        if let (Ticks::Nanos(scale), 0) = (self.ticks, self.offset_seconds)
            && let Some(nanos) = ticks.checked_mul(scale)
        {
            return (Instant(nanos), false);
        }
        let nanos = match self.ticks {
            Ticks::Nanos(scale) => u128::from(ticks) * u128::from(scale),
            Ticks::PerNano(scale) => u128::from(ticks) / scale,
            Ticks::Binary(power) => (u128::from(ticks) * 1_000_000_000) >> power,
        };
        // At most 2⁹⁴ and 2⁹³ in size: no overflow.
        let total = nanos as i128 + i128::from(self.offset_seconds) * 1_000_000_000;
        let clamped = total.clamp(0, i128::from(u64::MAX));
        (Instant(clamped as u64), clamped != total)
    }
}
