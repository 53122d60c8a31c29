//! Bytes as a capture file: records in order, and the same ones however they are read.
use flowlapse::capture::{self, Batch, Damage, Input, LinkType, Options};
use flowlapse::time::Instant;
use std::hash::{DefaultHasher, Hasher};

/// What may come out of a compressed input here: little, so that many inputs can be tried.
const LIMITS: Options = Options { expansion_bytes: 1 << 20, expansion_ratio: 50, block_bytes: 128 << 10, opener: None };

/// What is kept of a record: all of it, its bytes as a number.
type Seen = (Instant, usize, u64, u32, u32, LinkType);

/// The records of each input, how many there were in all, and the damage; nothing where it is not opened.
type Read = Result<(Vec<Vec<Seen>>, usize, Vec<Damage>), String>;

fn read(bytes: &[u8], times: usize, block_bytes: usize) -> Read {
    let input = Input::Bytes { name: "input".to_owned(), bytes: bytes.into() };
    let mut capture = capture::open_with(&vec![input; times], &Options { block_bytes, ..LIMITS }).map_err(|error| error.to_string())?;
    let (mut files, mut total, mut batch) = (vec![Vec::new(); times], 0, Batch::new());
    while capture.next_batch(&mut batch) {
        assert!(!batch.is_empty(), "a batch without records is the end");
        for record in batch.iter() {
            let mut sum = DefaultHasher::new();
            sum.write(record.bytes);
            assert!(record.bytes.len() <= record.wire_len as usize, "frame {}: more bytes than were on the wire", record.frame);
            let file: &mut Vec<Seen> = &mut files[usize::from(record.file)];
            file.push((record.at, record.bytes.len(), sum.finish(), record.wire_len, record.frame, record.link));
            assert_eq!(record.frame as usize, file.len(), "frames are numbered without a gap");
            total += 1;
        }
    }
    assert!(batch.is_empty() && !capture.next_batch(&mut batch), "behind the end there is nothing");
    let damages = capture.damages();
    for damage in &damages {
        assert_eq!(damage.after_frame as usize, files[usize::from(damage.file)].len(), "the damage is behind the last record");
    }
    assert!(capture.times().absent + capture.times().saturated <= 2 * total as u64);
    Ok((files, total, damages))
}

pub(crate) fn check(data: &[u8]) {
    let once = read(data, 1, LIMITS.block_bytes);
    assert_eq!(once, read(data, 1, LIMITS.block_bytes), "the same twice");
    for block_bytes in [64, 1 << 10] {
        assert_eq!(once, read(data, 1, block_bytes), "in blocks of {block_bytes}");
    }
    match (once, read(data, 2, LIMITS.block_bytes)) {
        (Ok((files, total, damages)), Ok((twice, both, hurt))) => {
            assert!(both == 2 * total && twice.iter().all(|file| *file == files[0]), "merged with itself");
            assert_eq!(hurt.len(), 2 * damages.len());
        }
        (Err(one), Err(other)) => assert_eq!(one, other),
        (one, other) => panic!("opened once: {}, twice: {}", one.is_ok(), other.is_ok()),
    }
}
