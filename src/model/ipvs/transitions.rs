//! The IPVS transition tables, laid out as in the kernel: a row is a packet kind, a column the state that the entry is
//! in, a cell the next state.
//!
//! Sources: `tcp_states`, `tcp_states_dos` (`net/netfilter/ipvs/ip_vs_proto_tcp.c`, 3.14 to 7.1), `vs_tcp_states`,
//! `vs_tcp_states_dos` (`net/ipv4/ipvs/ip_vs_conn.c`, 2.4); the spec's ipvs.md section 4. Data only.

use super::state::State::{
    self, Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI, SynAck as SA, SynRecv as SR,
    SynSent as SS, TimeWait as TW,
};

/// Next states by table (input, output, input only), packet kind (SYN, FIN, ACK, RST) and current state.
pub type Transitions = [[[State; 11]; 4]; 3];

/// Normal, 2.4 to 3.10.
#[rustfmt::skip]
pub static T_OLD: Transitions = [
    [ // INPUT: NO ES SS SR FW TW CL CW LA LI SA
        [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR], // syn
        [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW], // fin
        [CL, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES], // ack
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR], // rst
    ],
    [ // OUTPUT: NO ES SS SR FW TW CL CW LA LI SA
        [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR], // syn
        [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW], // fin
        [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES], // ack
        [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL], // rst
    ],
    [ // INPUT_ONLY: NO ES SS SR FW TW CL CW LA LI SA
        [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR], // syn
        [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW], // fin
        [CL, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES], // ack
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL], // rst
    ],
];

/// Under `secure_tcp`, 2.4 to 3.10.
#[rustfmt::skip]
pub static T_OLD_DOS: Transitions = [
    [ // INPUT: NO ES SS SR FW TW CL CW LA LI SA
        [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA], // syn
        [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA], // fin
        [CL, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA], // ack
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL], // rst
    ],
    [ // OUTPUT: NO ES SS SR FW TW CL CW LA LI SA
        [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA], // syn
        [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW], // fin
        [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES], // ack
        [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL], // rst
    ],
    [ // INPUT_ONLY: NO ES SS SR FW TW CL CW LA LI SA
        [SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA], // syn
        [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW], // fin
        [CL, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES], // ack
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL], // rst
    ],
];

/// Normal, 3.14 to 7.1.
#[rustfmt::skip]
pub static T_NEW: Transitions = [
    [ // INPUT: NO ES SS SR FW TW CL CW LA LI SA
        [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR], // syn
        [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW], // fin
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES], // ack
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR], // rst
    ],
    [ // OUTPUT: NO ES SS SR FW TW CL CW LA LI SA
        [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR], // syn
        [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW], // fin
        [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES], // ack
        [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL], // rst
    ],
    [ // INPUT_ONLY: NO ES SS SR FW TW CL CW LA LI SA
        [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR], // syn
        [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW], // fin
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES], // ack
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL], // rst
    ],
];

/// Under `secure_tcp`, 3.14 to 7.1.
#[rustfmt::skip]
pub static T_NEW_DOS: Transitions = [
    [ // INPUT: NO ES SS SR FW TW CL CW LA LI SA
        [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA], // syn
        [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA], // fin
        [ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA], // ack
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL], // rst
    ],
    [ // OUTPUT: NO ES SS SR FW TW CL CW LA LI SA
        [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA], // syn
        [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW], // fin
        [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES], // ack
        [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL], // rst
    ],
    [ // INPUT_ONLY: NO ES SS SR FW TW CL CW LA LI SA
        [SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA], // syn
        [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW], // fin
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES], // ack
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL], // rst
    ],
];
