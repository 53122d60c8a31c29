//! What distinguishes one release's IPVS from another's: one struct of flags, one row a release.
//!
//! Source: the spec's ipvs.md section 0 and ipvs-tables.json. Nothing here knows packets.

use super::transitions::{self, Transitions};
use crate::model::conntrack::dialect::release_numbers;

/// When a SYN on an entry whose server has weight 0 is scheduled anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight0 {
    /// Never.
    Never,
    /// With `expire_nodest_conn`.
    IfExpireNodest,
    /// With `expire_nodest_conn`, unless `conn_reuse_mode` is 0.
    IfExpireNodestAndReuse,
}

/// What a SYN does to an entry in a closing state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reuse {
    /// Nothing special (before 4.2).
    No,
    /// TIME_WAIT is scheduled anew (4.2).
    TimeWait,
    /// CLOSE too; dropped once where conntrack holds the packet's connection (4.7).
    CloseToo,
    /// The same, only where that conntrack entry is confirmed (5.9).
    ConfirmedOnly,
}

/// Which buckets `drop_entry` looks at in a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scan {
    /// As many as are a thirty-second of the table, each drawn from all of it.
    WithReplacement,
    /// A thirty-second of the table in one piece (7.1).
    Run,
}

/// Which persistence templates `drop_entry` takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TemplateRule {
    /// None; one goes with its last connection.
    Skip,
    /// Those of one-packet services without connections, like other entries (4.7).
    OnePacket,
    /// Also those that never had an established connection; nothing that controls another entry (4.19).
    Unassured,
}

/// One release's IPVS. Section numbers are those of the spec's ipvs.md.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// The name by which `--box ipvs:dialect=` knows it.
    pub name: &'static str,
    /// The releases that behave so.
    pub releases: &'static str,
    /// The normal transitions (section 4).
    pub transitions: &'static Transitions,
    /// The transitions under `secure_tcp`.
    pub dos_transitions: &'static Transitions,
    /// Under `secure_tcp`, new entries get shorter timers for life (section 1.4).
    pub dos_timeouts: bool,
    /// Timers sit in the wheel of 4.8: up to an eighth late (section 6.5).
    pub wheel: bool,
    /// SYN_SENT, SYN_RECV and SYNACK count as active connections too.
    pub half_open_is_active: bool,
    /// `sloppy_tcp` exists, and a RST never schedules.
    pub sloppy_tcp: bool,
    /// What a SYN does to a closing entry (section 5.3 a).
    pub reuse: Reuse,
    /// What a SYN does to an entry of a server with weight 0.
    pub weight0: Weight0,
    /// `expire_nodest_conn` lets the packet be scheduled anew instead of dropping it.
    pub nodest_reschedules: bool,
    /// Deleting a server flushes its entries (with `expire_nodest_conn`).
    pub nodest_flush_on_delete: bool,
    /// An ICMP error restarts the timer.
    pub icmp_restarts_timer: bool,
    /// Replies of DR and TUN servers that cross the director are recognised.
    pub sees_direct_replies: bool,
    /// `net.ipv4.vs.conntrack` and one-packet scheduling exist.
    pub conntrack_sysctl: bool,
    /// Untracking a packet (`ip_vs_notrack`) leaves an INVALID one as it is, so that conntrack looks at it again (4.12).
    pub notrack_spares_invalid: bool,
    /// A real server on the director is turned into a local node.
    pub localnode_auto: bool,
    /// The hooks vanish with the last service.
    pub hooks_removed_with_last_service: bool,
    /// Which buckets `drop_entry` looks at (section 3.3).
    pub drop_scan: Scan,
    /// Which templates `drop_entry` takes (section 3.3).
    pub drop_templates: TemplateRule,
    /// Bytes of one entry on x86-64, rounded to its slab; 0 where nobody computed it.
    pub entry_bytes: u16,
    /// Default `amemthresh`, pages.
    pub amemthresh: u32,
}

/// The dialect that is used where none is named: the newest longterm kernel's.
pub const DEFAULT: &str = "linux-6.18";

/// Other names for a row.
pub static ALIASES: &[(&str, &str)] = &[
    ("linux-6.18", "linux-6.12"),
    ("linux-6.19", "linux-6.12"),
    ("linux-7.0", "linux-6.12"),
    ("linux-6.6", "linux-6.12"),
    ("linux-6.8", "linux-6.12"),
    ("linux-7.1", "latest"),
];

impl Dialect {
    /// Finds a row by its name or an alias; [`Dialect::for_release`] knows the releases in between.
    pub fn find(name: &str) -> Option<&'static Dialect> {
        let real = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, real)| real);
        DIALECTS.iter().find(|d| d.name == real)
    }

    /// The row of a kernel release as `uname -r` prints it: the newest one that is not newer.
    pub fn for_release(release: &str) -> Option<&'static Dialect> {
        let wanted = release_numbers(release)?;
        if wanted >= [7, 1, 0] {
            return Self::find("latest");
        }
        DIALECTS
            .iter()
            .filter_map(|d| Some((release_numbers(d.name.strip_prefix("linux-")?)?, d)))
            .filter(|(v, _)| *v <= wanted)
            .max_by_key(|(v, _)| *v)
            .map(|(_, d)| d)
    }

    /// Every name that stands for a row, rows first.
    pub fn names() -> Vec<&'static str> {
        DIALECTS.iter().map(|d| d.name).chain(ALIASES.iter().map(|(alias, _)| *alias)).collect()
    }
}

/// Read in 2.4.18 (1.0.4, vendor), 2.4.21 (1.0.8, vendor), 2.4.27 (1.0.11), 2.4.32 (1.0.12).
const LINUX_2_4: Dialect = Dialect {
    name: "linux-2.4",
    releases: "2.4.18 (1.0.4, vendor), 2.4.21 (1.0.8, vendor), 2.4.27 (1.0.11), 2.4.32 (1.0.12)",
    transitions: &transitions::T_OLD,
    dos_transitions: &transitions::T_OLD_DOS,
    dos_timeouts: true,
    wheel: false,
    half_open_is_active: false,
    sloppy_tcp: false,
    reuse: Reuse::No,
    weight0: Weight0::Never,
    nodest_reschedules: false,
    nodest_flush_on_delete: false,
    icmp_restarts_timer: true,
    sees_direct_replies: false,
    conntrack_sysctl: false,
    notrack_spares_invalid: false,
    localnode_auto: true,
    hooks_removed_with_last_service: false,
    drop_scan: Scan::WithReplacement,
    drop_templates: TemplateRule::Skip,
    entry_bytes: 192,
    amemthresh: 2048,
};

/// Read in 2.6.9, 2.6.11, 2.6.12, 2.6.16, 2.6.18, 2.6.20, 2.6.21, 2.6.22.
const LINUX_2_6: Dialect = Dialect {
    name: "linux-2.6",
    releases: "2.6.9, 2.6.11, 2.6.12, 2.6.16, 2.6.18, 2.6.20, 2.6.21, 2.6.22",
    dos_timeouts: false,
    icmp_restarts_timer: false,
    amemthresh: 1024,
    ..LINUX_2_4
};

/// Read in 2.6.24.
const LINUX_2_6_24: Dialect = Dialect { name: "linux-2.6.24", releases: "2.6.24", ..LINUX_2_6 };

/// Read in 2.6.27, 2.6.28-rc4, 2.6.29, 2.6.30, 2.6.31, 2.6.32.
const LINUX_2_6_27: Dialect =
    Dialect { name: "linux-2.6.27", releases: "2.6.27, 2.6.28-rc4, 2.6.29, 2.6.30, 2.6.31, 2.6.32", entry_bytes: 256, ..LINUX_2_6_24 };

/// Read in 2.6.34-rc7, 2.6.35.
const LINUX_2_6_34: Dialect = Dialect { name: "linux-2.6.34", releases: "2.6.34-rc7, 2.6.35", entry_bytes: 0, ..LINUX_2_6_27 };

/// Read in 2.6.38.
const LINUX_2_6_38: Dialect =
    Dialect { name: "linux-2.6.38", releases: "2.6.38", conntrack_sysctl: true, localnode_auto: false, ..LINUX_2_6_34 };

/// Read in 3.0.8, 3.4.113.
const LINUX_3_0: Dialect = Dialect { name: "linux-3.0", releases: "3.0.8, 3.4.113", ..LINUX_2_6_38 };

/// Read in 3.5, 3.6.5, 3.8.13, 3.9.6.
const LINUX_3_5: Dialect = Dialect { name: "linux-3.5", releases: "3.5, 3.6.5, 3.8.13, 3.9.6", ..LINUX_3_0 };

/// Read in 3.10.105.
const LINUX_3_10: Dialect = Dialect { name: "linux-3.10", releases: "3.10.105", weight0: Weight0::IfExpireNodest, ..LINUX_3_5 };

/// Read in 3.14.1, 3.15.5, 3.16.0, 3.18.20, 4.0.5.
const LINUX_3_14: Dialect = Dialect {
    name: "linux-3.14",
    releases: "3.14.1, 3.15.5, 3.16.0, 3.18.20, 4.0.5",
    transitions: &transitions::T_NEW,
    dos_transitions: &transitions::T_NEW_DOS,
    sloppy_tcp: true,
    ..LINUX_3_10
};

/// Read in 4.2.8, 4.4.0.
const LINUX_4_2: Dialect =
    Dialect { name: "linux-4.2", releases: "4.2.8, 4.4.0", reuse: Reuse::TimeWait, weight0: Weight0::IfExpireNodestAndReuse, ..LINUX_3_14 };

/// Read in 4.7.4.
const LINUX_4_7: Dialect =
    Dialect { name: "linux-4.7", releases: "4.7.4", reuse: Reuse::CloseToo, drop_templates: TemplateRule::OnePacket, ..LINUX_4_2 };

/// Read in 4.8.15, 4.9.0, 4.10.17, 4.12, 4.13.4, 4.14, 4.15, 4.16.13, 4.18.
const LINUX_4_8: Dialect = Dialect {
    name: "linux-4.8",
    releases: "4.8.15, 4.9.0, 4.10.17, 4.12, 4.13.4, 4.14, 4.15, 4.16.13, 4.18",
    wheel: true,
    half_open_is_active: true,
    ..LINUX_4_7
};

/// Read in 4.19.40, 4.20, 5.0, 5.2.1, 5.3.1, 5.7.14, 5.8.1.
const LINUX_4_19: Dialect = Dialect {
    name: "linux-4.19",
    releases: "4.19.40, 4.20, 5.0, 5.2.1, 5.3.1, 5.7.14, 5.8.1",
    notrack_spares_invalid: true,
    drop_templates: TemplateRule::Unassured,
    ..LINUX_4_8
};

/// Read in 5.9.1.
const LINUX_5_9: Dialect = Dialect {
    name: "linux-5.9",
    releases: "5.9.1",
    reuse: Reuse::ConfirmedOnly,
    nodest_reschedules: true,
    nodest_flush_on_delete: true,
    hooks_removed_with_last_service: true,
    ..LINUX_4_19
};

/// Read in 5.10.7, 5.11, 5.12.9, 5.14-rc5.
const LINUX_5_10: Dialect =
    Dialect { name: "linux-5.10", releases: "5.10.7, 5.11, 5.12.9, 5.14-rc5", sees_direct_replies: true, ..LINUX_5_9 };

/// Read in 5.15.16 and 5.15.55 longterm, 5.17-rc5, 5.19, 6.0-rc1.
const LINUX_5_16: Dialect = Dialect {
    name: "linux-5.16",
    releases: "5.15.16 and 5.15.55 longterm, 5.17-rc5, 5.19, 6.0-rc1",
    weight0: Weight0::IfExpireNodest,
    ..LINUX_5_10
};

/// Read in 6.1-rc7, 6.1.158, 6.3.8.
const LINUX_6_1: Dialect = Dialect { name: "linux-6.1", releases: "6.1-rc7, 6.1.158, 6.3.8", entry_bytes: 320, ..LINUX_5_16 };

/// Read in 6.4.6, 6.6.17, 6.8.1, 6.12, 6.14, 6.18.13, 6.19, 7.0.
const LINUX_6_12: Dialect = Dialect { name: "linux-6.12", releases: "6.4.6, 6.6.17, 6.8.1, 6.12, 6.14, 6.18.13, 6.19, 7.0", ..LINUX_6_1 };

/// Read in 7.1.3, 7.1.5.
const LATEST: Dialect = Dialect { name: "latest", releases: "7.1.3, 7.1.5", drop_scan: Scan::Run, ..LINUX_6_12 };

/// Read in single files of a mid-2026 development tree, newer than 7.1.5.
const DEV_2026: Dialect = Dialect { name: "dev-2026", releases: "single files of a mid-2026 development tree, newer than 7.1.5", ..LATEST };

/// Every row, oldest first.
pub static DIALECTS: &[Dialect] = &[
    LINUX_2_4,
    LINUX_2_6,
    LINUX_2_6_24,
    LINUX_2_6_27,
    LINUX_2_6_34,
    LINUX_2_6_38,
    LINUX_3_0,
    LINUX_3_5,
    LINUX_3_10,
    LINUX_3_14,
    LINUX_4_2,
    LINUX_4_7,
    LINUX_4_8,
    LINUX_4_19,
    LINUX_5_9,
    LINUX_5_10,
    LINUX_5_16,
    LINUX_6_1,
    LINUX_6_12,
    LATEST,
    DEV_2026,
];
