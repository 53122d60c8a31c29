//! Shuffling unrelated flows changes nothing for a flow.
//!
//! Others may be there or not, among its packets in any order, and under any addresses. Only where a table is full do flows meet, and that is
//! `capacity`'s business.

use crate::capture::{Ends, Packet, SECOND, START, Setup};
use crate::{PATHS, dialogue, in_order, nameless, population};
use flowlapse::finding::Finding;
use proptest::prelude::*;
use proptest::sample::select;

/// The packets with one more in each octet of the clients' addresses: 10.0.x.y becomes 10.77.x.y.
fn renamed(packets: &[Packet]) -> Vec<Packet> {
    let mut packets = packets.to_vec();
    for packet in &mut packets {
        for place in [13, 17] {
            packet.bytes[place] = if packet.bytes[place] == 0 { 77 } else { packet.bytes[place] };
        }
    }
    packets
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn neighbours_change_nothing(
        dialogue in dialogue(),
        one in population(),
        other in population(),
        path in select(&PATHS[..]),
        delay in 0..1_000_000_u64,
        client in any::<u16>(),
    ) {
        let mine = Ends { start: START + 500 * SECOND, ..Ends::number(200) };
        let last = Ends { start: START + 100_000 * SECOND, ..Ends::number(201) };
        let among = |others: &[Packet], mine: Ends| {
            let mut packets = others.to_vec();
            packets.extend(mine.talk(&dialogue, 0));
            packets.extend(last.talk("cS", 0));
            let findings = Setup::boxes(path).judge(&in_order(packets));
            let me = |f: &&Finding| f.client.port == mine.client.port() || f.server.port == mine.client.port();
            let mut all: Vec<String> = findings.iter().filter(me).map(nameless).collect();
            all.sort();
            all
        };
        let later: Vec<Packet> = one.iter().map(|packet| Packet { at: packet.at + delay, ..packet.clone() }).collect();
        let alone = among(&[], mine);
        prop_assert_eq!(&alone, &among(&one, mine));
        prop_assert_eq!(&alone, &among(&other, mine));
        prop_assert_eq!(&alone, &among(&later, mine), "the others {} ns later", delay);
        prop_assert_eq!(&alone, &among(&renamed(&one), mine), "the others renamed");
        // Its own name does not matter either; the port decides who is the client where nobody saw the beginning.
        let [high, low] = client.to_be_bytes();
        let moved = Ends { client: ([10, 9, high, low], mine.client.port()).into(), ..mine };
        prop_assert_eq!(&alone, &among(&one, moved), "the flow renamed");
    }
}
