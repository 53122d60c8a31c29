//! Archives of captures: segments, and what became of flows, as columns that any engine can carry about, so that a cluster judges what
//! one machine would judge, and says the same.
//!
//! A capture is decoded where it lies (`decode`) into rows (`rows`) that are spread by a hash of the flow (`hash`), packed (`slice`); its
//! `ledger` says what else is known of it. Whoever has all rows of some flows judges them, and writes a `part`; all parts together are
//! the one answer. Nothing here schedules anything. Behind the feature `columnar`.

pub mod decode;
pub mod hash;
pub mod intake;
pub mod ledger;
pub mod merge;
pub mod part;
pub mod rows;
pub mod slice;
pub mod state;
pub mod store;

/// Who wrote a file, as its metadata says.
pub const CREATED_BY: &str = concat!("flowlapse version ", env!("CARGO_PKG_VERSION"));
