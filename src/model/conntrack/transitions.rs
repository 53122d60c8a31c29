//! The transition tables of every conntrack release, laid out as in the kernel: a row is a packet kind, a column the
//! state that the entry is in, a cell the next state.
//!
//! Sources: `tcp_conntracks[2][6][10]` in `net/netfilter/nf_conntrack_proto_tcp.c` (2.6.16 to 7.1) and
//! `ip_conntrack_proto_tcp.c` (2.4, 2.6.9 to 2.6.21); the spec's conntrack.md section 2. Data only: the code that walks
//! them is in `tracker.rs`.

use super::entry::State::{
    self, Close as CL, CloseWait as CW, Established as ES, FinWait as FW, Ignore as IG, Invalid as IV, LastAck as LA, SynRecv as SR,
    SynSent as SS, SynSent2 as S2, TimeWait as TW,
};

/// The last column of the sets before 2.6.31 and of 2.4 is LISTEN; it shares the number of SYN_SENT2.
const LI: State = S2;

/// Next states by direction (original, reply), packet kind (SYN, SYN/ACK, FIN, ACK, RST, none) and current state.
pub type Transitions = [[[State; 10]; 6]; 2];

/// 2.4.0 to 2.4.27. The kernel has one row for SYN and SYN/ACK and orders its columns NO ES SS SR FW TW CL CW LA LI; here they stand in the order of 2.6, the shared row twice.
#[rustfmt::skip]
pub static T24: Transitions = [
    [ // original: NO SS SR ES FW CW LA TW CL LI
        [SS, SS, SR, ES, SS, SS, SS, SS, SS, LI], // SYN
        [SS, SS, SR, ES, SS, SS, SS, SS, SS, LI], // SYNACK
        [TW, SS, TW, FW, FW, TW, LA, TW, CL, LI], // FIN
        [ES, SS, ES, ES, FW, CW, LA, TW, CL, ES], // ACK
        [CL, SS, CL, CL, CL, CL, CL, TW, CL, CL], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
    [ // reply: NO SS SR ES FW CW LA TW CL LI
        [SR, SR, SR, ES, SR, SR, SR, SR, SR, SR], // SYN
        [SR, SR, SR, ES, SR, SR, SR, SR, SR, SR], // SYNACK
        [CL, SS, TW, CW, TW, CW, LA, TW, CL, LI], // FIN
        [CL, SS, SR, ES, FW, CW, CL, TW, CL, LI], // ACK
        [CL, CL, CL, CL, CL, CL, LA, CL, CL, LI], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
];

/// 2.6.9.
#[rustfmt::skip]
pub static T26_9: Transitions = [
    [ // original: NO SS SR ES FW CW LA TW CL LI
        [SS, SS, IG, IG, IG, IG, IG, SS, SS, IV], // SYN
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, IV], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
    [ // reply: NO SS SR ES FW CW LA TW CL LI
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // SYN
        [IV, SR, SR, IG, IG, IG, IG, IG, IG, IV], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [IV, IV, IV, ES, CW, CW, TW, TW, CL, IV], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, IV], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
];

/// 2.6.11.
#[rustfmt::skip]
pub static T26_11: Transitions = [
    [ // original: NO SS SR ES FW CW LA TW CL LI
        [SS, SS, IG, IG, IG, IG, IG, SS, SS, IV], // SYN
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, IV], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
    [ // reply: NO SS SR ES FW CW LA TW CL LI
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // SYN
        [IV, SR, SR, IG, IG, IG, IG, IG, IG, IV], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [IV, IG, IV, ES, CW, CW, TW, TW, CL, IV], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, IV], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
];

/// 2.6.12.
#[rustfmt::skip]
pub static T26_12: Transitions = [
    [ // original: NO SS SR ES FW CW LA TW CL LI
        [SS, SS, IG, IG, IG, IG, IG, SS, SS, IV], // SYN
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, IV], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
    [ // reply: NO SS SR ES FW CW LA TW CL LI
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // SYN
        [IV, SR, SR, IG, IG, IG, IG, IG, IG, IV], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [IV, IV, SR, ES, CW, CW, TW, TW, CL, IV], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, IV], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
];

/// 2.6.16 to 2.6.30.
#[rustfmt::skip]
pub static T26_16: Transitions = [
    [ // original: NO SS SR ES FW CW LA TW CL LI
        [SS, SS, IG, IG, IG, IG, IG, SS, SS, IV], // SYN
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, IV], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
    [ // reply: NO SS SR ES FW CW LA TW CL LI
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // SYN
        [IV, SR, SR, IG, IG, IG, IG, IG, IG, IV], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [IV, IG, SR, ES, CW, CW, TW, TW, CL, IV], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, IV], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
];

/// 2.6.31 to 2.6.39.
#[rustfmt::skip]
pub static T26_31: Transitions = [
    [ // original: NO SS SR ES FW CW LA TW CL S2
        [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2], // SYN
        [IV, IV, IG, IG, IG, IG, IG, IG, IG, SR], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
    [ // reply: NO SS SR ES FW CW LA TW CL S2
        [IV, S2, IV, IV, IV, IV, IV, IV, IV, S2], // SYN
        [IV, SR, SR, IG, IG, IG, IG, IG, IG, SR], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
];

/// 3.0 to 3.5.
#[rustfmt::skip]
pub static T30: Transitions = [
    [ // original: NO SS SR ES FW CW LA TW CL S2
        [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2], // SYN
        [IV, IV, IG, IG, IG, IG, IG, IG, IG, SR], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
    [ // reply: NO SS SR ES FW CW LA TW CL S2
        [IV, S2, IV, IV, IV, IV, IV, IV, IV, S2], // SYN
        [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
];

/// 3.6 to 3.17, and longterm 3.0.101, 3.4.113, 3.10.105.
#[rustfmt::skip]
pub static T36: Transitions = [
    [ // original: NO SS SR ES FW CW LA TW CL S2
        [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2], // SYN
        [IV, IV, SR, IV, IV, IV, IV, IV, IV, SR], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
    [ // reply: NO SS SR ES FW CW LA TW CL S2
        [IV, S2, IV, IV, IV, IV, IV, IV, IV, S2], // SYN
        [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
];

/// 3.18 to 7.1, el7, el8.
#[rustfmt::skip]
pub static T318: Transitions = [
    [ // original: NO SS SR ES FW CW LA TW CL S2
        [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2], // SYN
        [IV, IV, SR, IV, IV, IV, IV, IV, IV, SR], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
    [ // reply: NO SS SR ES FW CW LA TW CL S2
        [IV, S2, IV, IV, IV, IV, IV, SS, IV, S2], // SYN
        [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR], // SYNACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // NONE
    ],
];
