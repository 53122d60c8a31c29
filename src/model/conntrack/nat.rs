//! NAT on top of conntrack: masquerade, SNAT, DNAT, null bindings, and the search for a free port.
//!
//! Source: `nf_nat_inet_fn`, `get_unique_tuple`, `nf_nat_l4proto_unique_tuple` (`net/netfilter/nf_nat_core.c`),
//! `nf_nat_masquerade.c`; the spec's conntrack.md section 4.3. It knows no filter rules and no routes.

use super::entry::status;
use super::router::Place;
use super::table::Table;
use super::track::{Attached, Conntrack};
use crate::model::{CtState, End, Host, Moment, Tuple};

/// The NAT rule of a box.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nat {
    /// No NAT at all: the table is not even loaded.
    None,
    /// `MASQUERADE` or `SNAT` on the server's side: the source becomes the box's far address.
    Masquerade,
    /// `DNAT` of the service address to the real server.
    Dnat,
}

/// The addresses that a packet of direction `dir` is to have once both manipulations are done.
fn translated(table: &Table, attached: Attached) -> Tuple {
    let entry = table.get(attached.slot);
    if attached.dir == 0 { entry.reply.inverse() } else { entry.original.inverse() }
}

/// Destination NAT at PREROUTING (and OUTPUT): makes the decision for a new entry, then applies it.
pub(super) fn prerouting(nat: Nat, place: &Place, table: &mut Table, attached: Attached, tuple: Tuple) -> Tuple {
    if nat == Nat::None {
        return tuple;
    }
    let entry = table.get_mut(attached.slot);
    if attached.state == CtState::New && !entry.is(status::DST_NAT_DONE) {
        if nat == Nat::Dnat && attached.dir == 0 && tuple.dst.host == place.service {
            // Without a port range the port stays, free or not (nothing else could be tried).
            entry.reply.src.host = place.real;
        }
        entry.status |= status::DST_NAT_DONE;
    }
    Tuple { dst: translated(table, attached).dst, ..tuple }
}

/// Source NAT at POSTROUTING (and INPUT): makes the decision for a new entry, then applies it. `masquerades` says whether the
/// packet leaves through the interface that the rule names. Returns the tuple and whether a port was drawn at random.
pub(super) fn postrouting(
    ct: &Conntrack,
    nat: Nat,
    masquerades: Option<Host>,
    table: &mut Table,
    attached: Attached,
    tuple: Tuple,
    moment: &mut Moment,
) -> (Tuple, bool) {
    if nat == Nat::None {
        return (tuple, false);
    }
    let mut drew = false;
    if attached.state == CtState::New && !table.get(attached.slot).is(status::SRC_NAT_DONE) {
        let wanted = table.get(attached.slot).reply.inverse();
        let host = masquerades.unwrap_or(wanted.src.host);
        let (chosen, random) = unique_source(ct, table, attached, wanted, host, moment);
        drew = random;
        let entry = table.get_mut(attached.slot);
        entry.reply = chosen.inverse();
        entry.status |= status::SRC_NAT_DONE;
    }
    (Tuple { src: translated(table, attached).src, ..tuple }, drew)
}

/// Finds a source for the tuple whose inverse no entry has: the wanted one, one that another connection of the same
/// socket already has, the same port, or a port drawn from the range that the original port lies in.
fn unique_source(ct: &Conntrack, table: &Table, attached: Attached, wanted: Tuple, host: Host, moment: &mut Moment) -> (Tuple, bool) {
    let mut is_free = |tuple: Tuple| !table.taken(tuple.inverse(), attached.slot, moment, ct.lateness);
    let port = wanted.src.port;
    if wanted.src.host == host && is_free(wanted) {
        return (wanted, false);
    }
    let own = table.get(attached.slot).original.src;
    let shared = table
        .iter()
        .filter(|e| e.is(status::CONFIRMED | status::SRC_NAT_DONE) && e.original.src == own && e.reply.dst.host == host)
        .map(|e| Tuple { src: e.reply.dst, ..wanted })
        .find(|t| is_free(*t));
    if let Some(tuple) = shared {
        return (tuple, false);
    }
    let same_port = Tuple { src: End { host, port }, ..wanted };
    if is_free(same_port) {
        return (same_port, false);
    }
    let (low, high): (u16, u16) = match port {
        0..=511 => (1, 511),
        512..=1023 => (600, 1023),
        _ => (1024, 65_535),
    };
    let width = u32::from(high - low) + 1;
    // Which port the kernel draws cannot be known; the caller may name it, else a fixed walk stands for it.
    let start =
        moment.port.filter(|p| (low..=high).contains(p)).unwrap_or_else(|| low + (u32::from(port).wrapping_mul(40_503) % width) as u16);
    for step in 0..width {
        let candidate = low + ((u32::from(start - low) + step) % width) as u16;
        let tuple = Tuple { src: End { host, port: candidate }, ..wanted };
        let mut free = |tuple: Tuple| !table.taken(tuple.inverse(), attached.slot, moment, ct.lateness);
        if free(tuple) {
            return (tuple, true);
        }
    }
    // Nothing is free: the clash is found when the entry is confirmed.
    (same_port, false)
}
