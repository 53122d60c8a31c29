//! Synchronisation of a director's connections with its backup: which packets make the master send a record, and what the
//! backup knows when it takes over.
//!
//! Source: `ip_vs_sync_conn_needed`, `ip_vs_proc_conn` (`net/netfilter/ipvs/ip_vs_sync.c`, 3.5 to 7.1); the spec's ipvs.md
//! section 9. Records arrive at once; messages that are lost on the way are not modelled.

use crate::model::ipvs::conn::Conn;
use crate::model::ipvs::state::State;
use crate::time::{Duration, Instant};

/// The settings of synchronisation (`net.ipv4.vs.sync_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sync {
    /// `sync_threshold`, first number: after how many packets from the client.
    pub threshold: u32,
    /// `sync_threshold`, second number: and then every so many; 0: not by packets.
    pub period: u32,
    /// `sync_refresh_period`: not more often than this while the timer changes less; zero: off.
    pub refresh_period: Duration,
    /// `sync_retries`: how many records within that period nevertheless.
    pub retries: u8,
}

impl Default for Sync {
    fn default() -> Sync {
        Sync { threshold: 3, period: 50, refresh_period: Duration::ZERO, retries: 0 }
    }
}

/// What the master remembers of its records for one connection, and what the backup has.
#[derive(Clone, Copy, Debug)]
pub struct Synced {
    /// The state at the last decision (`old_state`).
    old_state: State,
    /// The end of the timer that was last sent (`sync_endtime`), and how many records repeated it.
    end: Instant,
    retries: u8,
    /// The backup's copy.
    pub copy: Option<Conn>,
}

impl Default for Synced {
    fn default() -> Synced {
        Synced { old_state: State::None, end: Instant::ZERO, retries: 0, copy: None }
    }
}

const STATES: [State; 5] = [State::Established, State::FinWait, State::Close, State::CloseWait, State::TimeWait];

impl Synced {
    /// A packet passed the master: sends a record to the backup if the rules say so.
    pub fn packet(&mut self, sync: &Sync, conn: &Conn, now: Instant) {
        if self.needed(sync, conn, now) {
            // The backup's copy starts its timer when the record comes; it counts as having seen the threshold's packets.
            self.copy = Some(Conn { refreshed: now, in_pkts: sync.threshold, ..*conn });
        }
    }

    fn needed(&mut self, sync: &Sync, conn: &Conn, now: Instant) -> bool {
        if !STATES.contains(&conn.state) {
            return false;
        }
        let changed = conn.state != self.old_state;
        let end = now + conn.timeout;
        let mut retries = 0;
        if !(changed && conn.state != State::Established) {
            if sync.refresh_period > Duration::ZERO {
                let difference = Duration(end.0.abs_diff(self.end.0));
                let least = Duration(conn.timeout.0 / 2).max(Duration::from_secs(10));
                if difference < sync.refresh_period.min(least) {
                    if self.retries >= sync.retries || now < (self.end - conn.timeout) + Duration(sync.refresh_period.0 / 8) {
                        return false;
                    }
                    retries = self.retries + 1;
                }
            }
            let pkts = conn.in_pkts;
            let by_count = match (sync.period, sync.refresh_period) {
                (0, Duration::ZERO) => pkts == sync.threshold,
                (0, _) => true,
                (period, _) => pkts % period == sync.threshold,
            };
            if !by_count {
                return false;
            }
        }
        self.old_state = conn.state;
        self.end = end;
        self.retries = retries;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ipvs::{Method, Settings, dialect};
    use crate::model::{End, Host, Tuple};

    fn conn(state: State, in_pkts: u32) -> Conn {
        let settings = Settings::defaults(dialect::Dialect::find(dialect::DEFAULT).expect("the default exists"), Method::Masq);
        let tuple = Tuple { src: End { host: Host(0), port: 1 }, dst: End { host: Host(1), port: 2 } };
        Conn { state, in_pkts, timeout: Duration::from_secs(900), ..Conn::new(&settings, tuple, tuple.dst, Instant::ZERO) }
    }

    /// "3 50": a record with the 3rd packet, the 53rd, the 103rd; a change of state out of ESTABLISHED always.
    #[test]
    fn the_default_rule_sends_few_records() {
        let sync = Sync::default();
        let mut synced = Synced::default();
        let mut sent = Vec::new();
        for pkts in 1..=110 {
            let before = synced.copy;
            synced.packet(&sync, &conn(State::Established, pkts), Instant::from_secs(u64::from(pkts)));
            if synced.copy != before {
                sent.push(pkts);
            }
        }
        assert_eq!(sent, [3, 53, 103]);
        synced.packet(&sync, &conn(State::FinWait, 111), Instant::from_secs(200));
        assert_eq!(synced.copy.map(|c| c.state), Some(State::FinWait));
    }

    #[test]
    fn with_a_refresh_period_and_no_packet_period_the_period_alone_decides() {
        let sync = Sync { period: 0, refresh_period: Duration::from_secs(60), ..Sync::default() };
        let mut synced = Synced::default();
        let mut sent = Vec::new();
        for second in 1..=200 {
            let before = synced.copy;
            synced.packet(&sync, &conn(State::Established, 20), Instant::from_secs(second));
            if synced.copy != before {
                sent.push(second);
            }
        }
        assert_eq!(sent, [1, 61, 121, 181]);
    }
}
