//! Models never read sequence numbers they should not.
//!
//! IPVS is blind to sequence numbers, acknowledgements and windows: with others it does the same. So is an idle box, but for two questions: whether a
//! FIN was acknowledged, and, where data alone renews it, which data is new. Conntrack reads them to compare: once both sides were heard since the
//! last SYN, it does the same with all numbers of a side moved by the same amount. With `be_liberal` it forwards what it forwards whatever the numbers are,
//! but for SYN and RST.

use crate::capture::{Ends, Setup};
use crate::lifetimes::{Any, START, packets};
use crate::traffic::path;
use crate::{dialogue, essence};
use flowlapse::engine::{Clock, Path};
use flowlapse::model::{Lapse, Moment, Side};
use flowlapse::net::{Proto, TcpFlags};
use flowlapse::time::Duration;
use proptest::prelude::*;
use proptest::sample::select;

/// What a box did with each packet, but for the numbers in resets of its own.
type Deed = (bool, Option<String>, Option<Lapse>, bool, usize);

fn deeds(path: &Path, packets: &[Any]) -> Vec<Deed> {
    let hop = &path.hops[0];
    let (mut state, mut now) = (hop.empty(), START);
    let mut deeds = Vec::new();
    for any in packets {
        now += any.gap;
        if any.from == Side::Server && !hop.sees_replies() {
            continue;
        }
        let segment = any.segment(now);
        let outcome = hop.packet(&mut state, any.packet(path, &segment, Proto::Tcp), &mut Moment::exact(now));
        let sent = outcome.sent.iter().flatten().count();
        deeds.push((outcome.forwarded().is_some(), outcome.dropped.map(|why| format!("{why:?}")), outcome.lapse, outcome.created, sent));
    }
    deeds
}

/// A session that was opened properly, so that there is an entry that numbers could contradict.
fn opening() -> Vec<Any> {
    let words = [(Side::Client, 0x02, 999, 0), (Side::Server, 0x12, 999, 1_000), (Side::Client, 0x10, 1_000, 1_000)];
    words.map(|(from, flags, seq, ack)| Any { gap: Duration(1_000), from, flags, seq, ack, len: 0, window: 8_000 }).to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ipvs_and_idle_boxes_are_blind(
        packets in packets(),
        boxes in select(vec![
            "ipvs:nat", "ipvs:dr,sloppy_tcp=1", "ipvs:tunnel", "ipvs:nat,secure_tcp=3", "ipvs:nat,dialect=linux-2.4,secure_tcp=3",
            "idle:established=300,on_stray=drop", "idle:established=60,on_stray=repickup", "aws-nlb",
        ]),
        numbers in prop::collection::vec(any::<(u32, u32, u16)>(), 30),
    ) {
        let path = path(boxes, Clock::Ideal);
        let fins = !boxes.starts_with("ipvs");
        let packets: Vec<Any> = packets.into_iter().filter(|any| !fins || any.flags & TcpFlags::FIN == 0).collect();
        let others: Vec<Any> =
            packets.iter().zip(numbers).map(|(any, (seq, ack, window))| Any { seq, ack, window, ..any.clone() }).collect();
        prop_assert_eq!(deeds(&path, &packets), deeds(&path, &others), "{}", boxes);
    }

    #[test]
    fn conntrack_reads_numbers_only_to_compare_them(
        packets in packets(),
        boxes in select(vec![
            "conntrack:strict", "conntrack:drop-invalid,loose=0", "conntrack:masquerade", "conntrack:dialect=linux-2.6.32",
            "conntrack:be_liberal=1,dialect=linux-4.4", "conntrack:strict,dialect=linux-2.4",
        ]),
        by in any::<[u32; 2]>(),
    ) {
        let path = path(boxes, Clock::Ideal);
        // A SYN makes the tracker forget what it knew of the other side.
        let all: Vec<Any> = opening().into_iter().chain(packets.into_iter().filter(|any| any.flags & TcpFlags::SYN == 0)).collect();
        let moved: Vec<Any> = all
            .iter()
            .map(|any| {
                let [mine, peers] = if any.from == Side::Client { by } else { [by[1], by[0]] };
                let ack = if any.flags & TcpFlags::ACK == 0 { any.ack } else { any.ack.wrapping_add(peers) };
                Any { seq: any.seq.wrapping_add(mine), ack, ..any.clone() }
            })
            .collect();
        prop_assert_eq!(deeds(&path, &all), deeds(&path, &moved), "{}", boxes);
    }

    #[test]
    fn a_liberal_conntrack_forwards_whatever_the_numbers_are(packets in packets(), numbers in prop::collection::vec(any::<(u32, u32, u16)>(), 30)) {
        let path = path("conntrack:drop-invalid,be_liberal=1", Clock::Ideal);
        let plain = |any: &Any| any.flags & (TcpFlags::SYN | TcpFlags::RST) == 0;
        let mut all = opening();
        all.extend(packets.iter().filter(|any| plain(any)).map(|any| Any { gap: any.gap.min(Duration::from_secs(5)), ..any.clone() }));
        let others: Vec<Any> =
            all.iter().zip(numbers).enumerate().map(|(place, (any, (seq, ack, window)))| if place < 3 { any.clone() } else { Any { seq, ack, window, ..any.clone() } }).collect();
        let fates = |packets: &[Any]| deeds(&path, packets).into_iter().map(|(forwarded, dropped, ..)| (forwarded, dropped)).collect::<Vec<_>>();
        prop_assert_eq!(fates(&all[..others.len()]), fates(&others));
    }

    #[test]
    fn sequence_numbers_are_relative(
        dialogue in dialogue(),
        path in select(vec!["ipvs", "ipvs:dr", "ipvs:sloppy_tcp=1", "idle:established=400", "aws-alb"]),
        shift in any::<[u32; 2]>(),
    ) {
        let ends = Ends::number(1);
        let moved = Ends { isn: [ends.isn[0].wrapping_add(shift[0]), ends.isn[1].wrapping_add(shift[1])], ..ends };
        let setup = Setup::boxes(path);
        prop_assert_eq!(essence(&setup.talk(ends, &dialogue, 0)), essence(&setup.talk(moved, &dialogue, 0)));
    }
}
