//! One row for each conntrack dialect: what changed against the release before it.
//!
//! Source: the spec's conntrack-tables.json (flags read off and tested against each release's own tracker) and
//! conntrack.md section 0. Data only; the meaning of each flag is with its field in `dialect.rs`.

use super::dialect::{
    Dialect, EarlyDrop, Expires, FlagSet, Gc, HashSizing, Model, PortSearch, ReinitRule, ReopenRule, RstRule, Timeouts, ZeroLen,
};
use super::transitions;

/// 2.6.9 - 2.6.10. Checked against the trackers of 2.6.9.
const LINUX_2_6_9: Dialect = Dialect {
    name: "linux-2.6.9",
    releases: "2.6.9 - 2.6.10",
    model: Model::Window,
    transitions: &transitions::T26_9,
    valid_flags: FlagSet::F9,
    coalesce_refresh: false,
    trim_right_edge: true,
    retrans_compare_fields: 3,
    global_liberal_excludes_rst: true,
    loose_packet_counter: true,
    reinit_in_syn_recv_reply: false,
    resync_compare_seq: true,
    ignore_records_end: false,
    reopen_rule: ReopenRule::Always,
    close_init_bit: 0,
    close_init_on_close: false,
    accept_records_dir: false,
    rst_rule: RstRule::Ignore2_6_9,
    zero_len_shortcut: ZeroLen::All,
    ack_low_bound_uses_sack: false,
    unack: false,
    maxack_rst_check: false,
    history_by_end: true,
    reply_maxwin_seed: 1,
    midstream_scaled: false,
    midstream_scaled_win_sticks: false,
    resync: false,
    recv_maxwin_guard: false,
    zero_recvwin_skips_low_bound: false,
    unreplied_established_cap: false,
    last_ack_challenge: false,
    zero_window_cap: false,
    last_win_raw: false,
    simultaneous_open: false,
    rst_exact: false,
    keepalive_midstream: false,
    rst_after_close_skips_checks: false,
    ignore_invalid_rst_sysctl: false,
    syn_retransmit_no_refresh: false,
    reinit_rule: ReinitRule::NewerEnd,
    options_keep_liberal: false,
    split_window_verdict: false,
    overshoot_updates_but_invalid: false,
    syn_sent_challenge_rst: false,
    scale_cleared_on_reply_only: false,
    rst_to_syn_needs_other_dir: false,
    inexact_rst_unacknowledged: false,
    expiry: Expires::Timer,
    gc: Gc::None,
    gc_early_drop: false,
    early_drop: EarlyDrop::V2_6,
    hash_sizing: HashSizing::V2_4,
    chain_limit: None,
    max_at_least_one: false,
    udp_5_0: false,
    udp_assured_stream_only: false,
    nat_port_search: PortSearch::Rover,
    reject_tcp_reset_closes_entry: false,
    timeout_policies: false,
    flow_offload: false,
    compat_ip_conntrack_sysctls: true,
    timeouts: Timeouts::V2_6_9,
    tcp_loose_default: 3,
};

/// 2.4.0 - 2.4.27. Checked against the trackers of 2.4.0, 2.4.27.
const LINUX_2_4: Dialect = Dialect {
    name: "linux-2.4",
    releases: "2.4.0 - 2.4.27",
    model: Model::Simple2_4,
    transitions: &transitions::T24,
    timeouts: Timeouts::V2_4,
    tcp_loose_default: 0,
    ..LINUX_2_6_9
};

/// 2.6.11. Checked against the trackers of 2.6.11.
const LINUX_2_6_11: Dialect = Dialect {
    name: "linux-2.6.11",
    releases: "2.6.11",
    transitions: &transitions::T26_11,
    retrans_compare_fields: 4,
    reinit_in_syn_recv_reply: true,
    rst_rule: RstRule::Ignore2_6_11,
    ..LINUX_2_6_9
};

/// 2.6.12 - (2.6.13 to 2.6.15 not read). Checked against the trackers of 2.6.12.
const LINUX_2_6_12: Dialect = Dialect {
    name: "linux-2.6.12",
    releases: "2.6.12 - (2.6.13 to 2.6.15 not read)",
    transitions: &transitions::T26_12,
    valid_flags: FlagSet::F12,
    trim_right_edge: false,
    global_liberal_excludes_rst: false,
    resync_compare_seq: false,
    ignore_records_end: true,
    reopen_rule: ReopenRule::OwnFlagOrNewerSeq,
    close_init_bit: 3,
    close_init_on_close: true,
    rst_rule: RstRule::SkipWindow2_6_12,
    zero_len_shortcut: ZeroLen::AllButRst,
    ..LINUX_2_6_11
};

/// 2.6.16 - 2.6.19. Checked against the trackers of 2.6.16 ip+nf, 2.6.18 ip+nf.
const LINUX_2_6_16: Dialect = Dialect {
    name: "linux-2.6.16",
    releases: "2.6.16 - 2.6.19",
    transitions: &transitions::T26_16,
    valid_flags: FlagSet::F16,
    rst_rule: RstRule::SkipWindow,
    ..LINUX_2_6_12
};

/// 2.6.20, ip_conntrack build. Checked against the trackers of 2.6.20.
const LINUX_2_6_20_IP: Dialect = Dialect {
    name: "linux-2.6.20-ip",
    releases: "2.6.20, ip_conntrack build",
    retrans_compare_fields: 5,
    close_init_bit: 4,
    ..LINUX_2_6_16
};

/// 2.6.20, nf_conntrack build. Checked against the trackers of 2.6.20.
const LINUX_2_6_20: Dialect =
    Dialect { name: "linux-2.6.20", releases: "2.6.20, nf_conntrack build", coalesce_refresh: true, ..LINUX_2_6_20_IP };

/// 2.6.21, ip_conntrack build. Checked against the trackers of 2.6.21.
const LINUX_2_6_21_IP: Dialect = Dialect {
    name: "linux-2.6.21-ip",
    releases: "2.6.21, ip_conntrack build",
    valid_flags: FlagSet::F21,
    coalesce_refresh: false,
    loose_packet_counter: false,
    tcp_loose_default: 1,
    ..LINUX_2_6_20
};

/// 2.6.21, nf_conntrack build. Checked against the trackers of 2.6.21.
const LINUX_2_6_21: Dialect =
    Dialect { name: "linux-2.6.21", releases: "2.6.21, nf_conntrack build", coalesce_refresh: true, ..LINUX_2_6_21_IP };

/// 2.6.22.19 longterm; 2.6.25 and 2.6.26 believed equal (not read). Checked against the trackers of 2.6.22.19.
const LINUX_2_6_22: Dialect = Dialect {
    name: "linux-2.6.22",
    releases: "2.6.22.19 longterm; 2.6.25 and 2.6.26 believed equal (not read)",
    reopen_rule: ReopenRule::AnyFlagOrRst,
    close_init_on_close: false,
    accept_records_dir: true,
    ..LINUX_2_6_21
};

/// 2.6.24. Checked against the trackers of 2.6.24.
const LINUX_2_6_24: Dialect = Dialect {
    name: "linux-2.6.24",
    releases: "2.6.24",
    reopen_rule: ReopenRule::PeerFlagOrRst,
    close_init_on_close: true,
    early_drop: EarlyDrop::V2_6_24,
    hash_sizing: HashSizing::V2_6_24,
    ..LINUX_2_6_22
};

/// 2.6.27 - 2.6.29. Checked against the trackers of 2.6.27.57, 2.6.28-rc4, 2.6.29.4.
const LINUX_2_6_27: Dialect = Dialect {
    name: "linux-2.6.27",
    releases: "2.6.27 - 2.6.29",
    reopen_rule: ReopenRule::AnyFlagOrRst,
    close_init_on_close: false,
    ack_low_bound_uses_sack: true,
    unack: true,
    timeouts: Timeouts::V2_6_27,
    ..LINUX_2_6_24
};

/// 2.6.30. Checked against the trackers of 2.6.30.
const LINUX_2_6_30: Dialect = Dialect { name: "linux-2.6.30", releases: "2.6.30", maxack_rst_check: true, ..LINUX_2_6_27 };

/// 2.6.31 - 2.6.32 (2.6.33 not read). Checked against the trackers of 2.6.31.3, 2.6.32.67.
const LINUX_2_6_31: Dialect = Dialect {
    name: "linux-2.6.31",
    releases: "2.6.31 - 2.6.32 (2.6.33 not read)",
    transitions: &transitions::T26_31,
    history_by_end: false,
    reply_maxwin_seed: 0,
    timeouts: Timeouts::V2_6_31,
    ..LINUX_2_6_30
};

/// 2.6.34 - 2.6.35. Checked against the trackers of 2.6.34-rc7, 2.6.35.3.
const LINUX_2_6_34: Dialect = Dialect { name: "linux-2.6.34", releases: "2.6.34 - 2.6.35", resync: true, ..LINUX_2_6_31 };

/// 2.6.38 - 2.6.39 (2.6.36/37 not read). Checked against the trackers of 2.6.38.3.
const LINUX_2_6_38: Dialect = Dialect {
    name: "linux-2.6.38",
    releases: "2.6.38 - 2.6.39 (2.6.36/37 not read)",
    midstream_scaled: true,
    midstream_scaled_win_sticks: true,
    recv_maxwin_guard: true,
    expiry: Expires::TimerWithSlack,
    ..LINUX_2_6_34
};

/// 3.0 - 3.3. Checked against the trackers of 3.0.8.
const LINUX_3_0: Dialect = Dialect { name: "linux-3.0", releases: "3.0 - 3.3", transitions: &transitions::T30, ..LINUX_2_6_38 };

/// 3.4 - 3.5. Checked against the trackers of 3.5.
const LINUX_3_4: Dialect =
    Dialect { name: "linux-3.4", releases: "3.4 - 3.5", midstream_scaled_win_sticks: false, timeout_policies: true, ..LINUX_3_0 };

/// 3.6 - 3.10. Checked against the trackers of 3.6.5, 3.10.4.
const LINUX_3_6: Dialect =
    Dialect { name: "linux-3.6", releases: "3.6 - 3.10", transitions: &transitions::T36, zero_len_shortcut: ZeroLen::Off, ..LINUX_3_4 };

/// 3.11 - 3.17. Checked against the trackers of 3.11, 3.17.
const LINUX_3_11: Dialect = Dialect {
    name: "linux-3.11",
    releases: "3.11 - 3.17",
    zero_recvwin_skips_low_bound: true,
    unreplied_established_cap: true,
    ..LINUX_3_6
};

/// 3.18 - 4.0. Checked against the trackers of 3.18.20.
const LINUX_3_18: Dialect =
    Dialect { name: "linux-3.18", releases: "3.18 - 4.0", transitions: &transitions::T318, early_drop: EarlyDrop::V3_15, ..LINUX_3_11 };

/// 4.1 - 4.6. Checked against the trackers of 4.1.15, 4.4.
const LINUX_4_1: Dialect =
    Dialect { name: "linux-4.1", releases: "4.1 - 4.6", last_ack_challenge: true, hash_sizing: HashSizing::V4_0, ..LINUX_3_18 };

/// 4.7. Checked against the trackers of 4.7.
const LINUX_4_7: Dialect = Dialect { name: "linux-4.7", releases: "4.7", early_drop: EarlyDrop::V4_7, ..LINUX_4_1 };

/// 4.8. Checked against the trackers of 4.8.
const LINUX_4_8: Dialect = Dialect { name: "linux-4.8", releases: "4.8", expiry: Expires::Wheel, early_drop: EarlyDrop::V4_8, ..LINUX_4_7 };

/// 4.9. Checked against the trackers of 4.9.
const LINUX_4_9: Dialect = Dialect {
    name: "linux-4.9",
    releases: "4.9",
    coalesce_refresh: false,
    expiry: Expires::AtLookup,
    gc: Gc::V4_9,
    compat_ip_conntrack_sysctls: false,
    ..LINUX_4_8
};

/// 4.10 - 4.11. Checked against the trackers of 4.10.
const LINUX_4_10: Dialect = Dialect { name: "linux-4.10", releases: "4.10 - 4.11", gc: Gc::V4_10, ..LINUX_4_9 };

/// 4.12 - 4.14. Checked against the trackers of 4.12, 4.13, 4.14.177.
const LINUX_4_12: Dialect = Dialect { name: "linux-4.12", releases: "4.12 - 4.14", gc_early_drop: true, ..LINUX_4_10 };

/// 4.15 - 4.16 (4.17 not read). Checked against the trackers of 4.15, 4.16.
const LINUX_4_15: Dialect = Dialect { name: "linux-4.15", releases: "4.15 - 4.16 (4.17 not read)", zero_window_cap: true, ..LINUX_4_12 };

/// 4.18 - 4.20. Checked against the trackers of 4.18, 4.20.
const LINUX_4_18: Dialect =
    Dialect { name: "linux-4.18", releases: "4.18 - 4.20", simultaneous_open: true, flow_offload: true, ..LINUX_4_15 };

/// 5.0. Checked against the trackers of 5.0.
const LINUX_5_0: Dialect = Dialect {
    name: "linux-5.0",
    releases: "5.0",
    early_drop: EarlyDrop::V4_20,
    udp_5_0: true,
    nat_port_search: PortSearch::Random,
    ..LINUX_4_18
};

/// 5.1 - 5.2. Checked against the trackers of 5.2.
const LINUX_5_1: Dialect = Dialect { name: "linux-5.1", releases: "5.1 - 5.2", rst_exact: true, ..LINUX_5_0 };

/// 5.3 - 5.9. Checked against the trackers of 5.3, 5.4.38, 5.7, 5.9.
const LINUX_5_3: Dialect = Dialect { name: "linux-5.3", releases: "5.3 - 5.9", last_win_raw: true, ..LINUX_5_1 };

/// 5.10 - 5.12 (5.13 not read). Checked against the trackers of 5.10.7, 5.10.106, 5.11, 5.12.9.
const LINUX_5_10: Dialect = Dialect { name: "linux-5.10", releases: "5.10 - 5.12 (5.13 not read)", keepalive_midstream: true, ..LINUX_5_3 };

/// 5.14. Checked against the trackers of 5.14-rc5.
const LINUX_5_14: Dialect = Dialect {
    name: "linux-5.14",
    releases: "5.14",
    rst_after_close_skips_checks: true,
    ignore_invalid_rst_sysctl: true,
    syn_retransmit_no_refresh: true,
    ..LINUX_5_10
};

/// 5.15 - 5.16. Checked against the trackers of 5.15.16.
const LINUX_5_15: Dialect = Dialect {
    name: "linux-5.15",
    releases: "5.15 - 5.16",
    gc: Gc::V5_15,
    hash_sizing: HashSizing::V5_15,
    chain_limit: Some((8, 31)),
    udp_assured_stream_only: true,
    ..LINUX_5_14
};

/// 5.17. Checked against the trackers of 5.17-rc5.
const LINUX_5_17: Dialect = Dialect { name: "linux-5.17", releases: "5.17", reinit_rule: ReinitRule::NewerEndOrReplySyn, ..LINUX_5_15 };

/// 5.18 - 6.0. Checked against the trackers of 5.19, 6.0-rc1.
const LINUX_5_18: Dialect = Dialect {
    name: "linux-5.18",
    releases: "5.18 - 6.0",
    reinit_rule: ReinitRule::SynNewerEnd,
    options_keep_liberal: true,
    gc: Gc::V5_18,
    ..LINUX_5_17
};

/// 6.1. Checked against the trackers of 6.1-rc7.
const LINUX_6_1: Dialect = Dialect { name: "linux-6.1", releases: "6.1", split_window_verdict: true, gc: Gc::V6_1, ..LINUX_5_18 };

/// 6.2. Checked against the trackers of 6.2.
const LINUX_6_2: Dialect =
    Dialect { name: "linux-6.2", releases: "6.2", syn_sent_challenge_rst: true, chain_limit: Some((50, 79)), ..LINUX_6_1 };

/// 6.3 - 6.5. Checked against the trackers of 6.3, 6.4.
const LINUX_6_3: Dialect = Dialect { name: "linux-6.3", releases: "6.3 - 6.5", reject_tcp_reset_closes_entry: true, ..LINUX_6_2 };

/// 6.6 - 6.7.
const LINUX_6_6: Dialect = Dialect { name: "linux-6.6", releases: "6.6 - 6.7", nat_port_search: PortSearch::RandomHarder, ..LINUX_6_3 };

/// 6.8 - 6.18. Checked against the trackers of 6.8, 6.12, 6.13, 6.14, 6.18.2.
const LINUX_6_8: Dialect = Dialect { name: "linux-6.8", releases: "6.8 - 6.18", scale_cleared_on_reply_only: true, ..LINUX_6_6 };

/// 6.19 - 7.0. Checked against the trackers of 6.19, 7.0.
const LINUX_6_19: Dialect = Dialect { name: "linux-6.19", releases: "6.19 - 7.0", max_at_least_one: true, ..LINUX_6_8 };

/// 7.1. Checked against the trackers of 7.1.3, 7.1.5.
const LINUX_7_1: Dialect = Dialect { name: "linux-7.1", releases: "7.1", rst_to_syn_needs_other_dir: true, ..LINUX_6_19 };

/// longterm-3.0.101. Checked against the trackers of longterm-3.0.101.
const LONGTERM_3_0_101: Dialect = Dialect {
    name: "longterm-3.0.101",
    releases: "longterm-3.0.101",
    transitions: &transitions::T36,
    zero_len_shortcut: ZeroLen::Off,
    ..LINUX_3_0
};

/// longterm-3.4.113. Checked against the trackers of longterm-3.4.113.
const LONGTERM_3_4_113: Dialect = Dialect {
    name: "longterm-3.4.113",
    releases: "longterm-3.4.113",
    transitions: &transitions::T36,
    zero_len_shortcut: ZeroLen::Off,
    ..LINUX_3_4
};

/// longterm-3.10.105. Checked against the trackers of longterm-3.10.105.
const LONGTERM_3_10_105: Dialect =
    Dialect { name: "longterm-3.10.105", releases: "longterm-3.10.105", unreplied_established_cap: true, ..LINUX_3_6 };

/// el7-3.10.0-1127. Checked against the trackers of el7-3.10.0-1127.
const EL7_3_10_0_1127: Dialect = Dialect {
    name: "el7-3.10.0-1127",
    releases: "el7-3.10.0-1127",
    transitions: &transitions::T318,
    zero_recvwin_skips_low_bound: true,
    unreplied_established_cap: true,
    last_ack_challenge: true,
    hash_sizing: HashSizing::V4_0,
    ..LINUX_3_6
};

/// el8.1-4.18.0-147. Checked against the trackers of el8.1-4.18.0-147.
const EL8_1_4_18_0_147: Dialect =
    Dialect { name: "el8.1-4.18.0-147", releases: "el8.1-4.18.0-147", early_drop: EarlyDrop::V4_20, ..LINUX_4_18 };

/// el8.3-4.18.0-240. Checked against the trackers of el8.3-4.18.0-240.
const EL8_3_4_18_0_240: Dialect = Dialect {
    name: "el8.3-4.18.0-240",
    releases: "el8.3-4.18.0-240",
    last_win_raw: true,
    early_drop: EarlyDrop::V4_20,
    udp_5_0: true,
    ..LINUX_4_18
};

/// longterm-4.19.40. Checked against the trackers of longterm-4.19.40.
const LONGTERM_4_19_40: Dialect =
    Dialect { name: "longterm-4.19.40", releases: "longterm-4.19.40", rst_exact: true, early_drop: EarlyDrop::V4_20, ..LINUX_4_18 };

/// longterm-5.4.273. Checked against the trackers of longterm-5.4.273.
const LONGTERM_5_4_273: Dialect = Dialect {
    name: "longterm-5.4.273",
    releases: "longterm-5.4.273",
    keepalive_midstream: true,
    syn_retransmit_no_refresh: true,
    options_keep_liberal: true,
    gc: Gc::V5_15,
    udp_assured_stream_only: true,
    ..LINUX_5_3
};

/// longterm-5.10.198. Checked against the trackers of longterm-5.10.198.
const LONGTERM_5_10_198: Dialect = Dialect {
    name: "longterm-5.10.198",
    releases: "longterm-5.10.198",
    syn_retransmit_no_refresh: true,
    options_keep_liberal: true,
    gc: Gc::V5_15,
    udp_assured_stream_only: true,
    ..LINUX_5_10
};

/// longterm-5.15.55. Checked against the trackers of longterm-5.15.55.
const LONGTERM_5_15_55: Dialect =
    Dialect { name: "longterm-5.15.55", releases: "longterm-5.15.55", options_keep_liberal: true, gc: Gc::V5_18, ..LINUX_5_15 };

/// longterm-5.15.85. Checked against the trackers of longterm-5.15.85.
const LONGTERM_5_15_85: Dialect = Dialect {
    name: "longterm-5.15.85",
    releases: "longterm-5.15.85",
    overshoot_updates_but_invalid: true,
    gc: Gc::V6_1,
    ..LONGTERM_5_15_55
};

/// longterm-6.1.158. Checked against the trackers of longterm-6.1.158.
const LONGTERM_6_1_158: Dialect = Dialect {
    name: "longterm-6.1.158",
    releases: "longterm-6.1.158",
    syn_sent_challenge_rst: true,
    scale_cleared_on_reply_only: true,
    chain_limit: Some((50, 79)),
    reject_tcp_reset_closes_entry: true,
    ..LINUX_6_1
};

/// longterm-6.6.17. Checked against the trackers of longterm-6.6.17.
const LONGTERM_6_6_17: Dialect =
    Dialect { name: "longterm-6.6.17", releases: "longterm-6.6.17", scale_cleared_on_reply_only: true, ..LINUX_6_6 };

/// 6.1 longterm from 6.1.176 at the latest on: seen beside a running 6.1.176, read in Debian's source of 6.1.192.
const LONGTERM_6_1_176: Dialect =
    Dialect { name: "longterm-6.1.176", releases: "6.1.176", rst_to_syn_needs_other_dir: true, ..LONGTERM_6_1_158 };

/// 6.12 longterm from 6.12.117 at the latest on: worked out from recordings of 6.12.117, read in Debian's source of it.
const LONGTERM_6_12_117: Dialect = Dialect {
    name: "longterm-6.12.117",
    releases: "6.12.117",
    rst_to_syn_needs_other_dir: true,
    inexact_rst_unacknowledged: true,
    ..LINUX_6_8
};

/// 6.18 longterm from 6.18.44 at the latest on: worked out beside a running 6.18.44.
const LONGTERM_6_18_44: Dialect = Dialect { name: "longterm-6.18.44", releases: "6.18.44", rst_to_syn_needs_other_dir: true, ..LINUX_6_8 };

/// The row that applies where no kernel is named.
pub(super) const DEFAULT: Dialect = LINUX_6_8;

/// Where [`DEFAULT`] stands among all rows.
const DEFAULT_AT: usize = 41;

/// Whether a row is [`DEFAULT`].
#[inline]
pub(super) fn is_default(row: &Dialect) -> bool {
    std::ptr::eq(row, &raw const DIALECTS[DEFAULT_AT])
}

/// Every row, oldest first, longterm and vendor trees last.
pub static DIALECTS: &[Dialect] = &[
    LINUX_2_4,
    LINUX_2_6_9,
    LINUX_2_6_11,
    LINUX_2_6_12,
    LINUX_2_6_16,
    LINUX_2_6_20_IP,
    LINUX_2_6_20,
    LINUX_2_6_21_IP,
    LINUX_2_6_21,
    LINUX_2_6_22,
    LINUX_2_6_24,
    LINUX_2_6_27,
    LINUX_2_6_30,
    LINUX_2_6_31,
    LINUX_2_6_34,
    LINUX_2_6_38,
    LINUX_3_0,
    LINUX_3_4,
    LINUX_3_6,
    LINUX_3_11,
    LINUX_3_18,
    LINUX_4_1,
    LINUX_4_7,
    LINUX_4_8,
    LINUX_4_9,
    LINUX_4_10,
    LINUX_4_12,
    LINUX_4_15,
    LINUX_4_18,
    LINUX_5_0,
    LINUX_5_1,
    LINUX_5_3,
    LINUX_5_10,
    LINUX_5_14,
    LINUX_5_15,
    LINUX_5_17,
    LINUX_5_18,
    LINUX_6_1,
    LINUX_6_2,
    LINUX_6_3,
    LINUX_6_6,
    LINUX_6_8,
    LINUX_6_19,
    LINUX_7_1,
    LONGTERM_3_0_101,
    LONGTERM_3_4_113,
    LONGTERM_3_10_105,
    EL7_3_10_0_1127,
    EL8_1_4_18_0_147,
    EL8_3_4_18_0_240,
    LONGTERM_4_19_40,
    LONGTERM_5_4_273,
    LONGTERM_5_10_198,
    LONGTERM_5_15_55,
    LONGTERM_5_15_85,
    LONGTERM_6_1_158,
    LONGTERM_6_1_176,
    LONGTERM_6_6_17,
    LONGTERM_6_12_117,
    LONGTERM_6_18_44,
];

/// Other names for a row.
pub static ALIASES: &[(&str, &str)] = &[
    ("linux-2.6", "linux-2.6.16"),
    ("linux-3.10", "linux-3.6"),
    ("linux-4.4", "linux-4.1"),
    ("linux-4.14", "linux-4.12"),
    ("linux-4.11", "linux-4.10"),
    ("linux-4.19", "linux-4.18"),
    ("linux-5.4", "linux-5.3"),
    ("linux-6.12", "linux-6.8"),
    ("linux-6.18", "linux-6.8"),
    ("linux-7.0", "linux-6.19"),
    ("latest", "linux-7.1"),
];

/// Distribution kernels and the row that they are assumed to match: which longterm level a distribution carries is an assumption.
pub static DISTRIBUTIONS: &[(&str, &str)] = &[
    ("debian-10", "longterm-4.19.40"),
    ("debian-11", "longterm-5.10.198"),
    ("debian-12", "longterm-6.1.176"),
    ("debian-13", "longterm-6.12.117"),
    ("ubuntu-20.04", "longterm-5.4.273"),
    ("ubuntu-22.04", "longterm-5.15.85"),
    ("ubuntu-24.04", "linux-6.8"),
    ("el7", "el7-3.10.0-1127"),
    ("el8", "el8.3-4.18.0-240"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_that_is_known_when_this_is_compiled_is_the_default() {
        assert!(is_default(Dialect::newest_longterm()));
        assert_eq!(format!("{DEFAULT:?}"), format!("{:?}", Dialect::newest_longterm()));
        assert_eq!(DIALECTS.iter().filter(|row| is_default(row)).count(), 1);
    }
}
