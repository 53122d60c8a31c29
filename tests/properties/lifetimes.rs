//! An entry never outlives its timer plus the wheel's bound.
//!
//! Random packets go straight into the models: a packet that comes later than that after the last renewal finds the entry ended, and one that
//! comes before the timer's end finds it alive. The bound is that of `kernel/wheel.rs`: one granule of the level that the timer sits in. Conntrack
//! since 4.9 and idle boxes have no such timers, and no bound.

use crate::traffic::path;
use flowlapse::engine::{Clock, Path};
use flowlapse::kernel::wheel::{Hz, Phase, lateness_max};
use flowlapse::model::lateness::Lateness;
use flowlapse::model::{Moment, Packet, Side};
use flowlapse::net::{Direction, Proto, Segment, Seq, TcpFlags};
use flowlapse::time::{Duration, Instant};
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) const PORTS: [u16; 2] = [40_000, 443];
pub(crate) const START: Instant = Instant(1_700_000_000_000_000_000);

/// A packet of which nothing but its side and its flags need make sense.
#[derive(Clone, Debug)]
pub(crate) struct Any {
    pub(crate) gap: Duration,
    pub(crate) from: Side,
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) len: u32,
    pub(crate) window: u16,
}

pub(crate) fn packets() -> impl Strategy<Value = Vec<Any>> {
    let flags = select(vec![0x02_u8, 0x12, 0x10, 0x18, 0x18, 0x10, 0x11, 0x04, 0x14]);
    let gap = prop_oneof![
        (0..2_000_000_000_u64),
        select(vec![1_u64, 10, 30, 60, 120, 300, 900, 7_200]).prop_map(|s| s * 1_000_000_000),
        (0..2_000_000_000_000_u64),
    ];
    // Mostly numbers that follow each other, so that trackers believe them.
    let number = prop_oneof![4 => 1_000..1_020_u32, 1 => any::<u32>()];
    let one = (gap, any::<bool>(), flags, number.clone(), number, 0..20_u32, any::<u16>()).prop_map(
        |(gap, client, flags, seq, ack, len, window)| Any {
            gap: Duration(gap),
            from: if client { Side::Client } else { Side::Server },
            flags,
            seq,
            ack: if flags & 0x10 == 0 { 0 } else { ack },
            len: if flags & 0x08 == 0 { 0 } else { len },
            window,
        },
    );
    prop::collection::vec(one, 1..30)
}

impl Any {
    pub(crate) fn segment(&self, at: Instant) -> Segment {
        let dir = if self.from == Side::Client { Direction::Original } else { Direction::Reply };
        let (seq, ack) = (Seq(self.seq), Seq(self.ack));
        Segment { at, seq, ack, sack: ack, len: self.len, window: self.window, flags: TcpFlags(self.flags), dir, ..Segment::EMPTY }
    }

    /// The packet as it comes to the only box of a path.
    pub(crate) fn packet<'s>(&self, path: &Path, seg: &'s Segment, proto: Proto) -> Packet<'s> {
        let tuple = match self.from {
            Side::Client => Path::from_client(PORTS[0], PORTS[1]),
            Side::Server => path.from_server(PORTS[0], PORTS[1]),
        };
        Packet { from: self.from, tuple, proto, seg }
    }
}

const BOXES: [&str; 9] = [
    "conntrack:strict",
    "conntrack:established=900,dialect=linux-4.8",
    "conntrack:masquerade,dialect=linux-4.8",
    "conntrack:dialect=linux-4.4",
    "ipvs:nat,tcp=900,tcpfin=120",
    "ipvs:dr,sloppy_tcp=1",
    "ipvs:nat,conntrack=1,secure_tcp=3",
    "ipvs:nat,dialect=linux-2.4,secure_tcp=3",
    "idle:established=300,on_stray=repickup",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_entry_outlives_its_timer(
        packets in packets(),
        boxes in select(&BOXES[..]),
        hz in select(vec![100_u32, 250, 1000]),
        jiffies in any::<u32>(),
        udp in any::<bool>(),
        aims in prop::collection::vec(prop::option::of((0..3_u64, -2_000_000_000..2_000_000_000_i64)), 30),
    ) {
        let phase = Phase { hz: Hz(hz), jiffies: u64::from(jiffies) + (1 << 40), at: START };
        let path = path(boxes, Clock::Wheel { hz: Hz(hz), phase: Some(phase) });
        let hop = &path.hops[0];
        let proto = if udp { Proto::Udp } else { Proto::Tcp };
        let (mut state, mut now) = (hop.empty(), START);
        for (any, aim) in packets.iter().zip(aims) {
            // Half of the packets come about when the timer ends, or the bound, or as much again later.
            let aimed = hop.running(&state, Path::from_client(PORTS[0], PORTS[1])).zip(aim).map(|(timer, (bounds, off))| {
                let end = timer.refreshed + timer.timeout + lateness_max(timer.timeout, Hz(hz)).saturating_mul(bounds);
                Instant(end.0.saturating_add_signed(off))
            });
            now = aimed.filter(|at| *at >= now).unwrap_or(now + any.gap);
            if any.from == Side::Server && !hop.sees_replies() {
                continue;
            }
            // The box lives by its ticks.
            let tick = phase.instant_of(phase.tick_at(now));
            let segment = any.segment(tick);
            let packet = any.packet(&path, &segment, proto);
            let running = hop.running(&state, packet.tuple);
            let outcome = hop.packet(&mut state, packet, &mut Moment::exact(tick));
            let Some(timer) = running else { continue };
            let bound = if hop.lateness() == Lateness::Exact { Duration::ZERO } else { lateness_max(timer.timeout, Hz(hz)) };
            let age = tick.since(timer.refreshed);
            if age >= timer.timeout + bound {
                prop_assert!(outcome.lapse.is_some(), "{} at HZ={}: {:?} lives on after {}", boxes, hz, timer, age);
            }
            if age < timer.timeout {
                prop_assert!(outcome.lapse.is_none(), "{} at HZ={}: {:?} ended after {}", boxes, hz, timer, age);
            }
        }
    }
}
