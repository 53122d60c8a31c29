//! What changed from one release's row to the next: the flags of the two structs, compared one by one.

use crate::model::conntrack::dialect::{self as ct, release_numbers};
use crate::model::ipvs::dialect as vs;
use serde::Serialize;
use std::fmt::Debug;

/// A flag that differs between two rows.
#[derive(Serialize)]
pub(super) struct Change {
    /// The name of the flag, as it stands in the model.
    pub(super) flag: &'static str,
    /// What it means.
    pub(super) meaning: &'static str,
    /// Its value in the row before.
    pub(super) before: String,
    /// Its value in this row.
    pub(super) now: String,
}

/// The row that a row of conntrack continues: for a longterm or vendor kernel the older row of the same tree and series, else
/// the mainline row of that series; for mainline the release before.
pub(super) fn conntrack_before(row: &ct::Dialect) -> Option<&'static ct::Dialect> {
    let older = ct::DIALECTS.iter().take_while(|d| d.name != row.name);
    if row.name.starts_with("linux-") {
        return older.filter(|d| d.name.starts_with("linux-")).last();
    }
    let (tree, series) = tree_and_series(row.name)?;
    older.filter(|d| tree_and_series(d.name) == Some((tree, series))).last().or_else(|| {
        let mainline = ct::DIALECTS.iter().filter_map(|d| Some((release_numbers(d.name.strip_prefix("linux-")?)?, d)));
        mainline.filter(|(version, _)| *version <= [series[0], series[1], 0]).max_by_key(|(version, _)| *version).map(|(_, d)| d)
    })
}

/// `el` and 4.18 for `el8.3-4.18.0-240`.
fn tree_and_series(name: &str) -> Option<(&str, [u32; 2])> {
    let (tree, release) = name.split_once('-')?;
    let numbers = release_numbers(release)?;
    Some((tree.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'), [numbers[0], numbers[1]]))
}

/// The row of IPVS before a row.
pub(super) fn ipvs_before(row: &vs::Dialect) -> Option<&'static vs::Dialect> {
    vs::DIALECTS.iter().take_while(|d| d.name != row.name).last()
}

/// Compares the listed fields. A field that is not listed does not compile.
macro_rules! compare {
    ($kind:path, $before:expr, $now:expr, besides $($other:ident)+; $($field:ident: $meaning:literal,)+) => {{
        let $kind { $($other: _,)+ $($field: _,)+ } = $now;
        let mut changes = Vec::new();
        $(if $before.$field != $now.$field {
            changes.push(Change {
                flag: stringify!($field),
                meaning: $meaning,
                before: word(&$before.$field),
                now: word(&$now.$field),
            });
        })+
        changes
    }};
}

/// What changed in conntrack between two rows.
pub(super) fn conntrack(before: &ct::Dialect, now: &ct::Dialect) -> Vec<Change> {
    let cells = before.transitions.iter().flatten().flatten().zip(now.transitions.iter().flatten().flatten()).filter(|(b, n)| b != n);
    let mut changes = table("transitions", "the table of state transitions", cells.count());
    changes.extend(compare! { ct::Dialect, before, now, besides name releases transitions;
        model: "which tracker",
        valid_flags: "its legal flag combinations",
        coalesce_refresh: "a deadline that moves forward by less than a second is not stored",
        trim_right_edge: "a segment that reaches past the sender's limit is cut there, and its FIN is forgotten",
        retrans_compare_fields: "which fields must repeat to count as a retransmission: 3 = direction, seq, end; 4 = and ack; 5 = and window",
        global_liberal_excludes_rst: "`tcp_be_liberal` does not save a RST that is out of the window",
        loose_packet_counter: "a pick-up loads `tcp_loose` into packet counters that switch the window test off while non-zero",
        reinit_in_syn_recv_reply: "re-initialisation by a newer end also for replies in SYN_RECV",
        resync_compare_seq: "an out-of-sync SYN/ACK is recognised by its ack being after `last_seq`, not equal to `last_end`",
        ignore_records_end: "an ignored packet stores `last_end`",
        reopen_rule: "when a SYN may reopen TIME_WAIT or CLOSE",
        close_init_bit: "the value of the CLOSE_INIT flag; 3 overlaps the flags WINDOW_SCALE and SACK_PERM",
        close_init_on_close: "CLOSE_INIT is also set on a change to CLOSE",
        accept_records_dir: "`last_dir` is stored for every accepted packet",
        rst_rule: "the rule for a RST that answers an ignored packet",
        zero_len_shortcut: "whether empty segments skip the sequence test",
        ack_low_bound_uses_sack: "the lower bound of the acknowledgement uses the SACK edge",
        unack: "the unacknowledged timer exists",
        maxack_rst_check: "a RST below the peer's highest acknowledgement is INVALID",
        history_by_end: "a direction without history is one with `td_end == 0`, not one with `td_maxwin == 0`",
        reply_maxwin_seed: "`td_maxwin` of the reply side of a new entry",
        midstream_scaled: "mid-stream initialisation scales the window and seeds an empty receiver from the ack",
        midstream_scaled_win_sticks: "that scaled window stays for the rest of the call",
        resync: "a SYN/ACK for an ignored SYN restarts the entry in SYN_RECV; otherwise it is dropped and the entry killed",
        recv_maxwin_guard: "the receiver's `td_maxwin` grows from overshoot only if it is not zero",
        zero_recvwin_skips_low_bound: "the lower sequence bound holds while the receiver's `td_maxwin` is zero",
        unreplied_established_cap: "ESTABLISHED without a reply is capped to the unacknowledged timer",
        last_ack_challenge: "a challenge ACK in LAST_ACK is recognised",
        zero_window_cap: "a last window of zero caps to the `max_retrans` timer",
        last_win_raw: "`last_win` keeps the raw header value; otherwise the scaled value cut to 16 bits",
        simultaneous_open: "a simultaneous open can complete",
        rst_exact: "a RST must match exactly to change an assured ESTABLISHED entry; every RST uses the CLOSE timer",
        keepalive_midstream: "a pick-up by a keepalive probe is recognised",
        rst_after_close_skips_checks: "closing states accept any RST; the highest-ack test is skipped after a SYN and for sequence 0",
        ignore_invalid_rst_sysctl: "`tcp_ignore_invalid_rst` works",
        syn_retransmit_no_refresh: "a SYN repeated in SYN_SENT without a reply does not renew the timer",
        reinit_rule: "when a direction with history is initialised again",
        options_keep_liberal: "BE_LIBERAL survives option parsing and resynchronisation",
        split_window_verdict: "6.1: segments below the window are ignored, overshoot updates `td_end`",
        overshoot_updates_but_invalid: "5.15 longterm: overshoot updates `td_end` and stays INVALID",
        syn_sent_challenge_rst: "a RST that answers a challenge ACK in SYN_SENT skips the window test",
        scale_cleared_on_reply_only: "window scales are cleared at SYN initialisation for the reply direction only",
        rst_to_syn_needs_other_dir: "the RST-answers-an-ignored-SYN rule also wants the other direction",
        inexact_rst_unacknowledged: "a RST that keeps ESTABLISHED sets the unacknowledged timer, not that of CLOSE",
        expiry: "how an entry's end is found",
        gc: "the garbage collector",
        gc_early_drop: "the collector may kill closing entries above 95 % load",
        early_drop: "who is evicted from a full table",
        hash_sizing: "default table sizes",
        chain_limit: "the random limit of a chain's length, smallest and largest",
        max_at_least_one: "`nf_conntrack_max` is at least 1; otherwise 0 means no limit",
        udp_5_0: "UDP stream timer 120 s and the two-second rule; otherwise 180 s at once",
        udp_assured_stream_only: "UDP is ASSURED only when the stream timer was used",
        nat_port_search: "how NAT looks for a port",
        reject_tcp_reset_closes_entry: "REJECT with tcp-reset closes the entry",
        timeout_policies: "timeout policies can be attached to an entry",
        flow_offload: "flows can be offloaded",
        compat_ip_conntrack_sysctls: "the old `ip_conntrack_*` names exist",
        timeouts: "which timers there are",
        tcp_loose_default: "the default of `tcp_loose`: a packet count up to 2.6.20, a switch later",
    });
    changes
}

/// What changed in IPVS between two rows.
pub(super) fn ipvs(before: &vs::Dialect, now: &vs::Dialect) -> Vec<Change> {
    let cells = |b: &crate::model::ipvs::transitions::Transitions, n: &crate::model::ipvs::transitions::Transitions| {
        b.iter().flatten().flatten().zip(n.iter().flatten().flatten()).filter(|(b, n)| b != n).count()
    };
    let mut changes = table("transitions", "the table of state transitions", cells(before.transitions, now.transitions));
    let secure = cells(before.dos_transitions, now.dos_transitions);
    changes.extend(table("dos_transitions", "the table of state transitions under secure_tcp", secure));
    changes.extend(compare! { vs::Dialect, before, now, besides name releases transitions dos_transitions;
        notrack_spares_invalid: "untracking a packet leaves an INVALID one as it is, so that conntrack looks at it again",
        dos_timeouts: "under `secure_tcp`, new entries get shorter timers for life",
        wheel: "timers sit in the wheel of 4.8: up to an eighth late",
        half_open_is_active: "SYN_SENT, SYN_RECV and SYNACK count as active connections too",
        sloppy_tcp: "`sloppy_tcp` exists, and a RST never schedules",
        reuse: "what a SYN does to a closing entry",
        weight0: "what a SYN does to an entry of a server with weight 0",
        nodest_reschedules: "`expire_nodest_conn` lets the packet be scheduled anew instead of dropping it",
        nodest_flush_on_delete: "deleting a server flushes its entries (with `expire_nodest_conn`)",
        icmp_restarts_timer: "an ICMP error restarts the timer",
        sees_direct_replies: "replies of DR and TUN servers that cross the director are recognised",
        conntrack_sysctl: "`net.ipv4.vs.conntrack` and one-packet scheduling exist",
        localnode_auto: "a real server on the director is turned into a local node",
        hooks_removed_with_last_service: "the hooks vanish with the last service",
        entry_bytes: "bytes of one entry on x86-64, rounded to its slab; 0 where nobody computed it",
        amemthresh: "default `amemthresh`, pages",
        drop_scan: "which buckets `drop_entry` looks at in a tick",
        drop_templates: "which persistence templates `drop_entry` takes",
    });
    changes
}

fn table(flag: &'static str, meaning: &'static str, cells: usize) -> Vec<Change> {
    let now = match cells {
        0 => return Vec::new(),
        1 => "1 cell differs".to_owned(),
        more => format!("{more} cells differ"),
    };
    vec![Change { flag, meaning, before: String::new(), now }]
}

/// A flag's value in words: yes and no, `as of 5.18` for what is named after a release, `8 to 31` for a range.
fn word(value: &dyn Debug) -> String {
    let text = format!("{value:?}");
    let release = text.strip_prefix('V').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let range = text.strip_prefix("Some((").and_then(|rest| rest.strip_suffix("))"));
    match (text.as_str(), release) {
        ("None", _) => "none".to_owned(),
        _ if range.is_some() => range.unwrap_or_default().replace(", ", " to "),
        ("true", _) => "yes".to_owned(),
        ("false", _) => "no".to_owned(),
        (_, Some(release)) => format!("as of {}", release.replace('_', ".")),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_row_continues_its_own_tree_or_the_mainline_series() {
        for (row, before) in [
            ("linux-2.4", None),
            ("linux-6.1", Some("linux-5.18")),
            ("longterm-6.1.158", Some("linux-6.1")),
            ("longterm-5.15.85", Some("longterm-5.15.55")),
            ("el7-3.10.0-1127", Some("linux-3.6")),
            ("el8.3-4.18.0-240", Some("el8.1-4.18.0-147")),
            ("longterm-6.12.117", Some("linux-6.8")),
        ] {
            let found = ct::Dialect::find(row).and_then(conntrack_before).map(|d| d.name);
            assert_eq!(found, before, "{row}");
        }
    }

    #[test]
    fn rows_that_differ_by_two_flags_show_two_changes() {
        let [before, now] = ["linux-6.8", "longterm-6.12.117"].map(|name| ct::Dialect::find(name).expect("the row exists"));
        let flags: Vec<&str> = conntrack(before, now).iter().map(|change| change.flag).collect();
        assert_eq!(flags, ["rst_to_syn_needs_other_dir", "inexact_rst_unacknowledged"]);
    }
}
