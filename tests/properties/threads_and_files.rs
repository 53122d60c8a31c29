//! The same capture gives the same result for any number of threads and any split into files.
//!
//! For threads that is every byte of the JSON document, the lines and the text. Of split files the numbers of frames and the names of
//! inputs differ, for frames count from 1 in each file; the rest is the same, whatever the order of the files on the command line.

use crate::capture::{Packet, Setup, pcap};
use crate::{PATHS, population};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

/// The document without what names frames and inputs.
fn without_places(bytes: &[u8]) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| !key.ends_with("_frame") && !matches!(key.as_str(), "inputs" | "input" | "victim_input"));
                map.values_mut().for_each(strip);
            }
            Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::from_slice(bytes).expect("the report is JSON");
    strip(&mut value);
    value
}

/// Cuts packets into files, only where time goes on: packets of one instant have no order beyond that of their files.
fn split(packets: &[Packet], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(packets.len())).collect();
    at.retain(|cut| *cut > 0 && packets[cut - 1].at < packets[*cut].at);
    at.extend([0, packets.len()]);
    at.sort_unstable();
    at.dedup();
    at.windows(2).map(|range| pcap(&packets[range[0]..range[1]])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn threads_change_nothing(packets in population(), path in select(&PATHS[..])) {
        let file = [pcap(&packets)];
        let with = |threads| {
            let setup = Setup { threads, ..Setup::boxes(path) };
            (setup.json(&file), setup.ndjson(&file), setup.text(&file))
        };
        let one = with(1);
        prop_assert_eq!(&one, &with(2));
        prop_assert_eq!(&one, &with(7));
    }

    #[test]
    fn files_change_nothing_but_places(
        packets in population(),
        path in select(&PATHS[..]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..5),
        order in any::<prop::sample::Index>(),
    ) {
        let setup = Setup::boxes(path);
        let mut parts = split(&packets, &cuts);
        let whole = without_places(&setup.json(&[pcap(&packets)]));
        prop_assert_eq!(&whole, &without_places(&setup.json(&parts)));
        let turn = order.index(parts.len());
        parts.rotate_left(turn);
        parts.reverse();
        prop_assert_eq!(&whole, &without_places(&setup.json(&parts)), "the files in another order");
    }
}
