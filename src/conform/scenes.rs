//! Scenarios for two sockets with a box between them, drawn from a seed: what the box is, what the hosts have set, and who does
//! what when.
//!
//! Pure: nothing here opens sockets or knows a kernel, and nothing knows how the model would answer. As JSON a scenario is the
//! first half of a line of a `dialogues` recording.

use crate::model::Side;
use crate::rng::Rng;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// One scenario.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Scene {
    /// Its name: the seed, its number, the box.
    pub id: String,
    /// What stands between the hosts.
    #[serde(rename = "box")]
    pub middle: Middle,
    /// The host that opens the connection.
    pub client: Host,
    /// The host that accepts it.
    pub server: Host,
    /// What is done, in the order of its times.
    pub script: Vec<Line>,
    /// How long it is watched, in milliseconds.
    #[serde(rename = "run_s", serialize_with = "seconds")]
    pub run_ms: u64,
}

/// A box.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Middle {
    /// `conntrack` or `ipvs`.
    pub kind: &'static str,
    /// IPVS: `nat` or `dr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<&'static str>,
    /// IPVS: what `ipvsadm --set` sets, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<[u64; 3]>,
    /// Its settings.
    pub sysctl: BTreeMap<String, u64>,
    /// Conntrack: `masquerade` or `dnat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nat: Option<&'static str>,
    /// Conntrack: the rules of its FORWARD chain.
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    pub rules: &'static [&'static str],
}

/// What a host and its application have set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Host {
    /// The host's settings.
    pub sysctl: BTreeMap<String, u64>,
    /// Idle time and interval in seconds, and how many probes; none: no keepalive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<[u32; 3]>,
    /// The socket's user timeout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_timeout_ms: Option<u32>,
    /// What it does when the peer has closed: `close` or `keep`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_eof: Option<&'static str>,
}

/// One line of a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Line {
    /// When, in milliseconds from the start.
    #[serde(rename = "t", serialize_with = "seconds")]
    pub at_ms: u64,
    /// Who.
    #[serde(serialize_with = "who")]
    pub who: Side,
    /// What.
    #[serde(flatten)]
    pub act: Act,
}

/// What an application does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Act {
    /// It sends.
    Send {
        /// So many bytes.
        len: u32,
    },
    /// It closes its sending direction.
    Close,
    /// It closes with a reset.
    Abort,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn seconds<S: Serializer>(ms: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(*ms as f64 / 1000.0)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn who<S: Serializer>(side: &Side, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(side.name())
}

const OTHERS: &str = "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT";
/// A firewall that lets in what belongs to something, and SYNs.
const STRICT: &[&str] = &[OTHERS, "-p tcp --syn -m conntrack --ctstate NEW -j ACCEPT", "-j DROP"];
/// A firewall that only drops what conntrack cannot place.
const DROP_INVALID: &[&str] = &["-m conntrack --ctstate INVALID -j DROP"];

/// The last moment at which an exchange may begin.
const EXCHANGES_UNTIL_MS: u64 = 24_000;
/// For so long a scene is watched after its last line: most retransmissions have been given up by then.
const AFTERMATH_MS: u64 = 22_500;
/// The longest that a scene is watched.
const RUN_MAX_MS: u64 = 45_000;

/// The scene of a number; the same for the same seed. Without `ipvs` all boxes are conntrack's.
pub fn scene(seed: u64, number: u64, ipvs: bool) -> Scene {
    let mut draft = Draft { rng: Rng::keyed(seed, number), established_s: 0, fin_s: 0, script: Vec::new() };
    let (kind, middle) = draft.middle(ipvs);
    let (mut client, mut server) = (draft.host(), draft.host());
    let count = *draft.rng.pick(&[1, 1, 2, 2, 3, 4, 5]);
    let at = draft.exchanges(count);
    match draft.rng.below(100) {
        0..5 => {
            let who = *draft.rng.pick(&[Side::Client, Side::Server]);
            draft.add(at, who, Act::Abort);
        }
        5..30 => draft.closing(at, &mut client, &mut server),
        _ => {}
    }
    let mut script = draft.script;
    script.sort_by_key(|line| line.at_ms);
    let last = script.last().map_or(0, |line| line.at_ms);
    Scene { id: format!("{seed}-{number:03}-{kind}"), middle, client, server, script, run_ms: (last + AFTERMATH_MS).min(RUN_MAX_MS) }
}

/// A scene in the making.
struct Draft {
    rng: Rng,
    /// The box's timers for an established connection and for one that is closing.
    established_s: u64,
    fin_s: u64,
    script: Vec<Line>,
}

impl Draft {
    fn middle(&mut self, ipvs: bool) -> (&'static str, Middle) {
        let kinds = [(13, "masquerade"), (10, "firewall"), (6, "dnat"), (18, "ipvs-dr"), (13, "ipvs-nat")];
        let kind = self.rng.weighted(if ipvs { &kinds } else { &kinds[..3] });
        let rng = &mut self.rng;
        self.established_s = *rng.pick(&[3, 4, 5, 6, 8]);
        self.fin_s = *rng.pick(&[2, 3, 3, 4]);
        let mut sysctl = BTreeMap::new();
        if let Some(forward) = kind.strip_prefix("ipvs-") {
            if rng.chance(38) {
                sysctl.insert("net.ipv4.vs.secure_tcp".to_owned(), 3);
            }
            if rng.chance(12) {
                sysctl.insert("net.ipv4.vs.sloppy_tcp".to_owned(), 1);
            }
            let set = Some([self.established_s, self.fin_s, 300]);
            return (kind, Middle { kind: "ipvs", forward: Some(forward), set, sysctl, nat: None, rules: &[] });
        }
        let timers = [
            ("established", self.established_s),
            ("fin_wait", self.fin_s),
            ("close_wait", *rng.pick(&[2, 4, 4])),
            ("time_wait", self.fin_s),
            ("last_ack", 2),
            ("unacknowledged", *rng.pick(&[3, 300])),
            ("max_retrans", *rng.pick(&[3, 300])),
        ];
        sysctl.extend(timers.map(|(timer, value)| (format!("net.netfilter.nf_conntrack_tcp_timeout_{timer}"), value)));
        if rng.chance(45) {
            sysctl.insert("net.netfilter.nf_conntrack_tcp_loose".to_owned(), 0);
        }
        let rules = match kind {
            "firewall" if rng.chance(80) => STRICT,
            "firewall" => DROP_INVALID,
            _ if rng.chance(37) => DROP_INVALID,
            _ => &[],
        };
        let nat = (kind != "firewall").then_some(kind);
        (kind, Middle { kind: "conntrack", forward: None, set: None, sysctl, nat, rules })
    }

    fn host(&mut self) -> Host {
        let rng = &mut self.rng;
        let sysctl = BTreeMap::from([("net.ipv4.tcp_retries2".to_owned(), *rng.pick(&[3, 4, 5]))]);
        let keepalive = rng.chance(35).then(|| [*rng.pick(&[2, 3, 5, 7, 9]), *rng.pick(&[1, 2]), *rng.pick(&[2, 3])]);
        let user_timeout_ms = rng.chance(24).then(|| *rng.pick(&[2500, 4500]));
        Host { sysctl, keepalive, user_timeout_ms, on_eof: None }
    }

    fn add(&mut self, at_ms: u64, who: Side, act: Act) {
        self.script.push(Line { at_ms, who, act });
    }

    /// Requests, some with an answer, and pauses that are shorter or longer than the box's timer. Says when it goes on.
    fn exchanges(&mut self, count: usize) -> u64 {
        let established = self.established_s * 1000;
        let longer = established + 1500;
        let pauses = [400, 1400, 1400, established - 1500, longer, longer, longer, 2 * established + 1500];
        let mut at = 500;
        for _ in 0..count {
            let who = *self.rng.pick(&[Side::Client, Side::Client, Side::Server]);
            let len = *self.rng.pick(&[1, 48, 48, 1000]);
            self.add(at, who, Act::Send { len });
            let mut last = at;
            if self.rng.chance(50) {
                let len = *self.rng.pick(&[1, 48, 48, 5000]);
                last += 100;
                self.add(last, who.opposite(), Act::Send { len });
            }
            let pause = *self.rng.pick(&pauses);
            if last + pause > EXCHANGES_UNTIL_MS {
                break;
            }
            at = last + pause;
        }
        at
    }

    /// One side closes; the other closes too, or goes on for a while first.
    fn closing(&mut self, mut at: u64, client: &mut Host, server: &mut Host) {
        let first = *self.rng.pick(&[Side::Client, Side::Server]);
        let other = first.opposite();
        self.add(at, first, Act::Close);
        let host = if other == Side::Client { client } else { server };
        if self.rng.chance(15) {
            host.on_eof = Some("close");
            return;
        }
        host.on_eof = Some("keep");
        for _ in 0..*self.rng.pick(&[1, 1, 2, 3]) {
            at += *self.rng.pick(&[500, 500, 3600, 4600, 5600, self.fin_s * 1000 + 1600]);
            self.add(at, other, Act::Send { len: 100 });
        }
        self.add(at + 500, other, Act::Close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_and_the_number_decide() {
        assert_eq!(scene(1, 2, true), scene(1, 2, true));
        assert_ne!(scene(1, 2, true).script, scene(1, 3, true).script);
        assert_ne!(scene(1, 2, true).script, scene(2, 2, true).script);
    }

    #[test]
    fn every_kind_of_box_and_of_ending_comes() {
        let all: Vec<Scene> = (0..300).map(|number| scene(7, number, true)).collect();
        for kind in ["masquerade", "firewall", "dnat", "ipvs-dr", "ipvs-nat"] {
            let count = all.iter().filter(|scene| scene.id.ends_with(kind)).count();
            assert!(count > 10, "{kind}: {count}");
        }
        for act in [Act::Abort, Act::Close] {
            assert!(all.iter().any(|scene| scene.script.iter().any(|line| line.act == act)), "{act:?}");
        }
        assert!(all.iter().all(|scene| scene.script.is_sorted_by_key(|line| line.at_ms) && scene.run_ms <= RUN_MAX_MS));
        assert!((0..300).all(|number| scene(7, number, false).middle.kind == "conntrack"));
    }

    /// What is written is what the comparison reads.
    #[test]
    fn a_scene_is_the_first_half_of_a_recorded_line() {
        for number in 0..40 {
            let mut line = serde_json::to_value(scene(3, number, true)).expect("JSON");
            line["kernel"] = "6.1.176".into();
            line["hz"] = 100.into();
            line["observed"] = serde_json::json!({"client": [], "server": []});
            let line = line.to_string();
            assert_eq!(crate::conform::recognise(&line), Some(crate::conform::Kind::Dialogues));
            // Nobody was told anything in this recording, so the model cannot agree; but it can be read.
            let result = crate::conform::compare("drawn", &line).expect("it can be read");
            assert_eq!((result.steps, result.disagree), (1, 1), "{line}");
        }
    }
}
