//! Rules about an IPVS director: what `--set` does not reach, the defences, and settings that surprise.

use super::keepalive::{plain, told};
use super::rule::{Found, Rule, Severity};
use super::setup::{Origin, Setup, Stand};
use crate::engine::Device;
use crate::finding::advice::Where;
use crate::inventory::RuleDoes;
use crate::model::director::Director;
use crate::model::ipvs::dialect::Reuse;
use crate::model::ipvs::state::State as VsState;
use crate::policy::ipvs::Scheduler;
use crate::policy::{BoxPolicy, IpvsPolicy};
use crate::time::Duration;

/// All of them.
pub(super) fn rules(setup: &Setup<'_>, found: &mut Vec<Found>) {
    for (index, stand) in setup.stands.iter().enumerate() {
        if let (Device::Director(director), BoxPolicy::Ipvs(policy)) = (&stand.hop().device, &stand.hop().policy) {
            let here = Here { setup, index, stand, director, policy };
            here.close_wait(found);
            here.defence(found);
            here.old_names(found);
            here.beside(found);
            here.masquerade(found);
            here.sloppy(found);
            here.nodest(found);
            here.reuse(found);
            here.persistence(found);
        }
    }
}

/// A director under judgement.
struct Here<'s, 'a> {
    setup: &'s Setup<'a>,
    index: usize,
    stand: &'s Stand,
    director: &'s Director,
    policy: &'s IpvsPolicy,
}

impl Here<'_, '_> {
    fn found(&self, rule: Rule, severity: Severity, what: impl Into<String>) -> Found {
        Found::new(rule, severity, what).at(self.index)
    }

    fn close_wait(&self, found: &mut Vec<Found>) {
        let timeouts = &self.director.ipvs.timeouts;
        let [established, fin_wait, close_wait] =
            [VsState::Established, VsState::FinWait, VsState::CloseWait].map(|state| timeouts[state as usize]);
        let raised_fin = self.stand.is_given("tcpfin") && fin_wait > Duration::from_secs(120);
        let raised = self.stand.is_given("tcp") && established > Duration::from_secs(900);
        if !raised_fin && !raised {
            return;
        }
        let (severity, name, set) = if raised_fin { (Severity::Warning, "tcpfin", fin_wait) } else { (Severity::Info, "tcp", established) };
        let what = format!(
            "{} has {name} at {}, and CLOSE_WAIT stays at {}: a flow whose client closed its half first is still forgotten then",
            self.stand.label(),
            told(set),
            told(close_wait)
        );
        found.push(
            self.found(Rule::SetMissesCloseWait, severity, what)
                .sum(set, close_wait, format!("{name} {} ≤ {} of CLOSE_WAIT", plain(set), plain(close_wait)))
                .places([self.stand.origin(name)])
                .fix(
                    Where::Box,
                    ["# no setting reaches CLOSE_WAIT"],
                    "let the client close last, or have the server answer within a minute",
                ),
        );
    }

    fn defence(&self, found: &mut Vec<Found>) {
        let mode = self.policy.secure_tcp.unwrap_or(0);
        if mode == 0 {
            return;
        }
        let when = if mode == 3 { "always" } else { "when memory runs short" };
        let ipvs = &self.director.ipvs;
        let what = if ipvs.dialect.dos_timeouts {
            let severity = self.found(
                Rule::SecureTcp,
                Severity::Warning,
                format!(
                    "{} has secure_tcp={mode} ({when}): connections that begin under it run {} in ESTABLISHED instead of {}, and keep that for their life",
                    self.stand.label(),
                    told(ipvs.dos_timeouts[VsState::Established as usize]),
                    told(ipvs.timeouts[VsState::Established as usize])
                ),
            );
            severity.fix(Where::Box, ["sysctl -w net.ipv4.vs.timeout_established=900"], "2.4 only; for connections from now on")
        } else {
            self.found(
                Rule::SecureTcp,
                Severity::Info,
                format!(
                    "{} has secure_tcp={mode} ({when}): no timeout changes with it in this kernel; with NAT a connection stays in SYNACK, {}, until the server's first ACK",
                    self.stand.label(),
                    told(ipvs.timeouts[VsState::SynAck as usize])
                ),
            )
        };
        found.push(what.places([self.stand.origin("secure_tcp")]));
    }

    /// Sysctls that no kernel of this kind has, or that set the other table.
    fn old_names(&self, found: &mut Vec<Found>) {
        let tree = "net.ipv4.vs.";
        let old = self.director.ipvs.dialect.dos_timeouts;
        for sysctl in &self.setup.machine.sysctls {
            let Some(name) = sysctl.name.strip_prefix(tree) else { continue };
            let what = if name.starts_with("tcp_timeout_") {
                format!(
                    "no mainline kernel has {}: the name is of the LVS-HOWTO and of patched directors, which count milliseconds",
                    sysctl.name
                )
            } else if name.starts_with("timeout_") && !old {
                format!("this kernel has no {}: it was Linux 2.4's, and set the timers of connections born under secure_tcp", sysctl.name)
            } else if name.starts_with("timeout_") && self.policy.secure_tcp.unwrap_or(0) == 0 {
                format!(
                    "{} sets the timer of connections born under secure_tcp, which is off: ipvsadm --set reaches the others",
                    sysctl.name
                )
            } else {
                continue;
            };
            found.push(self.old_name(what, Origin::Text(sysctl.at.clone())));
        }
        let machine = self.setup.machine;
        let told =
            machine.unread.iter().map(|unread| (&unread.text, &unread.at)).chain(machine.notes.iter().map(|note| (&note.text, &note.at)));
        for (text, at) in told {
            let named =
                text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '/')).map(|word| word.replace('/', "."));
            let Some(name) = named.into_iter().find(|word| word.contains(".vs.tcp_timeout_") || word.contains(".vs.timeout_") && !old)
            else {
                continue;
            };
            let origin = Origin::Text(at.clone());
            if found.iter().any(|known| known.rule == Rule::NoSuchSetting && known.places.contains(&origin)) {
                continue;
            }
            let name = name.trim_start_matches('.').trim_start_matches("proc.sys.").to_owned();
            let what = if name.contains(".tcp_timeout_") {
                format!("no mainline kernel has {name}: the name is of the LVS-HOWTO and of patched directors, which count milliseconds")
            } else {
                format!("this kernel has no {name}: it was Linux 2.4's, and set the timers of connections born under secure_tcp")
            };
            found.push(self.old_name(what, origin));
        }
    }

    fn old_name(&self, what: String, at: Origin) -> Found {
        let ipvs = &self.director.ipvs;
        let [tcp, tcpfin] = [VsState::Established, VsState::FinWait].map(|state| ipvs.timeouts[state as usize].as_secs());
        self.found(Rule::NoSuchSetting, Severity::Warning, what).places([at]).fix(
            Where::Box,
            [format!("ipvsadm --set {tcp} {tcpfin} {}", ipvs.udp_timeout.as_secs())],
            "what sets timers, with the values of now",
        )
    }

    /// Conntrack's clock beside the director's own.
    fn beside(&self, found: &mut Vec<Found>) {
        if !self.director.ipvs.conntrack {
            return;
        }
        let own = self.stand.established();
        let tracking = self.setup.stands.iter().find(|stand| stand.is_machine && matches!(stand.hop().device, Device::Router(_)));
        let Some(tracking) = tracking.filter(|_| self.stand.is_machine) else { return };
        let theirs = tracking.established();
        if theirs >= own {
            return;
        }
        found.push(
            self.found(
                Rule::ConntrackBesideIpvs,
                Severity::Warning,
                format!(
                    "conntrack forgets after {}, IPVS after {}: the longer one is of no use where rules or masquerading need the entry",
                    told(theirs),
                    told(own)
                ),
            )
            .sum(own, theirs, format!("IPVS {} ≤ {} of conntrack", plain(own), plain(theirs)))
            .places([tracking.origin("established"), self.stand.origin("tcp"), self.stand.origin("conntrack")])
            .fix(
                Where::Box,
                [format!("sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established={}", own.as_secs() + 60)],
                "a minute longer than IPVS, which takes the conntrack entry with it",
            ),
        );
    }

    fn masquerade(&self, found: &mut Vec<Found>) {
        if self.director.ipvs.conntrack || !self.stand.is_machine || self.setup.machine.services.is_empty() {
            return;
        }
        let masquerades = |does: &RuleDoes| matches!(does, RuleDoes::Masquerades | RuleDoes::SourceNat);
        let Some(rule) = self.setup.machine.rules.iter().find(|rule| masquerades(&rule.does)) else { return };
        found.push(
            self.found(
                Rule::MasqueradeWithoutConntrack,
                Severity::Warning,
                format!("{} translates sources, but IPVS keeps its flows from conntrack: they leave with the client's address, and replies may not come back this way", rule.chain),
            )
            .places([Origin::Text(rule.at.clone()), self.stand.origin("conntrack")])
            .fix(Where::Box, ["sysctl -w net.ipv4.vs.conntrack=1"], "if balanced flows are meant as well"),
        );
    }

    fn sloppy(&self, found: &mut Vec<Found>) {
        if !self.director.ipvs.sloppy_tcp {
            return;
        }
        let hashes = |scheduler: Option<Scheduler>| matches!(scheduler, Some(Scheduler::Sh | Scheduler::Mh));
        let services = &self.setup.machine.services;
        let risky = services.iter().find(|service| service.reals.len() > 1 && !hashes(service.scheduler));
        let several = self.policy.real_servers() > 1 && !hashes(self.policy.scheduler);
        if risky.is_none() && !several {
            return;
        }
        found.push(
            self.found(
                Rule::SloppyTcp,
                Severity::Warning,
                "sloppy_tcp takes a packet without entry for a new connection, and the scheduler may send it to another real server, which resets it",
            )
            .places(std::iter::once(self.stand.origin("sloppy_tcp")).chain(risky.map(|service| Origin::Text(service.at.clone()))))
            .fix(Where::Box, ["ipvsadm -E -t ADDRESS:PORT -s mh"], "with the service's own address: hashing finds the same server again"),
        );
    }

    fn nodest(&self, found: &mut Vec<Found>) {
        if self.director.ipvs.expire_nodest_conn || self.setup.machine.services.is_empty() || !self.stand.is_machine {
            return;
        }
        found.push(
            self.found(
                Rule::ExpireNodest,
                Severity::Info,
                "expire_nodest_conn is 0: clients of a real server that is taken out hang until they give up, and are not reset",
            )
            .places([self.stand.origin("expire_nodest_conn")])
            .fix(
                Where::Box,
                ["sysctl -w net.ipv4.vs.expire_nodest_conn=1"],
                "unless servers are taken out and put back for checks, with connections that should live on",
            ),
        );
    }

    fn reuse(&self, found: &mut Vec<Found>) {
        let ipvs = &self.director.ipvs;
        let middle = matches!(ipvs.dialect.reuse, Reuse::TimeWait | Reuse::CloseToo);
        if !middle || !self.stand.is_machine {
            return;
        }
        let place = [self.stand.origin("conn_reuse_mode"), self.stand.origin("conntrack")];
        if ipvs.conn_reuse_mode != 0 && ipvs.conntrack && ipvs.dialect.reuse == Reuse::CloseToo {
            found.push(
                self.found(
                    Rule::ConnReuse,
                    Severity::Warning,
                    "conn_reuse_mode=1 with conntrack=1: a client port that comes back within two minutes loses its first SYN, and connects a second later",
                )
                .places(place)
                .fix(Where::Box, ["sysctl -w net.ipv4.vs.conn_reuse_mode=0"], "or a kernel from 5.9 on; 0 keeps such connections on their old server"),
            );
        } else if ipvs.conn_reuse_mode == 0 {
            found.push(
                self.found(
                    Rule::ConnReuse,
                    Severity::Warning,
                    "conn_reuse_mode=0: a client port that comes back goes to its old server, also to one of weight 0",
                )
                .places(place)
                .fix(Where::Box, ["sysctl -w net.ipv4.vs.conn_reuse_mode=1"], "or a kernel from 5.9 on"),
            );
        }
    }

    fn persistence(&self, found: &mut Vec<Found>) {
        let own = self.stand.established();
        let services = self.setup.machine.services.iter().filter(|_| self.stand.is_machine);
        let told_of = services.filter_map(|service| Some((service.persistence?, Origin::Text(service.at.clone()))));
        let option = self.policy.persistence.map(|span| (span, self.stand.origin("persist")));
        let short: Vec<(Duration, Origin)> = told_of.chain(option).filter(|(span, _)| *span < own).collect();
        let Some((span, _)) = short.iter().min_by_key(|(span, _)| *span) else { return };
        let span = *span;
        found.push(
            self.found(
                Rule::PersistenceShort,
                Severity::Info,
                format!("persistence of {} is shorter than the {} of a connection: a client that comes back later may meet another server while its first connection lives", told(span), told(own)),
            )
            .sum(own, span, format!("connection {} ≤ {} of persistence", plain(own), plain(span)))
            .places(short.into_iter().map(|(_, at)| at).take(3))
            .fix(Where::Box, [format!("ipvsadm -E -t ADDRESS:PORT -p {}", own.as_secs())], "with the service's own address and scheduler"),
        );
    }
}
