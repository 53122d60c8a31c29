//! Dialogues through an IPVS director.

use crate::capture::{Ends, both_sides};

#[test]
fn the_timers_of_a_director_and_what_follows_their_end() {
    both_sides(
        Ends::number(1),
        &[
            (
                "ipvs",
                "open c10 s20 c @ c10",
                900,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "ipvs",
                "open c10 s20 c @ s10",
                900,
                "cut 0.ESTABLISHED #7 data from server, leaked untranslated; hang/timeout; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "ipvs",
                "open c10 s20 c @ ck",
                900,
                "cut 0.ESTABLISHED #7 keepalive probe from client, reset by the box; reset/hang; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "ipvs",
                "open c10 s20 c @ cf",
                900,
                "cut 0.ESTABLISHED #7 FIN from client, reset by the box; reset/hang; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "ipvs",
                "open c10 s20 c @ cr",
                900,
                "cut 0.ESTABLISHED #7 RST from client, swallowed by the box; nothing/hang; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "ipvs",
                "open c10 s20 c @ sk",
                900,
                "cut 0.ESTABLISHED #7 keepalive probe from server, leaked untranslated; hang/keepalive-timeout; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "ipvs:nat_icmp_send=1",
                "open c10 s20 c @ s10",
                900,
                "cut 0.ESTABLISHED #7 data from server, answered with an ICMP error; hang/timeout; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "ipvs:dr",
                "open c10 s20 c @ c10",
                900,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "ipvs:dr",
                "open c10 s20 c @ s10 +0 c",
                900,
                "cut 0.ESTABLISHED #8 ACK from client, reset by the box; reset/hang; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "ipvs:tun",
                "open c10 s20 c @ c10",
                900,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "ipvs:tcp=600",
                "open c10 s20 c @ c10",
                600,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; ipvsadm --set 601 0 0; keepalive 583",
            ),
            (
                "ipvs:tcp=7200,tcpfin=30",
                "open c10 s20 c @ c10",
                7200,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; ipvsadm --set 7201 0 0; keepalive 7068",
            ),
        ],
    );
}

#[test]
fn half_closed_flows() {
    both_sides(
        Ends::number(1),
        &[
            (
                "ipvs",
                "open c10 s20 c cf s @ s5",
                60,
                "cut 0.CLOSE_WAIT #9 data from server, leaked untranslated; hang/timeout; no setting; keepalive 57",
            ),
            (
                "ipvs",
                "open c10 s20 sf c @ c5",
                120,
                "cut 0.FIN_WAIT #8 data from client, reset by the box; reset/hang; ipvsadm --set 0 121 0; keepalive 117",
            ),
            (
                "ipvs:dr",
                "open c10 s20 c cf +0 s @ c",
                120,
                "cut 0.FIN_WAIT #9 ACK from client, reset by the box; reset/hang; ipvsadm --set 0 121 0; keepalive 117",
            ),
            (
                "ipvs:dr,tcpfin=30",
                "open c10 s20 c cf +0 s @ c",
                30,
                "cut 0.FIN_WAIT #9 ACK from client, reset by the box; reset/hang; ipvsadm --set 0 31 0; keepalive 27",
            ),
            (
                "ipvs:tcp=3600",
                "open c10 s20 c cf s @ s5",
                60,
                "cut 0.CLOSE_WAIT #9 data from server, leaked untranslated; hang/timeout; no setting; keepalive 57",
            ),
        ],
    );
}

#[test]
fn half_open_flows() {
    both_sides(
        Ends::number(1),
        &[
            ("ipvs", "cS sS @ c", 60, "cut 0.SYN_RECV #3 ACK from client, reset by the box; reset/hang; no setting"),
            ("ipvs:dr", "cS +0 sS @ c", 60, "cut 0.SYN_RECV #3 ACK from client, reset by the box; reset/hang; no setting"),
            ("ipvs:dr,secure_tcp=3", "cS +0 sS @ c", 120, "cut 0.SYNACK #3 ACK from client, reset by the box; reset/hang; no setting"),
            ("ipvs:dr,secure_tcp=2", "cS +0 sS @ c", 60, "cut 0.SYN_RECV #3 ACK from client, reset by the box; reset/hang; no setting"),
        ],
    );
}

#[test]
fn secure_tcp_shortens_timers_in_2_4_only() {
    both_sides(
        Ends::number(1),
        &[
            (
                "ipvs:secure_tcp=3,dialect=linux-2.4",
                "open c10 s20 c @ c10",
                480,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; sysctl -w net.ipv4.vs.timeout_established=481; keepalive 463",
            ),
            (
                "ipvs:secure_tcp=3,dialect=linux-2.4,tcp=3600",
                "open c10 s20 c @ c10",
                480,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; sysctl -w net.ipv4.vs.timeout_established=481; keepalive 463",
            ),
            (
                "ipvs:secure_tcp=3,dialect=linux-2.4,dos_established=1200",
                "open c10 s20 c @ c10",
                1200,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; sysctl -w net.ipv4.vs.timeout_established=1201; keepalive 1068",
            ),
            (
                "ipvs:dialect=linux-2.4",
                "open c10 s20 c @ c10",
                900,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "ipvs:secure_tcp=3",
                "open c10 s20 c @ c10",
                900,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "ipvs:secure_tcp=3,dialect=linux-6.1",
                "open c10 s20 c @ c10",
                900,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; ipvsadm --set 901 0 0; keepalive 883",
            ),
        ],
    );
}

#[test]
fn sloppy_tcp_takes_a_flow_up_again_from_the_client_only() {
    both_sides(
        Ends::number(1),
        &[
            ("ipvs:sloppy_tcp=1", "open c10 s20 c @ c10", 900, "repaired 0.ESTABLISHED #7 data from client, picked up again"),
            ("ipvs:dr,sloppy_tcp=1", "open c10 s20 c @ c10", 900, "repaired 0.ESTABLISHED #7 data from client, picked up again"),
            (
                "ipvs:sloppy_tcp=1",
                "open c10 s20 c @ s10",
                900,
                "cut 0.ESTABLISHED #7 data from server, leaked untranslated; hang/timeout; ipvsadm --set 901 0 0; keepalive 883",
            ),
            (
                "ipvs:sloppy_tcp=1",
                "open c10 s20 c @ cr",
                900,
                "cut 0.ESTABLISHED #7 RST from client, swallowed by the box; nothing/hang; ipvsadm --set 901 0 0; keepalive 883",
            ),
        ],
    );
}

#[test]
fn udp_has_one_timer() {
    both_sides(
        Ends::number(1).udp(),
        &[
            ("ipvs", "c10 @ s10", 300, "cut 0.UDP #2 datagram from server, leaked untranslated; hang/lost; ipvsadm --set 0 0 301"),
            ("ipvs", "c10 s10 @ c10", 300, "repaired 0.UDP #3 datagram from client, picked up again"),
            ("ipvs:udp=10", "c10 s10 @ s10", 10, "cut 0.UDP #3 datagram from server, leaked untranslated; hang/lost; ipvsadm --set 0 0 11"),
        ],
    );
}
