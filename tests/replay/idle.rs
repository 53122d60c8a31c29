//! Dialogues through boxes that are known by their timers alone.

use crate::capture::{Ends, both_sides};

#[test]
fn presets() {
    both_sides(
        Ends::number(1),
        &[
            (
                "aws-nlb",
                "open c10 s20 c @ c10",
                350,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; established of aws-nlb = 351; keepalive 333",
            ),
            (
                "aws-nlb",
                "open c10 s20 c @ s10",
                350,
                "cut 0.ESTABLISHED #7 data from server, reset by the box; hang/reset; established of aws-nlb = 351; keepalive 333",
            ),
            (
                "aws-nlb",
                "open c10 s20 c @ ck",
                350,
                "cut 0.ESTABLISHED #7 keepalive probe from client, reset by the box; reset/hang; established of aws-nlb = 351; keepalive 333",
            ),
            (
                "aws-nlb:established=600",
                "open c10 s20 c @ c10",
                600,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; established of aws-nlb = 601; keepalive 583",
            ),
            (
                "azure-lb-default",
                "open c10 s20 c @ c10",
                240,
                "cut 0.ESTABLISHED #7 data from client, dropped as unknown; timeout/hang; established of azure-lb-default = 241; keepalive 223",
            ),
            (
                "azure-lb-tcp-reset",
                "open c10 s20 c @ c10",
                240,
                "cut 0.ESTABLISHED #7 data from client, dropped as unknown; reset/reset; established of azure-lb-tcp-reset = 241; keepalive 223",
            ),
            (
                "gcp-cloud-nat",
                "open c10 s20 c @ c10",
                1200,
                "cut 0.ESTABLISHED #7 data from client, dropped as unknown; timeout/hang; established of gcp-cloud-nat = 1201; keepalive 1068",
            ),
            (
                "gcp-cloud-nat",
                "open c10 s20 cf s c @ s",
                30,
                "cut 0.CLOSE_WAIT #9 ACK from server, dropped as unknown; hang/hang; close_wait of gcp-cloud-nat = 31; keepalive 27",
            ),
            (
                "aws-alb",
                "open c10 s20 @ c10",
                60,
                "cut 0.ESTABLISHED #6 data from client, reset by the box; reset/hang; established of aws-alb = 61",
            ),
            (
                "aws-alb",
                "open c10 s20 +0 c @ c10",
                60,
                "cut 0.ESTABLISHED #7 data from client, reset by the box; reset/hang; established of aws-alb = 61",
            ),
            (
                "idle:established=100,on_stray=repickup",
                "open c10 s20 c @ c10",
                100,
                "repaired 0.ESTABLISHED #7 data from client, picked up again",
            ),
        ],
    );
}
