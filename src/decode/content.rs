//! What a segment carries, of which the models know only the length: its payload, and the time stamp among its options.
//!
//! For those few who look at a packet twice. The transport header is found again in the record by the numbers that the decoder read
//! from it, so that no layer in between needs to be gone through once more.

use super::transport::be32;
use super::{Decoded, be16};
use crate::capture::Record;
use crate::net::Proto;

/// How far into a record its innermost transport header can begin: eight headers within each other need less.
const HEADERS_MAX: usize = 512;

/// The captured part of what a segment carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content<'r> {
    /// The payload, as far as it was captured.
    pub payload: &'r [u8],
    /// The time stamp of the sender (TSval), where the options have one.
    pub stamp: Option<u32>,
}

/// Finds the content of a decoded record again; nothing for a datagram that came in fragments.
pub fn content<'r>(record: &Record<'r>, packet: &Decoded) -> Option<Content<'r>> {
    let bytes = record.bytes;
    let last = bytes.len().min(HEADERS_MAX);
    let seg = &packet.segment;
    let mut wanted = [0; 12];
    wanted[..2].copy_from_slice(&packet.src.port.to_be_bytes());
    wanted[2..4].copy_from_slice(&packet.dst.port.to_be_bytes());
    match packet.proto {
        Proto::Tcp => {
            wanted[4..8].copy_from_slice(&seg.seq.0.to_be_bytes());
            wanted[8..].copy_from_slice(&seg.ack.0.to_be_bytes());
            let at = bytes[..last].windows(12).position(|window| window == wanted)?;
            let header = bytes.get(at..)?;
            let size = usize::from(header.get(12)? >> 4) * 4;
            let options = header.get(20..size.min(header.len())).unwrap_or_default();
            Some(Content { payload: within(header.get(size..), seg.len), stamp: stamp(options) })
        }
        Proto::Udp => {
            let length = u16::try_from(seg.len + 8).ok()?;
            wanted[4..6].copy_from_slice(&length.to_be_bytes());
            let at = bytes[..last].windows(6).position(|window| window == &wanted[..6])?;
            Some(Content { payload: within(bytes.get(at + 8..), seg.len), stamp: None })
        }
    }
}

/// What was captured of a payload, without the padding behind it.
fn within(rest: Option<&[u8]>, len: u32) -> &[u8] {
    let rest = rest.unwrap_or_default();
    &rest[..rest.len().min(len as usize)]
}

/// TSval of a TCP header's options.
fn stamp(options: &[u8]) -> Option<u32> {
    let mut rest = options;
    while let [kind, after @ ..] = rest {
        match kind {
            0 => return None,
            1 => rest = after,
            _ => {
                let size = after.first().map(|&size| usize::from(size)).filter(|size| *size >= 2)?;
                let value = rest.get(2..size)?;
                if *kind == 8 && value.len() == 8 {
                    return Some(be32(value, 0));
                }
                rest = &rest[size..];
            }
        }
    }
    None
}

/// The addresses of an Ethernet frame, destination and source; nothing where the record is none.
pub fn stations(record: &Record<'_>) -> Option<[u64; 2]> {
    (record.link == crate::capture::LinkType::ETHERNET && record.bytes.len() >= 14)
        .then(|| [0, 6].map(|at| u64::from(be16(record.bytes, at)) << 32 | u64::from(be32(record.bytes, at + 2))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_stamp_is_found_among_other_options() {
        let options = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 1, 2, 0, 0, 0, 0, 1, 3, 3, 7];
        assert_eq!(stamp(&options), Some(0x0102));
        assert_eq!(stamp(&[1, 1, 8]), None);
        assert_eq!(stamp(&[5, 0, 8, 10]), None);
    }
}
