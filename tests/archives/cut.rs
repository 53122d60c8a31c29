//! Captures cut into many: at random, in another order, with clocks that go back.

use flowlapse::rng::Rng;
use std::fs;
use std::path::{Path, PathBuf};

/// The records of a classic pcap file of this machine's byte order, with their headers; and the file's own header.
pub(crate) fn records(bytes: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (head, mut rest) = bytes.split_at(24);
    let mut records = Vec::new();
    while let Some(header) = rest.get(..16) {
        let captured = u32::from_le_bytes(header[8..12].try_into().expect("four bytes")) as usize;
        records.push(rest[..16 + captured].to_vec());
        rest = &rest[16 + captured..];
    }
    (head.to_vec(), records)
}

/// The time of a record in nanoseconds, of a file that counts `unit` a second.
fn time(record: &[u8], unit: u64) -> u64 {
    let word = |at: usize| u64::from(u32::from_le_bytes(record[at..at + 4].try_into().expect("four bytes")));
    word(0) * 1_000_000_000 + word(4) * (1_000_000_000 / unit)
}

fn set_time(record: &mut [u8], unit: u64, nanos: u64) {
    record[..4].copy_from_slice(&((nanos / 1_000_000_000) as u32).to_le_bytes());
    record[4..8].copy_from_slice(&((nanos % 1_000_000_000 / (1_000_000_000 / unit)) as u32).to_le_bytes());
}

/// What is done to a capture.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// Into how many files.
    pub(crate) files: usize,
    /// How many capture points saw it: each packet is in the files of one of them.
    pub(crate) points: usize,
    /// How many files have their clock set back in their middle.
    pub(crate) steps: usize,
    pub(crate) seed: u64,
}

/// Cuts a capture into files in a folder, and gives their names in another order.
pub(crate) fn cut(capture: &[u8], into: &Path, how: How) -> Vec<PathBuf> {
    let (head, records) = records(capture);
    let unit = if head[..4] == [0x4d, 0x3c, 0xb2, 0xa1] { 1_000_000_000 } else { 1_000_000 };
    let mut rng = Rng::new(how.seed);
    let mut points: Vec<Vec<Vec<u8>>> = vec![Vec::new(); how.points];
    for record in records {
        points[rng.below(how.points as u64) as usize].push(record);
    }
    let mut names = Vec::new();
    for (point, records) in points.iter().enumerate() {
        let mut places: Vec<usize> = (1..how.files / how.points).map(|_| rng.below(records.len() as u64) as usize).collect();
        places.extend([0, records.len()]);
        places.sort_unstable();
        for (number, place) in places.windows(2).enumerate() {
            let mut bytes = head.clone();
            let mut records = records[place[0]..place[1]].to_vec();
            if names.len() < how.steps && records.len() > 8 {
                let (from, until) = (records.len() / 3, records.len() * 2 / 3);
                for record in &mut records[from..until] {
                    let back = time(record, unit).saturating_sub(30_000_000_000);
                    set_time(record, unit, back);
                }
            }
            for record in &records {
                bytes.extend_from_slice(record);
            }
            let name = into.join(format!("point{point}-{number:04}.pcap"));
            fs::write(&name, bytes).expect("it can be written");
            names.push(name);
        }
    }
    for at in (1..names.len()).rev() {
        names.swap(at, rng.below(at as u64 + 1) as usize);
    }
    names
}
