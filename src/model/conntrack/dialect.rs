//! What distinguishes one release's conntrack from another's: one struct of flags, one row a release (`dialects.rs`).
//!
//! Source: the spec's conntrack.md sections 0 and 3, conntrack-tables.json. Nothing here knows packets.

pub use super::dialects::{ALIASES, DIALECTS, DISTRIBUTIONS};
use super::transitions::Transitions;

/// Which of the two trackers a release has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Model {
    /// Linux 2.4: a state table and nothing else.
    Simple2_4,
    /// Linux 2.6.9 and later: state table, window tracking, retransmission and acknowledgement bookkeeping.
    Window,
}

/// Sets of legal TCP flag combinations (`tcp_valid_flags`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FlagSet {
    /// 2.6.9 and 2.6.11.
    F9,
    /// 2.6.12: also SYN/ACK with PSH.
    F12,
    /// 2.6.16: also SYN with PSH.
    F16,
    /// 2.6.21: also SYN with URG; PSH never matters.
    F21,
}

/// When a SYN may reopen an entry in TIME_WAIT or CLOSE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReopenRule {
    /// Always.
    Always,
    /// If its sender once closed, or its sequence number is newer than anything that direction sent; else INVALID.
    OwnFlagOrNewerSeq,
    /// If either side closed, or the last packet was a RST of the same side; else the SYN is ignored.
    AnyFlagOrRst,
    /// If the peer closed, or the last packet was a RST of the same side; else the SYN is ignored.
    PeerFlagOrRst,
}

/// What happens to a RST that answers a packet which the tracker had ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RstRule {
    /// 2.6.9: a RST that answers an ignored SYN is itself ignored.
    Ignore2_6_9,
    /// 2.6.11: also one that answers an ignored ACK.
    Ignore2_6_11,
    /// 2.6.12: it skips the window test.
    SkipWindow2_6_12,
    /// 2.6.16 and later: both kinds skip the window test.
    SkipWindow,
}

/// Whether empty segments skip the sequence test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZeroLen {
    /// Every empty segment does.
    All,
    /// All but RST; a RST only with sequence 0 in SYN_SENT.
    AllButRst,
    /// Only a RST with sequence 0 in SYN_SENT.
    Off,
}

/// When a direction that already has history is initialised again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReinitRule {
    /// A newer end of the original direction in SYN_SENT (and of the reply direction in SYN_RECV, by flag).
    NewerEnd,
    /// As above, and a reply SYN in SYN_SENT.
    NewerEndOrReplySyn,
    /// A SYN with a newer end in SYN_SENT or SYN_RECV.
    SynNewerEnd,
}

/// How an entry's end of life is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expires {
    /// A timer for each entry, exact to the jiffy.
    Timer,
    /// The same, with slack on the first arming (2.6.35).
    TimerWithSlack,
    /// A timer on the wheel of 4.8: up to an eighth late.
    Wheel,
    /// No timer: judged at each look-up, exact to the jiffy (4.9 and later).
    AtLookup,
}

/// Garbage collectors of 4.9 and later (conntrack.md section 5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gc {
    /// None: timers remove entries.
    None,
    /// 4.9.
    V4_9,
    /// 4.10 to 5.14.
    V4_10,
    /// 5.15 to 5.17: a pass every 120 s.
    V5_15,
    /// 5.18 to 6.0.
    V5_18,
    /// 6.1 and later.
    V6_1,
}

/// Who is evicted from a full table (conntrack.md section 5.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EarlyDrop {
    /// The oldest unassured entry of one chain.
    V2_6,
    /// Chain by chain until one has an unassured entry; its oldest.
    V2_6_24,
    /// The same, its newest.
    V3_15,
    /// The first candidate of the bucket.
    V4_7,
    /// All candidates of the first bucket that has any.
    V4_8,
    /// The same over eight consecutive buckets.
    V4_20,
}

/// How the default table size follows from memory (conntrack.md section 5.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashSizing {
    /// Memory/16384/list head; 8 entries a bucket.
    V2_4,
    /// Memory/16384/pointer; 4 entries a bucket.
    V2_6_24,
    /// The same, 65,536 buckets above 4 GiB.
    V4_0,
    /// 65,536 above 1 GiB, 262,144 above 4 GiB, one entry a bucket.
    V5_15,
}

/// How NAT looks for a free port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortSearch {
    /// A global rover over the whole range.
    Rover,
    /// A random start, 128 attempts, then fewer.
    Random,
    /// The same; its last attempts may evict an entry in TIME_WAIT or CLOSE.
    RandomHarder,
}

/// Which timers a release has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeouts {
    /// States only.
    V2_4,
    /// And `max_retrans`.
    V2_6_9,
    /// And `unacknowledged`.
    V2_6_27,
    /// And SYN_SENT2.
    V2_6_31,
}

/// One release's conntrack. Section numbers are those of the spec's conntrack.md.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// The name by which `--box conntrack:dialect=` knows it.
    pub name: &'static str,
    /// The releases that behave so.
    pub releases: &'static str,
    /// Which tracker.
    pub model: Model,
    /// Its transition set (section 2).
    pub transitions: &'static Transitions,
    /// Its legal flag combinations (section 3.2).
    pub valid_flags: FlagSet,
    /// A deadline that moves forward by less than a second is not stored (section 3.8).
    pub coalesce_refresh: bool,
    /// A segment that reaches past the sender's limit is cut there, and its FIN is forgotten (section 3.7 E).
    pub trim_right_edge: bool,
    /// Which fields must repeat to count as a retransmission: 3 = direction, seq, end; 4 = and ack; 5 = and window.
    pub retrans_compare_fields: u8,
    /// `tcp_be_liberal` does not save a RST that is out of the window.
    pub global_liberal_excludes_rst: bool,
    /// A pick-up loads `tcp_loose` into packet counters that switch the window test off while non-zero.
    pub loose_packet_counter: bool,
    /// Re-initialisation by a newer end also for replies in SYN_RECV.
    pub reinit_in_syn_recv_reply: bool,
    /// An out-of-sync SYN/ACK is recognised by its ack being after `last_seq`, not equal to `last_end`.
    pub resync_compare_seq: bool,
    /// An ignored packet stores `last_end`.
    pub ignore_records_end: bool,
    /// When a SYN may reopen TIME_WAIT or CLOSE.
    pub reopen_rule: ReopenRule,
    /// The value of the CLOSE_INIT flag; 3 overlaps the flags WINDOW_SCALE and SACK_PERM.
    pub close_init_bit: u8,
    /// CLOSE_INIT is also set on a change to CLOSE.
    pub close_init_on_close: bool,
    /// `last_dir` is stored for every accepted packet.
    pub accept_records_dir: bool,
    /// The rule for a RST that answers an ignored packet (section 3.6).
    pub rst_rule: RstRule,
    /// Whether empty segments skip the sequence test.
    pub zero_len_shortcut: ZeroLen,
    /// The lower bound of the acknowledgement uses the SACK edge.
    pub ack_low_bound_uses_sack: bool,
    /// The unacknowledged timer exists.
    pub unack: bool,
    /// A RST below the peer's highest acknowledgement is INVALID.
    pub maxack_rst_check: bool,
    /// A direction without history is one with `td_end == 0`, not one with `td_maxwin == 0`.
    pub history_by_end: bool,
    /// `td_maxwin` of the reply side of a new entry.
    pub reply_maxwin_seed: u32,
    /// Mid-stream initialisation scales the window and seeds an empty receiver from the ack.
    pub midstream_scaled: bool,
    /// That scaled window stays for the rest of the call.
    pub midstream_scaled_win_sticks: bool,
    /// A SYN/ACK for an ignored SYN restarts the entry in SYN_RECV; otherwise it is dropped and the entry killed.
    pub resync: bool,
    /// The receiver's `td_maxwin` grows from overshoot only if it is not zero.
    pub recv_maxwin_guard: bool,
    /// The lower sequence bound holds while the receiver's `td_maxwin` is zero.
    pub zero_recvwin_skips_low_bound: bool,
    /// ESTABLISHED without a reply is capped to the unacknowledged timer.
    pub unreplied_established_cap: bool,
    /// A challenge ACK in LAST_ACK is recognised.
    pub last_ack_challenge: bool,
    /// A last window of zero caps to the `max_retrans` timer.
    pub zero_window_cap: bool,
    /// `last_win` keeps the raw header value; otherwise the scaled value cut to 16 bits.
    pub last_win_raw: bool,
    /// A simultaneous open can complete.
    pub simultaneous_open: bool,
    /// A RST must match exactly to change an assured ESTABLISHED entry; every RST uses the CLOSE timer.
    pub rst_exact: bool,
    /// A pick-up by a keepalive probe is recognised.
    pub keepalive_midstream: bool,
    /// Closing states accept any RST; the highest-ack test is skipped after a SYN and for sequence 0.
    pub rst_after_close_skips_checks: bool,
    /// `tcp_ignore_invalid_rst` works.
    pub ignore_invalid_rst_sysctl: bool,
    /// A SYN repeated in SYN_SENT without a reply does not renew the timer.
    pub syn_retransmit_no_refresh: bool,
    /// When a direction with history is initialised again.
    pub reinit_rule: ReinitRule,
    /// BE_LIBERAL survives option parsing and resynchronisation.
    pub options_keep_liberal: bool,
    /// 6.1: segments below the window are ignored, overshoot updates `td_end`.
    pub split_window_verdict: bool,
    /// 5.15 longterm: overshoot updates `td_end` and stays INVALID.
    pub overshoot_updates_but_invalid: bool,
    /// A RST that answers a challenge ACK in SYN_SENT skips the window test.
    pub syn_sent_challenge_rst: bool,
    /// Window scales are cleared at SYN initialisation for the reply direction only.
    pub scale_cleared_on_reply_only: bool,
    /// The RST-answers-an-ignored-SYN rule also wants the other direction.
    pub rst_to_syn_needs_other_dir: bool,
    /// A RST that keeps ESTABLISHED sets the unacknowledged timer, not that of CLOSE.
    pub inexact_rst_unacknowledged: bool,
    /// How an entry's end is found.
    pub expiry: Expires,
    /// The garbage collector.
    pub gc: Gc,
    /// The collector may kill closing entries above 95 % load.
    pub gc_early_drop: bool,
    /// Who is evicted from a full table.
    pub early_drop: EarlyDrop,
    /// Default table sizes.
    pub hash_sizing: HashSizing,
    /// The random limit of a chain's length, smallest and largest.
    pub chain_limit: Option<(u16, u16)>,
    /// `nf_conntrack_max` is at least 1; otherwise 0 means no limit.
    pub max_at_least_one: bool,
    /// UDP stream timer 120 s and the two-second rule; otherwise 180 s at once.
    pub udp_5_0: bool,
    /// UDP is ASSURED only when the stream timer was used.
    pub udp_assured_stream_only: bool,
    /// How NAT looks for a port.
    pub nat_port_search: PortSearch,
    /// REJECT with tcp-reset closes the entry.
    pub reject_tcp_reset_closes_entry: bool,
    /// Timeout policies can be attached to an entry.
    pub timeout_policies: bool,
    /// Flows can be offloaded.
    pub flow_offload: bool,
    /// The old `ip_conntrack_*` names exist.
    pub compat_ip_conntrack_sysctls: bool,
    /// Which timers there are.
    pub timeouts: Timeouts,
    /// The default of `tcp_loose`: a packet count up to 2.6.20, a switch later.
    pub tcp_loose_default: u8,
}

/// The dialect that is used where none is named: the newest longterm kernel's.
pub const DEFAULT: &str = "linux-6.18";

impl Dialect {
    /// The row that is used where none is named.
    ///
    /// # Panics
    /// Never: a test finds every name.
    pub fn newest_longterm() -> &'static Dialect {
        Dialect::find(DEFAULT).expect("the default is a row")
    }

    /// Finds a row by its name, an alias, or a distribution's name.
    pub fn find(name: &str) -> Option<&'static Dialect> {
        let real = ALIASES.iter().chain(DISTRIBUTIONS).find(|(alias, _)| *alias == name).map_or(name, |(_, real)| real);
        DIALECTS.iter().find(|d| d.name == real)
    }

    /// The row of a kernel release as `uname -r` prints it: a longterm row of the same series that is not newer, else the
    /// newest mainline row that is not newer than the series.
    pub fn for_release(release: &str) -> Option<&'static Dialect> {
        let wanted = release_numbers(release)?;
        let series = [wanted[0], wanted[1]];
        let longterm = DIALECTS.iter().filter_map(|d| Some((release_numbers(d.name.strip_prefix("longterm-")?)?, d)));
        let mainline = DIALECTS.iter().filter_map(|d| Some((release_numbers(d.name.strip_prefix("linux-")?)?, d)));
        longterm
            .filter(|(v, _)| v[..2] == series && *v <= wanted)
            .max_by_key(|(v, _)| *v)
            .or_else(|| mainline.filter(|(v, _)| *v <= wanted).max_by_key(|(v, _)| *v))
            .map(|(_, d)| d)
    }

    /// Every name that [`Dialect::find`] knows, rows first, then aliases, then distributions.
    pub fn names() -> Vec<&'static str> {
        DIALECTS.iter().map(|d| d.name).chain(ALIASES.iter().chain(DISTRIBUTIONS).map(|(alias, _)| *alias)).collect()
    }
}

/// The numbers of a release: `6.1.176-deb` is 6, 1, 176; missing ones are 0. Names that carry more than numbers and a
/// distribution suffix (`2.6.20-ip`) are no releases.
pub(crate) fn release_numbers(text: &str) -> Option<[u32; 3]> {
    let mut numbers = [0; 3];
    let plain = text.split(['-', '+', '_', ' ']).next()?;
    if text.ends_with("-ip") || plain.split('.').count() > 3 && !plain.starts_with("2.6.") {
        return None;
    }
    for (slot, part) in numbers.iter_mut().zip(plain.split('.')) {
        *slot = part.parse().ok()?;
    }
    // Distributions keep one name through many releases (`6.1.0-47-amd64` is 6.1.170): the newest row of the series is meant.
    let kept_name =
        text.strip_prefix(plain).is_some_and(|rest| rest.starts_with('-') && rest[1..].starts_with(|c: char| c.is_ascii_digit()));
    if kept_name && numbers[2] == 0 {
        numbers[2] = u32::MAX;
    }
    Some(numbers)
}
