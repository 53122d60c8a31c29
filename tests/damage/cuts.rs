//! Every fixture cut at every byte, and with bytes of its headers changed.

use crate::capture_files::{drain, open_bytes, read};
use crate::{answer, answer_with, filtered, fixtures, forms, path, undamaged};
use flowlapse::capture::LinkType;
use serde_json::Value;

/// The records of a file cut after `end` bytes, and what is said of the cut.
fn cut(whole: &[u8], end: usize) -> Option<(usize, Option<flowlapse::capture::Damage>)> {
    let capture = open_bytes(&[whole[..end].to_vec()], 4_096).ok()?;
    let (seen, mut damages) = drain(capture);
    assert!(damages.len() <= 1, "one damage a file at most");
    Some((seen.len(), damages.pop()))
}

/// Goes through the cuts of one file: records are those before the cut, the damage is where it is.
fn every_cut(name: &str, whole: &[u8], compressed: bool) {
    let (all, _) = read(&[whole.to_vec()]);
    let mut last = 0;
    for end in 0..whole.len() {
        let Some((seen, damage)) = cut(whole, end) else {
            assert!(last == 0 && (compressed || end < 28 + 100), "{name}, {end} bytes: refused");
            continue;
        };
        assert!(seen >= last && seen <= all.len(), "{name}, {end} bytes: {seen} records after {last}");
        last = seen;
        match damage {
            Some(damage) => {
                assert_eq!(damage.after_frame as usize, seen, "{name}, {end} bytes");
                let words = if compressed { "stream is cut short" } else { "cut short in" };
                assert!(damage.what.contains(words), "{name}, {end} bytes: {damage}");
                assert!(compressed || damage.offset <= end as u64, "{name}, {end} bytes: {damage}");
            }
            // Nothing is missing: the cut fell between two records.
            None => assert!(!compressed, "{name}, {end} bytes: a cut stream is told"),
        }
    }
}

/// The places of a classic file between two records, of which the first is the end of the file header.
fn joints(plain: &[u8]) -> Vec<usize> {
    let mut places = vec![24];
    for record in read(&[plain.to_vec()]).0 {
        places.push(places[places.len() - 1] + 16 + record.bytes.len());
    }
    assert_eq!(places.last(), Some(&plain.len()));
    places
}

/// The whole answer for a file cut at `end` is that of the same file cut cleanly before.
fn answers_as_cut_cleanly(name: &str, plain: &[u8], joints: &[usize], end: usize, clean: &mut Option<(usize, Value)>) {
    let place = joints.iter().rposition(|joint| *joint <= end).expect("behind the header");
    if clean.as_ref().is_none_or(|(at, _)| *at != place) {
        *clean = Some((place, undamaged(answer(&[&plain[..joints[place]]]).expect("a capture"))));
    }
    let told = answer(&[&plain[..end]]).expect("a capture");
    assert_eq!(told["complete"], Value::Bool(joints[place] == end), "{name}, {end} bytes");
    if joints[place] < end {
        let damage = &told["damage"][0];
        assert_eq!((&damage["after_frame"], &damage["offset"]), (&Value::from(place), &Value::from(joints[place])), "{name}, {end} bytes");
    }
    assert_eq!(Some((place, undamaged(told))), *clean, "{name}, {end} bytes");
}

#[test]
fn every_fixture_cut_at_every_byte_gives_the_records_before() {
    for (name, plain) in fixtures() {
        every_cut(&name, &plain, false);
    }
}

#[test]
fn in_every_form_too() {
    let (name, plain) = fixtures().into_iter().min_by_key(|(_, bytes)| bytes.len()).expect("a fixture");
    for (form, bytes, compressed) in forms(&plain) {
        every_cut(&format!("{name}, {form}"), &bytes, compressed);
    }
}

#[test]
fn the_answer_is_that_of_a_file_cut_cleanly() {
    for (number, (name, plain)) in fixtures().into_iter().enumerate() {
        let joints = joints(&plain);
        let mut clean = None;
        // Around every joint, and at every byte of the first records of some.
        let near = joints.iter().flat_map(|joint| [*joint, joint + 1, joint + 15, joint + 16, joint + 40]);
        let mut ends: Vec<usize> = if number % 7 == 0 { near.chain(24..24 + 200).collect() } else { near.step_by(3).collect() };
        ends.retain(|end| *end <= plain.len());
        ends.sort_unstable();
        ends.dedup();
        for end in ends {
            answers_as_cut_cleanly(&name, &plain, &joints, end, &mut clean);
        }
    }
}

#[test]
fn every_form_says_the_same() {
    for (name, plain) in fixtures() {
        let expected = answer(&[&plain]).expect("a fixture");
        for (form, bytes, _) in forms(&plain) {
            assert_eq!(answer(&[&bytes]).expect("a capture"), expected, "{name}, {form}");
        }
        adds_up_with_a_filter(&plain);
    }
}

fn adds_up_with_a_filter(plain: &[u8]) {
    let told = answer_with(&[plain], &path(), &filtered("tcp port 80 and src port 80")).expect("a fixture");
    assert!(told["packets"]["filtered"].as_u64() > Some(0), "{}", told["packets"]);
}

/// The bytes of a classic file that are changed: its header, and those of the first record and a middle one with what is in them.
fn places(plain: &[u8]) -> Vec<(usize, usize)> {
    let joints = joints(plain);
    let records = joints.len() - 1;
    let headers = |record: usize| (joints[record]..(joints[record] + 16 + 54).min(joints[record + 1])).map(move |place| (place, record));
    (0..24).map(|place| (place, 0)).chain(headers(0)).chain(headers(records / 2)).collect()
}

/// Changes one byte, and looks at what comes of it. Gives whether it was a capture still.
fn changed(name: &str, plain: &[u8], (place, record): (usize, usize), value: u8) {
    let mut bytes = plain.to_vec();
    bytes[place] = value;
    let Ok(told) = answer(&[&bytes]) else {
        assert!(place < 24, "{name}: byte {place} = {value:#x} is refused");
        return;
    };
    if place < 24 {
        return;
    }
    // What stands before is as it was.
    let (before, _) = read(&[plain.to_vec()]);
    let (seen, _) = read(&[bytes]);
    assert!(seen.len() >= record && seen[..record] == before[..record], "{name}: byte {place} = {value:#x}");
    assert!(told["packets"]["records"].as_u64() >= Some(record as u64));
}

#[test]
fn any_byte_of_a_header_may_be_anything() {
    let mut draw = 7_u32;
    for (number, (name, plain)) in fixtures().into_iter().enumerate() {
        for (at, place) in places(&plain).into_iter().enumerate() {
            draw = draw.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let old = plain[place.0];
            let values = [0, 0xff, old ^ 1, old ^ 0x80, (draw >> 24) as u8];
            // Each place gets its values from one file or the other; the sweep below tries all of them.
            if at % 4 == number % 4 {
                changed(&name, &plain, place, values[(at / 4 + number) % values.len()]);
            }
        }
    }
}

#[test]
fn a_link_type_that_is_not_known_is_counted_by_its_number() {
    let (_, plain) = fixtures().remove(0);
    for number in [147_u16, 276, 300, 12_345] {
        let mut bytes = plain.clone();
        bytes[20..22].copy_from_slice(&number.to_le_bytes());
        let (seen, _) = read(&[bytes.clone()]);
        assert!(seen.iter().all(|record| record.link == LinkType(number)));
        let told = answer(&[&bytes]).expect("a capture");
        if number != 276 {
            assert_eq!(told["packets"]["not_followed"]["unsupported link type"], told["packets"]["records"], "{number}");
        }
    }
}

/// Everything everywhere: minutes.
#[test]
#[ignore = "minutes; .ci/run has a bound for it"]
fn sweep() {
    let mut draw = 1_u32;
    for (name, plain) in fixtures() {
        for (form, bytes, compressed) in forms(&plain) {
            every_cut(&format!("{name}, {form}"), &bytes, compressed);
            for place in 0..bytes.len() {
                draw = draw.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                for value in [0, 0xff, bytes[place] ^ 1 << (draw >> 29), (draw >> 16) as u8] {
                    let mut bytes = bytes.clone();
                    bytes[place] = value;
                    if let Ok(capture) = open_bytes(&[bytes], 4_096) {
                        drain(capture);
                    }
                }
            }
        }
        let joints = joints(&plain);
        let mut clean = None;
        for end in 24..=plain.len() {
            answers_as_cut_cleanly(&name, &plain, &joints, end, &mut clean);
        }
        for place in places(&plain) {
            draw = draw.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let old = plain[place.0];
            for value in [0, 0xff, old ^ 1, old ^ 0x80, (draw >> 24) as u8] {
                changed(&name, &plain, place, value);
            }
        }
    }
}

/// Bytes changed, taken out, put in and copied over each other at random; of the fixtures, or of the captures in the folder that
/// `FLOWLAPSE_CAPTURES` names.
#[test]
#[ignore = "a minute; .ci/run has a bound for it"]
fn anything_done_to_a_capture_is_borne() {
    let files = std::env::var_os("FLOWLAPSE_CAPTURES").map_or_else(
        || fixtures().into_iter().map(|(_, bytes)| bytes).collect(),
        |folder| {
            let mut paths: Vec<_> = std::fs::read_dir(folder).expect("a folder").filter_map(|entry| Some(entry.ok()?.path())).collect();
            paths.sort();
            paths.iter().filter_map(|path| std::fs::read(path).ok()).collect::<Vec<_>>()
        },
    );
    let mut state = 88_172_645_463_325_252_u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below.max(1)
    };
    let (mut answers, mut refused) = (0_u32, 0_u32);
    for whole in files {
        for _ in 0..200 {
            // Large ones by their beginning.
            let mut bytes = whole[..whole.len().min(30_000)].to_vec();
            for _ in 0..=draw(6) {
                let near = if draw(3) == 0 { bytes.len().min(300) } else { bytes.len() };
                let place = draw(near);
                let length = draw(64).min(bytes.len() - place);
                match draw(6) {
                    0 => bytes[place..place + length].fill([0, 0xff][draw(2)]),
                    1 => drop(bytes.drain(place..place + length)),
                    2 => bytes.splice(place..place, (0..length).map(|at| (at * 37) as u8)).for_each(drop),
                    3 => {
                        let to = draw(bytes.len() - length);
                        bytes.copy_within(place..place + length, to);
                    }
                    4 => bytes[place] ^= 1 << draw(8),
                    _ => bytes[place] = draw(256) as u8,
                }
                if bytes.is_empty() {
                    break;
                }
            }
            let start = std::time::Instant::now();
            match answer(&[&bytes]) {
                Ok(_) => answers += 1,
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.to_string().lines().count(), 1, "{error}");
                }
            }
            assert!(start.elapsed().as_secs() < 20, "it took {:?}", start.elapsed());
        }
    }
    assert!(answers > refused, "{answers} answers, {refused} refused");
}
