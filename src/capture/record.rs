//! One packet as it stands in a capture, and blocks of them.
//!
//! Nothing here knows file formats or protocols.
use super::LinkType;
use crate::time::Instant;

/// One packet record. The bytes belong to the [`Batch`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// When it was captured.
    pub at: Instant,
    /// The captured bytes.
    pub bytes: &'a [u8],
    /// Its length on the wire; not less than the captured bytes.
    pub wire_len: u32,
    /// Its number in its file as Wireshark counts, from 1.
    pub frame: u32,
    /// What its first byte means.
    pub link: LinkType,
    /// The index of its file, from 0.
    pub file: u16,
}

/// Everything about a record but its bytes, which stand at `start` in the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) at: Instant,
    pub(super) start: u32,
    pub(super) captured: u32,
    pub(super) wire_len: u32,
    pub(super) frame: u32,
    pub(super) link: LinkType,
    pub(super) file: u16,
}

const _: () = assert!(size_of::<Head>() == 32);

/// A block of records with their bytes, meant to be used again and again.
#[derive(Default)]
pub struct Batch {
    /// The block as it was read; only its beginning may be in use.
    pub(super) bytes: Vec<u8>,
    pub(super) heads: Vec<Head>,
}

impl Batch {
    /// An empty batch. It gets its memory when it is filled.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The record at `index`, from 0.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        self.heads.get(index).map(|head| self.record(head))
    }

    /// All records in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> + Clone {
        self.heads.iter().map(|head| self.record(head))
    }

    #[inline]
    fn record(&self, head: &Head) -> Record<'_> {
        let start = head.start as usize;
        // The readers place every head inside the block, so the slice is never missing.
        let bytes = self.bytes.get(start..start + head.captured as usize).unwrap_or_default();
        Record { at: head.at, bytes, wire_len: head.wire_len, frame: head.frame, link: head.link, file: head.file }
    }
}
