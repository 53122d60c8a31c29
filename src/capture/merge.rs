//! Several files in one order: by the time of each file's next record, ties by file.
//!
//! Nothing here knows formats. The records of one file stay in their order even where its clock jumps back.
use super::file::File;
use super::record::{Batch, Head};
use crate::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub(super) struct Merge {
    files: Vec<File>,
    batches: Vec<Cursor>,
    /// The next record of each file that has one: the earliest on top, the lower file index where times are equal.
    queue: BinaryHeap<Reverse<(Instant, usize)>>,
    block: usize,
}

#[derive(Default)]
struct Cursor {
    batch: Batch,
    next: usize,
}

impl Merge {
    pub(super) fn new(files: impl Iterator<Item = File>, block: usize) -> Merge {
        let files: Vec<File> = files.collect();
        let batches = files.iter().map(|_| Cursor::default()).collect();
        let mut merge = Merge { queue: BinaryHeap::with_capacity(files.len()), files, batches, block };
        for index in 0..merge.files.len() {
            merge.queue_next(index);
        }
        merge
    }

    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    pub(super) fn next_batch(&mut self, batch: &mut Batch) -> bool {
        batch.heads.clear();
        batch.bytes.clear();
        while !self.is_full(batch) {
            let Some(Reverse((_, index))) = self.queue.pop() else { break };
            // As long as this file stays ahead of the others, the queue is not touched.
            loop {
                self.take(index, batch);
                let stays = match (self.peek(index), self.queue.peek()) {
                    (Some(head), Some(Reverse(other))) => (head.at, index) < *other,
                    (Some(_), None) => true,
                    (None, _) => false,
                };
                if !stays || self.is_full(batch) {
                    break;
                }
            }
            self.queue_next(index);
        }
        !batch.heads.is_empty()
    }

    /// Both are limited, for packets may be empty.
    fn is_full(&self, batch: &Batch) -> bool {
        batch.bytes.len() >= self.block || batch.heads.len() >= self.block / 32
    }

    /// Copies the next record of a file to the end of `batch`.
    fn take(&mut self, index: usize, batch: &mut Batch) {
        let cursor = &mut self.batches[index];
        let Some((head, record)) = cursor.batch.heads.get(cursor.next).zip(cursor.batch.get(cursor.next)) else { return };
        let start = batch.bytes.len() as u32;
        batch.bytes.extend_from_slice(record.bytes);
        batch.heads.push(Head { start, ..*head });
        cursor.next += 1;
    }

    fn peek(&self, index: usize) -> Option<&Head> {
        let cursor = &self.batches[index];
        cursor.batch.heads.get(cursor.next)
    }

    /// Puts the next record of a file into the queue, reading on where its block is used up.
    fn queue_next(&mut self, index: usize) {
        let cursor = &mut self.batches[index];
        if cursor.next >= cursor.batch.len() {
            cursor.next = 0;
            if !self.files[index].next_batch(&mut cursor.batch) {
                // An exhausted file gives its memory back.
                cursor.batch = Batch::new();
                return;
            }
        }
        if let Some(head) = self.peek(index) {
            self.queue.push(Reverse((head.at, index)));
        }
    }
}
