//! IP fragments: a bounded table that knows when a datagram is whole, and how long it is.
//!
//! Nothing here knows what a datagram carries. Only its beginning is kept, for only headers are read.
use super::{Cut, Net};
use crate::net::Addr;
use crate::time::{Duration, Instant};
use hashbrown::HashMap;
use std::collections::VecDeque;

/// Datagrams that can be incomplete at the same time; the oldest gives way. About 4 MiB at most.
const DATAGRAMS_MAX: usize = 4096;
/// How much of the first fragment is kept: room for a tunnel's headers and a whole TCP header.
const HEAD_MAX: usize = 512;
/// Separate stretches of one datagram. A datagram of 64 KiB over a link of 1280 bytes has 53 fragments in all.
const STRETCHES_MAX: usize = 128;
/// How long Linux waits for the rest of a datagram (`net.ipv4.ipfrag_time`). After that the identification is free again.
const WAIT: Duration = Duration::from_secs(30);

/// Where a fragment belongs.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) id: u32,
    pub(super) offset: u32,
    pub(super) more: bool,
}

/// A datagram of which every byte has been on the wire.
pub(super) struct Whole {
    pub(super) net: Net,
    /// The captured beginning of its payload.
    pub(super) head: Vec<u8>,
    pub(super) len: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    src: Addr,
    dst: Addr,
    id: u32,
    protocol: u8,
}

struct Datagram {
    serial: u64,
    started: Instant,
    records: u64,
    /// The header and the captured bytes of the fragment at offset 0.
    first: Option<(Net, Vec<u8>)>,
    total: Option<u32>,
    /// The stretches that were there, in order and apart from each other.
    stretches: Vec<(u32, u32)>,
}

/// The datagrams that are not complete.
#[derive(Default)]
pub(super) struct Fragments {
    table: HashMap<Key, Datagram, foldhash::fast::FixedState>,
    /// Keys by age. A key whose serial is not the one in the table is left over from a datagram that is gone.
    order: VecDeque<(Key, u64)>,
    serial: u64,
    given_up: u64,
}

impl Fragments {
    /// How many fragments belong to datagrams that are not complete, now or when they were given up.
    pub(super) fn incomplete(&self) -> u64 {
        self.given_up + self.table.values().map(|datagram| datagram.records).sum::<u64>()
    }

    /// Takes note of a fragment. Gives the datagram back where this fragment completes it.
    pub(super) fn add(&mut self, protocol: u8, net: Net, piece: Piece, cut: Cut<'_>, at: Instant) -> Option<Whole> {
        let key = Key { src: net.src, dst: net.dst, id: piece.id, protocol };
        if self.table.get(&key).is_some_and(|old| at.since(old.started) > WAIT) {
            self.give_up(&key);
        }
        if !self.table.contains_key(&key) {
            self.make_room();
            self.serial += 1;
            let new = Datagram { serial: self.serial, started: at, records: 0, first: None, total: None, stretches: Vec::new() };
            self.table.insert(key, new);
            self.order.push_back((key, self.serial));
        }
        let datagram = self.table.get_mut(&key)?;
        datagram.records += 1;
        let end = piece.offset.saturating_add(cut.len as u32);
        if piece.offset == 0 && datagram.first.is_none() {
            datagram.first = Some((net, cut.bytes[..cut.bytes.len().min(HEAD_MAX)].to_vec()));
        }
        if !piece.more {
            datagram.total = Some(datagram.total.unwrap_or(0).max(end));
        }
        datagram.cover(piece.offset, end);
        if datagram.stretches.len() > STRETCHES_MAX {
            self.give_up(&key);
            return None;
        }
        let whole = matches!((&datagram.stretches[..], datagram.total), (&[(0, end)], Some(total)) if end >= total);
        if !whole || datagram.first.is_none() {
            return None;
        }
        let Datagram { first, total, .. } = self.table.remove(&key)?;
        let ((net, head), len) = first.zip(total)?;
        Some(Whole { net, head, len })
    }

    fn make_room(&mut self) {
        // Datagrams that were completed leave their keys behind; they go when they are the oldest.
        while let Some(&(key, serial)) = self.order.front() {
            let live = self.table.get(&key).is_some_and(|datagram| datagram.serial == serial);
            if live && self.table.len() < DATAGRAMS_MAX && self.order.len() < 2 * DATAGRAMS_MAX {
                break;
            }
            if live {
                self.give_up(&key);
            }
            self.order.pop_front();
        }
    }

    fn give_up(&mut self, key: &Key) {
        if let Some(datagram) = self.table.remove(key) {
            self.given_up += datagram.records;
        }
    }
}

impl Datagram {
    /// Adds the stretch from `start` to `end`, joining it with those that it touches.
    fn cover(&mut self, mut start: u32, mut end: u32) {
        self.stretches.retain(|&(from, to)| {
            let apart = to < start || end < from;
            if !apart {
                start = start.min(from);
                end = end.max(to);
            }
            apart
        });
        let place = self.stretches.partition_point(|&(from, _)| from < start);
        self.stretches.insert(place, (start, end));
    }
}
