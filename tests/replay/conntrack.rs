//! Dialogues through a router with connection tracking.

use crate::capture::{Ends, both_sides};

#[test]
fn the_timers_of_the_states() {
    both_sides(
        Ends::number(1),
        &[
            (
                "conntrack:strict",
                "open c10 s20 c @ c10",
                432_000,
                "cut 0.ESTABLISHED #7 data from client, dropped as NEW without SYN; timeout/hang; ct:tcp_timeout_established=432001; keepalive 423611",
            ),
            (
                "conntrack:strict,established=3600",
                "open c10 s20 c @ s10",
                3600,
                "cut 0.ESTABLISHED #7 data from server, dropped as NEW without SYN; hang/timeout; ct:tcp_timeout_established=3601; keepalive 3468",
            ),
            (
                "conntrack:strict",
                "cS @ sS",
                120,
                "cut 0.SYN_SENT #2 SYN from server, dropped as INVALID; timeout/nothing; ct:tcp_timeout_syn_sent=121",
            ),
            (
                "conntrack:strict",
                "cS sS @ c",
                60,
                "cut 0.SYN_RECV #3 ACK from client, dropped as NEW without SYN; hang/hang; ct:tcp_timeout_syn_recv=61",
            ),
            (
                "conntrack:strict",
                "open c10 s20 c cf @ s",
                120,
                "cut 0.FIN_WAIT #8 ACK from server, dropped as NEW without SYN; hang/hang; ct:tcp_timeout_fin_wait=121; keepalive 117",
            ),
            (
                "conntrack:strict",
                "open c10 s20 c cf s @ s5",
                60,
                "cut 0.CLOSE_WAIT #9 data from server, dropped as NEW without SYN; hang/timeout; ct:tcp_timeout_close_wait=61; keepalive 57",
            ),
            (
                "conntrack:strict",
                "open c10 s20 c cf s c +0 c @ s5",
                60,
                "cut 0.CLOSE_WAIT #11 data from server, dropped as NEW without SYN; hang/timeout; ct:tcp_timeout_close_wait=61; keepalive 57",
            ),
            (
                "conntrack:strict,dialect=linux-2.4",
                "open c10 s20 c @ c10",
                432_000,
                "cut 0.ESTABLISHED #7 data from client, dropped as NEW without SYN; timeout/hang; sysctl -w net.ipv4.netfilter.ip_conntrack_tcp_timeout_established=432001; keepalive 423611",
            ),
            (
                "conntrack:strict,dialect=linux-2.4",
                "open c10 @ s10",
                432_000,
                "cut 0.ESTABLISHED #5 data from server, dropped as NEW without SYN; hang/timeout; sysctl -w net.ipv4.netfilter.ip_conntrack_tcp_timeout_established=432001; keepalive 423611",
            ),
            (
                "conntrack:strict,dialect=linux-2.6.9",
                "open c10 @ s10",
                432_000,
                "cut 0.ESTABLISHED #5 data from server, dropped as NEW without SYN; hang/timeout; sysctl -w net.ipv4.netfilter.ip_conntrack_tcp_timeout_established=432001; keepalive 423611",
            ),
        ],
    );
}

#[test]
fn what_shortens_the_life_of_an_established_entry() {
    both_sides(
        Ends::number(1),
        &[
            (
                "conntrack:strict",
                "open c10 s20 c c10 @ s20",
                300,
                "cut 0.ESTABLISHED/unacknowledged #8 data from server, dropped as NEW without SYN; hang/timeout; ct:tcp_timeout_unacknowledged=301",
            ),
            (
                "conntrack:strict",
                "open c10 s20 @ c10",
                300,
                "cut 0.ESTABLISHED/unacknowledged #6 data from client, dropped as NEW without SYN; timeout/hang; ct:tcp_timeout_unacknowledged=301",
            ),
            (
                "conntrack:strict,unacknowledged=900",
                "open c10 s20 @ c10",
                900,
                "cut 0.ESTABLISHED/unacknowledged #6 data from client, dropped as NEW without SYN; timeout/hang; ct:tcp_timeout_unacknowledged=901",
            ),
            (
                "conntrack:strict",
                "open c10 s20 c sk +75 retry +75 retry +75 retry @ c10",
                300,
                "cut 0.ESTABLISHED/max_retrans #11 data from client, dropped as NEW without SYN; timeout/hang; ct:tcp_timeout_max_retrans=301",
            ),
            (
                "conntrack:strict,timeout_max_retrans=500",
                "open c10 s20 c sk +75 retry +75 retry +75 retry @ c10",
                500,
                "cut 0.ESTABLISHED/max_retrans #11 data from client, dropped as NEW without SYN; timeout/hang; ct:tcp_timeout_max_retrans=501",
            ),
            (
                "conntrack:strict,max_retrans=2",
                "open c10 s20 c sk +75 retry +75 retry @ c10",
                300,
                "cut 0.ESTABLISHED/max_retrans #10 data from client, dropped as NEW without SYN; timeout/hang; ct:tcp_timeout_max_retrans=301",
            ),
            (
                "conntrack:strict",
                "open c10 s20 c sk +75 retry +75 retry @ c10",
                432_000,
                "cut 0.ESTABLISHED #10 data from client, dropped as NEW without SYN; timeout/hang; ct:tcp_timeout_established=432001; keepalive 423611",
            ),
            (
                "conntrack:strict",
                "open c10 s20 c +60 sk c +60 sk c +60 sk c +60 sk c @ c10",
                432_000,
                "cut 0.ESTABLISHED #15 data from client, dropped as NEW without SYN; timeout/hang; ct:tcp_timeout_established=432001; keepalive 423611",
            ),
            (
                "conntrack:strict",
                "open c10 s20 cz @ c",
                300,
                "cut 0.ESTABLISHED/max_retrans #7 ACK from client, dropped as NEW without SYN; hang/hang; ct:tcp_timeout_max_retrans=301",
            ),
            (
                "conntrack:strict,dialect=linux-4.14",
                "open c10 s20 cz @ c",
                432_000,
                "cut 0.ESTABLISHED #7 ACK from client, dropped as NEW without SYN; hang/hang; ct:tcp_timeout_established=432001; keepalive 423611",
            ),
        ],
    );
}

#[test]
fn what_becomes_of_a_stray_packet() {
    both_sides(
        Ends::number(1),
        &[
            ("conntrack:established=600", "open c10 s20 c @ c10", 600, "repaired 0.ESTABLISHED #7 data from client, picked up again"),
            ("conntrack:established=600", "open c10 s20 c @ s10", 600, "repaired 0.ESTABLISHED #7 data from server, picked up again"),
            (
                "conntrack:established=600,drop-invalid",
                "open c10 s20 c @ c10",
                600,
                "repaired 0.ESTABLISHED #7 data from client, picked up again",
            ),
            (
                "conntrack:established=600,drop-invalid",
                "open c10 s20 c @ cf",
                600,
                "cut 0.ESTABLISHED #7 FIN from client, dropped as INVALID; timeout/hang; ct:tcp_timeout_established=601; keepalive 583",
            ),
            (
                "conntrack:established=600,drop-invalid,loose=0",
                "open c10 s20 c @ c10",
                600,
                "cut 0.ESTABLISHED #7 data from client, dropped as INVALID; timeout/hang; ct:tcp_timeout_established=601; keepalive 583",
            ),
            (
                "conntrack:established=600,drop-invalid,loose=0",
                "open c10 s20 c @ sk",
                600,
                "cut 0.ESTABLISHED #7 keepalive probe from server, dropped as INVALID; hang/keepalive-timeout; ct:tcp_timeout_established=601; keepalive 583",
            ),
            (
                "conntrack:established=600,strict",
                "open c10 s20 c @ ck",
                600,
                "cut 0.ESTABLISHED #7 keepalive probe from client, dropped as NEW without SYN; keepalive-timeout/hang; ct:tcp_timeout_established=601; keepalive 583",
            ),
            (
                "conntrack:established=600,masquerade",
                "open c10 s20 c @ c10",
                600,
                "repaired 0.ESTABLISHED #7 data from client, picked up again",
            ),
            (
                "conntrack:established=600,masquerade",
                "open c10 s20 c @ s10",
                600,
                "cut 0.ESTABLISHED #7 data from server, reset by the box; hang/reset; ct:tcp_timeout_established=601; keepalive 583",
            ),
            (
                "conntrack:established=600,masquerade,input=drop",
                "open c10 s20 c @ s10",
                600,
                "cut 0.ESTABLISHED #7 data from server, swallowed by the box; hang/timeout; ct:tcp_timeout_established=601; keepalive 583",
            ),
            (
                "conntrack:established=600,masquerade,loose=0",
                "open c10 s20 c @ c10",
                600,
                "cut 0.ESTABLISHED #7 data from client, leaked untranslated; timeout/hang; ct:tcp_timeout_established=601; keepalive 583",
            ),
            ("conntrack:established=600,dnat", "open c10 s20 c @ c10", 600, "repaired 0.ESTABLISHED #7 data from client, picked up again"),
            (
                "conntrack:established=600,dnat",
                "open c10 s20 c @ s10",
                600,
                "cut 0.ESTABLISHED #7 data from server, leaked untranslated; hang/timeout; ct:tcp_timeout_established=601; keepalive 583",
            ),
            (
                "conntrack:established=600,dnat,loose=0",
                "open c10 s20 c @ c10",
                600,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; ct:tcp_timeout_established=601; keepalive 583",
            ),
        ],
    );
}

#[test]
fn udp_is_unreplied_until_both_have_spoken_for_two_seconds() {
    both_sides(
        Ends::number(1).udp(),
        &[
            (
                "conntrack:masquerade",
                "c10 @ s10",
                30,
                "cut 0.UNREPLIED/udp #2 datagram from server, answered with an ICMP error; hang/lost; ct:udp_timeout=31",
            ),
            (
                "conntrack:masquerade",
                "c10 s10 @ s10",
                30,
                "cut 0.UNREPLIED/udp #3 datagram from server, answered with an ICMP error; hang/lost; ct:udp_timeout=31",
            ),
            (
                "conntrack:masquerade",
                "c10 s10 +3 c10 @ s10",
                120,
                "cut 0.REPLIED/udp_stream #4 datagram from server, answered with an ICMP error; hang/lost; ct:udp_timeout_stream=121",
            ),
            (
                "conntrack:masquerade,dialect=linux-4.18",
                "c10 s10 c10 @ s10",
                180,
                "cut 0.REPLIED/udp_stream #4 datagram from server, answered with an ICMP error; hang/lost; ct:udp_timeout_stream=181",
            ),
            ("conntrack:masquerade", "c10 s10 +3 c10 @ c10", 120, "repaired 0.REPLIED/udp_stream #4 datagram from client, picked up again"),
        ],
    );
}

#[test]
fn a_reset_that_does_not_match_leaves_ten_seconds() {
    both_sides(
        Ends::number(1),
        &[(
            "conntrack:strict",
            "open c10 s20 c sr+5 @ c10",
            10,
            "cut 0.ESTABLISHED/close #8 data from client, dropped as NEW without SYN; timeout/hang; ct:tcp_timeout_close=11",
        )],
    );
}
