//! Rules about who speaks before a box forgets: keepalive of hosts, of containers, of SSH; and what retransmission needs.

use super::rule::{Found, Rule, Severity};
use super::setup::{Host, Origin, Setup, Stand, keepalive_for, late};
use super::stray::Stray;
use crate::finding::advice::Where;
use crate::finding::paste::{self, Setting, host_blocks};
use crate::inventory::{Inventory, Kind, SocketTimer, SshKeepalive, SshSide};
use crate::model::{DropReason, Side};
use crate::policy::BoxPolicy;
use crate::time::Duration;

/// All of them.
pub(super) fn rules(setup: &Setup<'_>, found: &mut Vec<Found>) {
    for (index, stand) in setup.stands.iter().enumerate().filter(|(_, stand)| stand.established() < Duration::MAX) {
        if stand.counts_keepalive() {
            too_late(setup, index, stand, found);
            caps(setup, index, stand, found);
        } else {
            found.push(stops_at_proxy(index, stand));
        }
        retransmission(setup, index, stand, found);
        hang(setup, index, stand, found);
    }
    shorter_elsewhere(setup, found);
    policies(setup, found);
    sockets(setup, found);
    containers(setup, found);
    ssh(setup, found);
}

/// Seconds without their unit.
pub(super) fn plain(span: Duration) -> String {
    span.to_string().trim_end_matches(" s").to_owned()
}

/// Seconds, and what people call them.
pub(super) fn told(span: Duration) -> String {
    if span < Duration::from_secs(120) { span.to_string() } else { format!("{span} ({})", span.human()) }
}

/// The sum of a keepalive on its way: `7200 + 873.8 (timer wheel) + 0.2 (round trip)`.
fn sum(host: &Host<'_>, lost: bool) -> (Duration, String) {
    let armed = Duration::from_secs(host.time.value);
    let wheel = match host.hz {
        Some(hz) => format!("timer wheel, HZ={}", hz.0),
        None => "timer wheel at the worst HZ".to_owned(),
    };
    let mut text = format!("{} + {} ({wheel}) + 0.2 (round trip)", host.time.value, plain(late(armed, host.hz)));
    let mut total = host.probe_latest();
    if lost {
        text.push_str(&format!(" + {} (one lost probe)", plain(host.lost_probe())));
        total = total + host.lost_probe();
    }
    text.push_str(&format!(" = {}", plain(total)));
    (total, text)
}

/// What to do about a keepalive that comes too late for a timer: a shorter one, or a longer timer.
pub(super) fn remedies(mut found: Found, setup: &Setup<'_>, stand: &Stand, timeout: Duration) -> Found {
    let host = setup.first_to_probe();
    if let Some((idle, interval)) = keepalive_for(timeout, host.hz) {
        let blocks = host_blocks(paste::Keepalive { idle, interval, probes: host.probes.value.max(2) });
        if let Some(block) = blocks.into_iter().next() {
            found = found.fix(
                Where::End,
                block.lines,
                "on either end, in its own network namespace; only sockets with SO_KEEPALIVE send probes",
            );
        }
    }
    let keep = (host.probe_latest() + host.lost_probe()).as_secs() + 1;
    let setting = Setting { name: stand.established_name().to_owned(), value: keep };
    if let Some(block) = paste::box_blocks(stand.hop(), &[setting], None).into_iter().next() {
        found = found.fix(Where::Box, block.lines, format!("{}; {}", Duration::from_secs(keep).human(), block.note));
    }
    found
}

fn too_late(setup: &Setup<'_>, index: usize, stand: &Stand, found: &mut Vec<Found>) {
    let host = setup.first_to_probe();
    let timeout = stand.established();
    let idle = Duration::from_secs(host.time.value);
    let name = stand.label();
    let places = [host.time.from.clone(), stand.origin(stand.established_name())];
    // The next packet opens the way again, so nothing is lost.
    let heals = stand.heals();
    let (bare, bare_text) = sum(host, false);
    let (roomy, roomy_text) = sum(host, true);
    let what = if idle >= timeout {
        let severity = if heals { Severity::Info } else { Severity::Error };
        let after = if heals {
            "; the next packet is picked up again, and nothing is lost".to_owned()
        } else if stand.tells() {
            ": it ends the connection at both ends then".to_owned()
        } else {
            format!(
                ": the client's next packet is {}, the server's {}",
                stand.stray(Side::Client).words(),
                stand.stray(Side::Server).words()
            )
        };
        Found::new(
            Rule::KeepaliveTooLate,
            severity,
            format!("{name} forgets a quiet connection after {}, and the first keepalive comes after {}{after}", told(timeout), told(idle)),
        )
        .sum(idle, timeout, format!("keepalive {} < {} of {name}", host.time.value, plain(timeout)))
    } else if heals {
        return;
    } else if bare >= timeout {
        Found::new(
            Rule::KeepaliveMarginal,
            Severity::Warning,
            format!("keepalive after {} is below the {} of {name}, but not by the lateness of the end's timer", told(idle), told(timeout)),
        )
        .sum(bare, timeout, format!("{bare_text} < {}", plain(timeout)))
    } else if roomy >= timeout {
        Found::new(
            Rule::KeepaliveNoRoom,
            Severity::Warning,
            format!("keepalive after {} keeps the {} of {name} only while no probe is lost", told(idle), told(timeout)),
        )
        .sum(roomy, timeout, format!("{roomy_text} < {}", plain(timeout)))
    } else {
        return;
    };
    let what = what.at(index).places(places);
    found.push(if heals { what } else { remedies(what, setup, stand, timeout) });
}

fn stops_at_proxy(index: usize, stand: &Stand) -> Found {
    let timeout = stand.established();
    Found::new(
        Rule::KeepaliveStopsAtProxy,
        Severity::Warning,
        format!("{} is a proxy: it ends a connection without payload after {}, whatever keepalive says", stand.label(), told(timeout)),
    )
    .at(index)
    .places([stand.origin(stand.established_name())])
    .fix(
        Where::End,
        keepalive_for(timeout, None).map(|(idle, _)| format!("# a heartbeat of the program's own, every {idle} s or more often")),
        "HTTP/2 PING, ServerAliveInterval of ssh, tcpKeepAlive of drivers is not enough",
    )
}

/// ESTABLISHED's long timer against the short ones that may run instead.
fn caps(setup: &Setup<'_>, index: usize, stand: &Stand, found: &mut Vec<Found>) {
    let Some((name, cap)) = stand.cap() else { return };
    let (established, host) = (stand.established(), setup.first_to_probe());
    if established <= cap || host.probe_latest() < cap {
        return;
    }
    let severity = if stand.heals() { Severity::Info } else { Severity::Warning };
    let kernel = if name == "unacknowledged" { "unacknowledged" } else { "max_retrans" };
    let mut what = Found::new(
        Rule::ConntrackCaps,
        severity,
        format!(
            "{} says ESTABLISHED {}, but a connection that falls quiet after retransmissions or with an unacknowledged end runs {kernel}, {}, and keepalive comes after {}",
            stand.label(),
            told(established),
            told(cap),
            told(Duration::from_secs(host.time.value))
        ),
    )
    .at(index)
    .sum(Duration::from_secs(host.time.value), cap, format!("keepalive {} < {} of {kernel}", host.time.value, plain(cap)))
    .places([stand.origin("established"), stand.origin(name), host.time.from.clone()]);
    if let Some((idle, interval)) = keepalive_for(cap, host.hz) {
        let blocks = host_blocks(paste::Keepalive { idle, interval, probes: host.probes.value.max(2) });
        if let Some(block) = blocks.into_iter().next() {
            what = what.fix(Where::End, block.lines, "on either end; keeps the shorter timers too");
        }
    }
    found.push(what);
}

/// The longest pause between two retransmissions: `TCP_RTO_MAX`.
const RTO_MAX: Duration = Duration::from_secs(120);

fn retransmission(setup: &Setup<'_>, index: usize, stand: &Stand, found: &mut Vec<Found>) {
    let established = (stand.established(), stand.established_name());
    let shortest = stand.cap().map_or(established, |(name, cap)| established.min((cap, name)));
    let (timeout, name) = shortest;
    let armed = RTO_MAX + late(RTO_MAX, setup.first_to_probe().hz);
    if timeout > armed || stand.heals() {
        return;
    }
    found.push(
        Found::new(
            Rule::RetransmissionGap,
            Severity::Warning,
            format!("{} forgets after {}, and a sender that meets an outage repeats itself only every 120 s", stand.label(), told(timeout)),
        )
        .at(index)
        .sum(RTO_MAX, timeout, format!("120 + {} (timer wheel) < {}", plain(late(RTO_MAX, setup.first_to_probe().hz)), plain(timeout)))
        .places([stand.origin(name)]),
    );
}

/// How long one hangs who writes to a box that has forgotten and says nothing.
fn hang(setup: &Setup<'_>, index: usize, stand: &Stand, found: &mut Vec<Found>) {
    let host = setup.first_to_probe();
    if Duration::from_secs(host.time.value) < stand.established() || stand.heals() || stand.tells() {
        return;
    }
    for end in &setup.ends {
        let fate = stand.stray(end.side);
        let silent = matches!(fate, Stray::Dropped(reason) if reason != DropReason::TableFull);
        let hangs = end.retransmits_for();
        if !silent || hangs <= Duration::from_secs(60) {
            continue;
        }
        let keepalive = Duration::from_secs(end.time.value) + end.gives_up_after();
        found.push(
            Found::new(
                Rule::HangLength,
                Severity::Info,
                format!(
                    "the {} that writes after {} has forgotten hangs for {} or more (tcp_retries2 = {}); without writing it learns of it after {}, if it has keepalive",
                    end.name(),
                    stand.label(),
                    told(hangs),
                    end.retries2.value,
                    told(keepalive)
                ),
            )
            .at(index)
            .places([end.retries2.from.clone(), end.time.from.clone()])
            .fix(
                Where::End,
                ["setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(unsigned){ 60000 }, sizeof(unsigned));"],
                "in the program: it learns of it after a minute",
            ),
        );
        // One end's is enough to say it.
        return;
    }
}

/// What timers are set to when nobody sets them: IPVS's and conntrack's own.
const IPVS_DEFAULT: Duration = Duration::from_secs(900);

/// A timer that somebody made longer, on a path where another one is shorter.
fn shorter_elsewhere(setup: &Setup<'_>, found: &mut Vec<Found>) {
    for (index, stand) in setup.stands.iter().enumerate().filter(|(_, stand)| !stand.apart) {
        let own = stand.established();
        let default = match &stand.hop().policy {
            BoxPolicy::Ipvs(_) => IPVS_DEFAULT,
            BoxPolicy::Idle(policy) => match policy.provenance().map(crate::policy::Preset::resolve) {
                Some(BoxPolicy::Idle(base)) => base.established,
                _ => continue,
            },
            BoxPolicy::Conntrack(_) => continue,
        };
        if !stand.is_given(stand.established_name()) || own <= default {
            continue;
        }
        let others = setup.stands.iter().enumerate().filter(|(other, stand)| *other != index && !stand.apart);
        let Some((other, span)) = others.map(|(other, stand)| (other, stand.established())).min_by_key(|(_, span)| *span) else { continue };
        if span >= own {
            continue;
        }
        let shorter = &setup.stands[other];
        found.push(
            Found::new(
                Rule::ShorterElsewhere,
                Severity::Warning,
                format!("{} was raised to {}, and {} forgets after {}", stand.label(), told(own), shorter.label(), told(span)),
            )
            .at(index)
            .sum(own, span, format!("{} of {} ≤ {} of {}", plain(own), stand.label(), plain(span), shorter.label()))
            .places([stand.origin(stand.established_name()), shorter.origin(shorter.established_name())]),
        );
    }
}

/// Timers that a packet filter attaches, against keepalive.
fn policies(setup: &Setup<'_>, found: &mut Vec<Found>) {
    let host = setup.first_to_probe();
    let idle = Duration::from_secs(host.time.value);
    for policy in &setup.machine.timeout_policies {
        let Some((_, timeout)) = policy.timers.iter().find(|(name, _)| *name == "established") else { continue };
        if policy.proto != crate::net::Proto::Tcp || idle < *timeout {
            continue;
        }
        let index = setup.stands.iter().position(|stand| stand.is_machine && stand.cap().is_some());
        let mut what = Found::new(
            Rule::KeepaliveTooLate,
            Severity::Error,
            format!(
                "the timeout policy '{}' forgets a quiet connection after {}, and the first keepalive comes after {}",
                policy.name,
                told(*timeout),
                told(idle)
            ),
        )
        .sum(idle, *timeout, format!("keepalive {} < {} of '{}'", host.time.value, plain(*timeout), policy.name))
        .places([host.time.from.clone(), Origin::Text(policy.at.clone())]);
        what.stand = index;
        if index.and_then(|index| setup.stands.get(index)).is_some_and(Stand::heals) {
            what.severity = Severity::Info;
        }
        if let Some((idle, interval)) = keepalive_for(*timeout, host.hz)
            && let Some(block) = host_blocks(paste::Keepalive { idle, interval, probes: 9 }).into_iter().next()
        {
            what = what.fix(Where::End, block.lines, "on either end; only sockets with SO_KEEPALIVE send probes");
        }
        found.push(what);
    }
}

/// Established sockets that nothing makes speak.
fn sockets(setup: &Setup<'_>, found: &mut Vec<Found>) {
    let Some((index, timeout)) = setup.shortest() else { return };
    let severity = if setup.stands[index].heals() { Severity::Info } else { Severity::Warning };
    let lists: [(&Inventory, &str); 3] = [
        (setup.machine, "this machine"),
        (setup.ends[0].shown.unwrap_or(setup.machine), "the client"),
        (setup.ends[1].shown.unwrap_or(setup.machine), "the server"),
    ];
    for (number, (inventory, whose)) in lists.iter().enumerate() {
        if number > 0 && std::ptr::eq(*inventory, setup.machine) || !inventory.has(Kind::Sockets) {
            continue;
        }
        let loopback = |socket: &crate::inventory::Socket| socket.peer.addr.ip().is_loopback();
        let established: Vec<_> = inventory.sockets.iter().filter(|socket| socket.state == "ESTAB" && !loopback(socket)).collect();
        let silent: Vec<_> = established.iter().filter(|socket| socket.timer.is_none()).collect();
        let Some(first) = silent.first() else { continue };
        let mut programs: Vec<&str> = silent.iter().filter_map(|socket| socket.program.as_deref()).collect();
        programs.sort_unstable();
        programs.dedup();
        programs.truncate(5);
        let of = if programs.is_empty() { String::new() } else { format!(" ({})", programs.join(", ")) };
        let asks = established.iter().filter(|socket| matches!(socket.timer, Some((SocketTimer::Keepalive, ..)))).count();
        found.push(
            Found::new(
                Rule::SocketsWithoutKeepalive,
                severity,
                format!(
                    "{} of {} established sockets of {whose}{of} have no keepalive, {asks} have it; a quiet one is forgotten by {} after {}",
                    silent.len(),
                    established.len(),
                    setup.stands[index].label(),
                    told(timeout)
                ),
            )
            .at(index)
            .places([Origin::Text(first.at.clone())])
            .fix(
                Where::End,
                ["setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){ 1 }, sizeof(int));"],
                "in the program, or by its own option: TCPKeepAlive, tcp_keepalives_idle, so_keepalive",
            ),
        );
    }
}

/// A host's tuned keepalive does not reach its containers.
fn containers(setup: &Setup<'_>, found: &mut Vec<Found>) {
    let Some((index, timeout)) = setup.shortest() else { return };
    for inventory in setup.inventories() {
        if inventory.machine.container == Some(true)
            || setup.ends.iter().any(|end| {
                end.shown
                    .is_some_and(|shown| shown.machine.container == Some(true) && shown.sysctl("net.ipv4.tcp_keepalive_time").is_some())
            })
        {
            continue;
        }
        let Some(sysctl) = inventory.sysctl("net.ipv4.tcp_keepalive_time") else { continue };
        let Ok(seconds) = sysctl.value.parse::<u64>() else { continue };
        let hosts_containers = !inventory.kube_proxy.is_empty()
            || setup.ends.iter().any(|end| end.shown.is_some_and(|shown| shown.machine.container == Some(true)));
        if !hosts_containers || Duration::from_secs(seconds) >= timeout || Duration::from_secs(7200) < timeout {
            continue;
        }
        found.push(
            Found::new(
                Rule::ContainerKeepalive,
                Severity::Warning,
                format!(
                    "keepalive after {seconds} s is this network namespace's; its containers have 7200 s, and {} forgets after {}",
                    setup.stands[index].label(),
                    told(timeout)
                ),
            )
            .at(index)
            .sum(Duration::from_secs(7200), timeout, format!("keepalive of a container 7200 < {}", plain(timeout)))
            .places([Origin::Text(sysctl.at.clone())])
            .fix(
                Where::End,
                [
                    "docker run --sysctl net.ipv4.tcp_keepalive_time=".to_owned() + &sysctl.value,
                    format!("securityContext: {{ sysctls: [{{ name: net.ipv4.tcp_keepalive_time, value: \"{}\" }}] }}", sysctl.value),
                ],
                "for a container, or for a pod (a safe sysctl from Kubernetes 1.29 on); or TCP_KEEPIDLE in the program",
            ),
        );
        return;
    }
}

/// SSH's own requests against the shortest timer.
fn ssh(setup: &Setup<'_>, found: &mut Vec<Found>) {
    let Some((index, timeout)) = setup.shortest() else { return };
    let keepalive_helps = setup.stands[index].counts_keepalive() && setup.first_to_probe().probe_latest() < timeout;
    let mut asks = false;
    let mut parts: Vec<(&SshKeepalive, bool)> = Vec::new();
    for part in setup.inventories().flat_map(|inventory| &inventory.ssh) {
        let Some((interval, at)) = &part.interval else {
            parts.push((part, false));
            continue;
        };
        if *interval == Duration::ZERO {
            parts.push((part, false));
        } else if *interval + super::setup::ROUND_TRIP >= timeout {
            let detects = interval.saturating_mul(u64::from(part.count_max.as_ref().map_or(3, |(count, _)| *count)) + 1);
            parts.push((part, true));
            found.push(
                Found::new(
                    Rule::SshAliveTooLate,
                    Severity::Error,
                    format!(
                        "{} {} asks after {} of silence, and {} forgets after {}; it would give up {} after the last answer",
                        words(part.side).0,
                        scope(part),
                        told(*interval),
                        setup.stands[index].label(),
                        told(timeout),
                        told(detects)
                    ),
                )
                .at(index)
                .sum(*interval, timeout, format!("{} {} < {}", words(part.side).1, plain(*interval), plain(timeout)))
                .places([Origin::Text(at.clone()), setup.stands[index].origin(setup.stands[index].established_name())])
                .fix(Where::End, lines(part.side, timeout), words(part.side).2),
            );
        } else {
            asks = asks || part.scope.is_none();
            parts.push((part, true));
        }
    }
    if asks || keepalive_helps {
        let off = |part: &SshKeepalive| part.tcp_keepalive.as_ref().is_some_and(|(on, _)| !on);
        if asks || !parts.iter().any(|(part, interval)| off(part) && !interval) {
            return;
        }
    }
    // Nothing set at all is the default: off.
    let nothing_said = |kind| setup.inventories().any(|inventory| inventory.has(kind));
    let unset = parts.iter().find(|(part, interval)| !interval && part.scope.is_none()).map(|(part, _)| (part.side, part.at.clone()));
    let configured = |side| parts.iter().any(|(part, _)| part.side == side && part.scope.is_none());
    let bare = [(Kind::Sshd, SshSide::Server), (Kind::Ssh, SshSide::Client)].into_iter().find_map(|(kind, side)| {
        let at = setup.inventories().flat_map(|inventory| &inventory.shown).find(|shown| shown.kind == kind)?.at.clone();
        (nothing_said(kind) && !configured(side)).then_some((side, at))
    });
    let Some((side, at)) = unset.or(bare) else { return };
    let tcp_off = parts.iter().find_map(|(part, _)| part.tcp_keepalive.as_ref().filter(|(on, _)| part.side == side && !on));
    let tcp = match tcp_off {
        Some(_) => "TCPKeepAlive is off".to_owned(),
        None => format!("TCPKeepAlive asks after {} s", setup.first_to_probe().time.value),
    };
    found.push(
        Found::new(
            Rule::SshAliveOff,
            Severity::Warning,
            format!(
                "{} asks nobody ({} is 0), {tcp}, and {} forgets after {}",
                words(side).0,
                words(side).1,
                setup.stands[index].label(),
                told(timeout)
            ),
        )
        .at(index)
        .places(std::iter::once(Origin::Text(at)).chain(tcp_off.map(|(_, at)| Origin::Text(at.clone()))))
        .fix(Where::End, lines(side, timeout), words(side).2),
    );
}

const fn words(side: SshSide) -> (&'static str, &'static str, &'static str) {
    match side {
        SshSide::Server => ("sshd", "ClientAliveInterval", "in sshd_config"),
        SshSide::Client => ("ssh", "ServerAliveInterval", "in ssh_config"),
    }
}

fn scope(part: &SshKeepalive) -> String {
    part.scope.as_ref().map_or_else(String::new, |scope| format!("({scope})"))
}

/// A third of the timer leaves room for a slow answer and for a box that is busy.
fn lines(side: SshSide, timeout: Duration) -> Vec<String> {
    let seconds = (timeout.as_secs() / 3).clamp(1, 300);
    match side {
        SshSide::Server => vec![format!("ClientAliveInterval {seconds}"), "ClientAliveCountMax 3".to_owned()],
        SshSide::Client => vec![format!("ServerAliveInterval {seconds}"), "ServerAliveCountMax 3".to_owned()],
    }
}
