//! How large the boxes' tables are: what was said, else what the kernel would choose for the memory that it finds.
//!
//! Source: `nf_conntrack_init_start` and its predecessors, `struct nf_conn`, `struct ip_vs_conn`; the spec's conntrack.md sections 5.5
//! and 5.6, ipvs.md section 10. Bytes are computed from the structures, on x86-64, and not measured. It knows no flows.

use crate::engine::hop::{Device, Hop};
use crate::model::conntrack::dialect::{Dialect, EarlyDrop, Gc};
use crate::model::ipvs::defence::DefenceSettings;
use crate::model::ipvs::dialect as vs_dialect;
use crate::policy::{BoxPolicy, IpvsPolicy};
use crate::time::Duration;

/// What somebody said about all tables.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Said {
    /// `nf_conntrack_max`.
    pub max: Option<u64>,
    /// `nf_conntrack_buckets`.
    pub buckets: Option<u64>,
    /// Bytes that are free while the table is empty.
    pub memory: Option<u64>,
}

/// Where a number comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// An option of the command.
    Option,
    /// The box's policy.
    Policy,
    /// The kernel's choice for the memory that was given.
    Memory,
    /// The kernel's choice for a machine of more than 4 GiB.
    Large,
}

impl Source {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Source::Option => "as given",
            Source::Policy => "from the box",
            Source::Memory => "the kernel's choice for this memory",
            Source::Large => "the kernel's choice above 4 GiB",
        }
    }
}

/// A conntrack table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CtSize {
    /// `nf_conntrack_max` and where it comes from; without it nothing limits the table.
    pub max: Option<(u64, Source)>,
    /// `nf_conntrack_buckets`.
    pub buckets: (u64, Source),
    /// Bytes of an entry.
    pub entry_bytes: u64,
    /// How long an entry that has ended may stay in the table until it is collected.
    pub lag: Duration,
    /// The fewest entries in one chain at which a new one may be refused.
    pub chain_least: Option<u64>,
}

/// A director's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VsSize {
    /// Its defences, as they are set.
    pub defences: DefenceSettings,
    /// Pages that are free while the table is empty.
    pub pages: Option<u64>,
    /// Bytes of an entry.
    pub entry_bytes: u64,
    /// Whether nobody computed that for this release and it is that of another.
    pub bytes_guessed: bool,
}

/// The table of a box.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// Conntrack's.
    Conntrack(CtSize),
    /// A director's.
    Director(VsSize),
    /// Of an idle box nobody knows the table.
    Unknown,
}

const PAGE: u64 = 4096;
const GIB: u64 = 1 << 30;

impl Size {
    /// The table of a box.
    pub fn of(hop: &Hop, said: Said) -> Size {
        match (&hop.device, &hop.policy) {
            (Device::Router(router), BoxPolicy::Conntrack(policy)) => {
                let dialect = router.conntrack.settings.dialect;
                let own = said.memory.map(|bytes| default_size(dialect, bytes));
                let max = said.max.map(|max| (max, Source::Option));
                let max = max.or(policy.nf_conntrack_max.map(|max| (max, Source::Policy))).or(own.map(|(_, max)| (max, Source::Memory)));
                let buckets = said.buckets.map(|n| (n, Source::Option)).or(policy.buckets.map(|n| (n, Source::Policy)));
                let buckets = buckets.or(own.map(|(buckets, _)| (buckets, Source::Memory)));
                let (buckets, source) = buckets.unwrap_or((default_size(dialect, 8 * GIB).0, Source::Large));
                let max = max.filter(|(max, _)| *max > 0 || dialect.max_at_least_one).map(|(max, source)| (max.max(1), source));
                Size::Conntrack(CtSize {
                    max,
                    buckets: (buckets.clamp(1, u64::from(u32::MAX) - 1), source),
                    entry_bytes: hop.entry_bytes().unwrap_or(0),
                    lag: collection_lag(dialect),
                    chain_least: dialect.chain_limit.map(|(least, _)| u64::from(least)),
                })
            }
            (Device::Director(director), BoxPolicy::Ipvs(policy)) => {
                let bytes = u64::from(director.ipvs.dialect.entry_bytes);
                Size::Director(VsSize {
                    defences: DefenceSettings { lateness: director.lateness(), ..defences(policy, director.ipvs.dialect) },
                    pages: said.memory.map(|bytes| bytes / PAGE),
                    entry_bytes: hop.entry_bytes().unwrap_or(0),
                    bytes_guessed: bytes == 0,
                })
            }
            _ => Size::Unknown,
        }
    }

    /// The same without defences.
    #[must_use]
    pub const fn undefended(self) -> Size {
        match self {
            Size::Director(size) => Size::Director(VsSize {
                defences: DefenceSettings { drop_entry: 0, drop_packet: 0, secure_tcp: 0, ..size.defences },
                ..size
            }),
            other => other,
        }
    }

    /// Bytes that so many entries take, with the heads of the chains.
    pub fn bytes(&self, entries: u64) -> u64 {
        match self {
            Size::Conntrack(size) => entries * size.entry_bytes + size.buckets.0 * 8,
            Size::Director(size) => entries * size.entry_bytes + (1 << size.defences.tab_bits) * 8,
            Size::Unknown => 0,
        }
    }
}

/// The defences that a policy sets.
fn defences(policy: &IpvsPolicy, dialect: &vs_dialect::Dialect) -> DefenceSettings {
    let defaults = DefenceSettings::defaults(dialect);
    DefenceSettings {
        drop_entry: policy.drop_entry.unwrap_or(0),
        drop_packet: policy.drop_packet.unwrap_or(0),
        secure_tcp: policy.secure_tcp.unwrap_or(0),
        amemthresh: policy.amemthresh.unwrap_or(defaults.amemthresh),
        am_droprate: policy.am_droprate.unwrap_or(defaults.am_droprate),
        ..defaults
    }
}

/// Buckets and `nf_conntrack_max` that a kernel chooses for so much memory, on 64 bits.
pub fn default_size(dialect: &Dialect, memory: u64) -> (u64, u64) {
    let by_memory = |link: u64| memory / 16_384 / link;
    if dialect.chain_limit.is_some() {
        // 5.15 and later.
        let buckets = match memory {
            m if m > 4 * GIB => 262_144,
            m if m > GIB => 65_536,
            _ => by_memory(8).max(1024),
        };
        return (buckets, buckets);
    }
    let pages = |buckets: u64| buckets.next_multiple_of(512);
    match dialect.early_drop {
        EarlyDrop::V2_6 => {
            let buckets = if memory > GIB { 8192 } else { by_memory(16).max(16) };
            (buckets, buckets * 8)
        }
        EarlyDrop::V2_6_24 => {
            let buckets = pages(if memory > GIB { 16_384 } else { by_memory(8).max(32) });
            (buckets, buckets * 4)
        }
        _ => {
            let buckets = match memory {
                m if m > 4 * GIB => 65_536,
                m if m > GIB => 16_384,
                _ => by_memory(8).max(32),
            };
            (pages(buckets), pages(buckets) * 4)
        }
    }
}

/// How long an entry that has ended stays in the table at most, apart from the pauses after many.
fn collection_lag(dialect: &Dialect) -> Duration {
    Duration::from_secs(match dialect.gc {
        Gc::None => 0,
        // 64 runs of 2 s.
        Gc::V4_9 => 128,
        Gc::V4_10 => 17,
        Gc::V5_15 => 121,
        Gc::V5_18 | Gc::V6_1 => 61,
    })
}
