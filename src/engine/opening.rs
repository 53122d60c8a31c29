//! The usual first packet: a SYN from the client that every box makes an entry for and lets through.
//!
//! The same models make the entries, without the tables in which a packet is looked up that cannot be there. Where anything is unusual
//! nothing has happened, and [`Replay::lead`](super::replay::Replay::lead) does what it does for every packet; the two come to the same
//! (`tests/many/rest.rs`). What a box does is never changed here but in its model.

use super::hop::Device;
use super::quick::Question;
use super::rest::{Form, Layout, Shelf};
use super::words::{BITS, FORWARD, HOPS, ODD, ROUTER, conn_bits, pack_idle, store_track};
use crate::model::conntrack::router::{Nat, Router};
use crate::model::director::Director;
use crate::model::ipvs::Method;
use crate::model::{Host, Side};
use crate::net::{Direction, Proto, TcpFlags};
use crate::time::Duration;

impl Layout {
    /// Leads a SYN through the path if no box knows anything of its flow.
    #[inline]
    pub(super) fn opens<R>(&self, shelf: &mut Shelf<R>, at: usize, Question { replay, told, .. }: &Question<'_, ()>) -> bool {
        let (seg, words) = (told.seg, shelf.words_mut(at));
        let opens = self.opens && told.flow.proto() == Proto::Tcp && seg.dir == Direction::Original;
        let syn = seg.flags.has(TcpFlags::SYN) && !seg.flags.any(TcpFlags::ACK | TcpFlags::RST | TcpFlags::FIN);
        if !opens || !syn || words[2] != 0 || words[1] as u32 & ODD != 0 {
            return false;
        }
        let now = replay.judged_at(seg.at);
        let mut small = 0;
        for (hop, place) in self.places.iter().enumerate().take(HOPS) {
            let bits = match (&place.kind, &replay.path.hops[hop].device) {
                (Form::Router { .. }, Device::Router(router)) => {
                    let Some(words) = words[place.at..].first_chunk_mut::<ROUTER>() else { return false };
                    let Some((track, status, rule)) = router.opens(seg) else { return false };
                    FORWARD | store_track(words, &track, status, rule)
                }
                (Form::Director { .. }, Device::Director(director)) => {
                    let Some((state, flags)) = director.opens(seg) else { return false };
                    conn_bits(state, flags)
                }
                (Form::Idle { ends }, Device::Idle(idle)) => {
                    let Some(entry) = idle.opens(seg, now) else { return false };
                    if idle.timer(idle.deadline(&entry).1).timeout == Duration::MAX {
                        return false;
                    }
                    pack_idle(&mut words[place.at..], &entry, *ends).0
                }
                _ => return false,
            };
            small |= bits << (BITS * hop as u32);
            if let Some(own) = place.own {
                (words[own], words[own + 1]) = (now.0, u64::from(seg.frame));
            }
        }
        words[0] = now.0;
        words[1] |= u64::from(seg.frame) << 32;
        words[2] = small;
        true
    }
}

/// Whether a SYN to this address passes a router, with the addresses that the path expects.
pub(super) fn passes_router(router: &Router, service: Host) -> bool {
    let towards = match router.nat {
        Nat::Dnat if service != router.place.service => return false,
        Nat::Dnat => router.place.real,
        Nat::None | Nat::Masquerade => service,
    };
    !router.place.is_local(towards) && router.place.side_of(towards) == Side::Server
}

/// The same for a director.
pub(super) fn passes_director(director: &Director, service: Host) -> bool {
    let place = &director.place;
    service == place.service && (director.ipvs.method != Method::Masq || place.side_of(place.real) == Side::Server)
}
