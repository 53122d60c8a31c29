//! Programs as data: what each does by default to find out whether its peer is still there, and when it closes by itself.
//!
//! Source: endpoints.md section 7, from the programs' own manuals and sources. A time of zero is the host's
//! (`net.ipv4.tcp_keepalive_*`). Values that the source marks as unverified are marked here too.

use super::app::{AppPlan, Heartbeat, heartbeat};
use crate::endpoint::Profile;
use crate::time::Duration;

/// One program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Program {
    /// Its name in scenarios.
    pub name: &'static str,
    /// TCP keepalive as it sets it: idle, interval, probes, zeros for the host's; none: SO_KEEPALIVE stays off.
    pub keepalive: Option<(u64, u64, u8)>,
    /// Its heartbeat, by name, and the interval in seconds where that is not the usual one.
    pub heartbeat: Option<(&'static str, u64)>,
    /// Seconds of silence after which it closes.
    pub idle_close: Option<u64>,
    /// Seconds of silence of its peer after which it takes it for dead.
    pub dead_after: Option<u64>,
    /// What it is known for, in a few words.
    pub about: &'static str,
}

const PLAIN: Program = Program { name: "", keepalive: None, heartbeat: None, idle_close: None, dead_after: None, about: "" };
/// SO_KEEPALIVE with the host's times.
const HOST: Option<(u64, u64, u8)> = Some((0, 0, 0));

/// The programs, by name.
pub const PROGRAMS: [Program; 29] = [
    Program { name: "openssh-client", keepalive: HOST, about: "TCPKeepAlive yes; ServerAliveInterval 0 (off)", ..PLAIN },
    Program {
        name: "openssh-client-alive-60",
        keepalive: HOST,
        heartbeat: Some(("openssh-client", 60)),
        about: "ServerAliveInterval 60, ServerAliveCountMax 3",
        ..PLAIN
    },
    Program { name: "openssh-server", keepalive: HOST, about: "TCPKeepAlive yes; ClientAliveInterval 0 (off)", ..PLAIN },
    Program {
        name: "openssh-server-alive-60",
        keepalive: HOST,
        heartbeat: Some(("openssh-server", 60)),
        about: "ClientAliveInterval 60, ClientAliveCountMax 3",
        ..PLAIN
    },
    Program { name: "postgresql-server", keepalive: HOST, about: "tcp_keepalives_* 0: always on, the host's times", ..PLAIN },
    Program { name: "libpq", keepalive: HOST, about: "keepalives 1, the host's times", ..PLAIN },
    Program { name: "pgjdbc", about: "tcpKeepAlive false, socketTimeout 0: a read blocks for ever", ..PLAIN },
    Program {
        name: "hikaricp",
        heartbeat: Some(("hikaricp", 120)),
        about: "keepaliveTime 2 min in recent releases (unverified which)",
        ..PLAIN
    },
    Program { name: "mysql-server", idle_close: Some(28_800), about: "wait_timeout 28800 s (unverified)", ..PLAIN },
    Program { name: "redis-server", keepalive: Some((300, 100, 3)), about: "tcp-keepalive 300", ..PLAIN },
    Program { name: "lettuce", keepalive: Some((13, 13, 3)), about: "since 2026, on Linux", ..PLAIN },
    Program { name: "lettuce-before-2026", about: "keepalive off", ..PLAIN },
    Program { name: "grpc-client", about: "keepalive_time infinite: off", ..PLAIN },
    Program {
        name: "grpc-client-keepalive-60",
        heartbeat: Some(("grpc-client", 60)),
        about: "keepalive_time 60 s, keepalive_timeout 20 s, at most 2 pings without data, none without a call",
        ..PLAIN
    },
    Program { name: "grpc-server", heartbeat: Some(("grpc-server", 7200)), about: "keepalive_time 2 h, timeout 20 s", ..PLAIN },
    Program {
        name: "kubernetes-client",
        keepalive: Some((15, 15, 9)),
        heartbeat: Some(("kubernetes-http2", 30)),
        about: "client-go since 1.20: HTTP/2 ping after 30 s, closed 15 s later; Go's keepalive below",
        ..PLAIN
    },
    Program { name: "go-net", keepalive: Some((15, 15, 9)), about: "Dial and Listen turn keepalive on", ..PLAIN },
    Program { name: "java", about: "SO_KEEPALIVE off", ..PLAIN },
    Program { name: "nodejs", about: "off until setKeepAlive", ..PLAIN },
    Program { name: "elasticsearch", keepalive: Some((300, 300, 0)), about: "idle and interval capped to 300 s on Linux", ..PLAIN },
    Program { name: "mongodb-driver", keepalive: Some((120, 0, 0)), about: "120 s, because of Azure's 240 s", ..PLAIN },
    Program { name: "mongodb-driver-before-2020", keepalive: Some((300, 0, 0)), about: "initial delay 300 s", ..PLAIN },
    Program { name: "kafka-client", idle_close: Some(540), about: "connections.max.idle.ms 540000", ..PLAIN },
    Program { name: "kafka-broker", idle_close: Some(600), about: "connections.max.idle.ms 600000 (unverified)", ..PLAIN },
    Program {
        name: "rabbitmq",
        heartbeat: Some(("amqp", 30)),
        dead_after: Some(60),
        about: "AMQP 0-9-1 heartbeat timeout 60 s: a frame every half, dead after two missed",
        ..PLAIN
    },
    Program { name: "mqtt-client", heartbeat: Some(("mqtt", 60)), about: "Keep Alive 60 s", ..PLAIN },
    Program { name: "mqtt-broker", dead_after: Some(90), about: "closes after 1.5 times the client's Keep Alive of 60 s", ..PLAIN },
    Program { name: "nginx", idle_close: Some(75), about: "keepalive_timeout 75 s", ..PLAIN },
    Program { name: "envoy", idle_close: Some(3600), about: "TCP proxy idle timeout 1 h; tcp_keepalive off", ..PLAIN },
];

/// The program of a name.
pub fn program(name: &str) -> Option<&'static Program> {
    PROGRAMS.iter().find(|program| program.name == name)
}

impl Program {
    /// Sets a host up as the program does.
    pub fn apply(&self, profile: &mut Profile, app: &mut AppPlan) {
        if let Some((time, intvl, probes)) = self.keepalive {
            profile.keepalive = true;
            let times = &mut profile.keepalive_times;
            if time > 0 {
                times.time = Duration::from_secs(time);
            }
            if intvl > 0 {
                times.intvl = Duration::from_secs(intvl);
            }
            if probes > 0 {
                times.probes = probes;
            }
        }
        let span = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        app.heartbeat = self.heartbeat();
        app.idle_close = span(self.idle_close);
        app.dead_after = span(self.dead_after);
    }

    fn heartbeat(&self) -> Option<Heartbeat> {
        let (name, every) = self.heartbeat?;
        heartbeat(name).map(|beat| Heartbeat { every: Duration::from_secs(every), ..beat })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_a_name_of_its_own_and_a_heartbeat_that_exists() {
        for (index, one) in PROGRAMS.iter().enumerate() {
            assert!(!one.name.is_empty() && !one.about.is_empty(), "{index}");
            assert!(PROGRAMS[..index].iter().all(|other| other.name != one.name), "{}", one.name);
            assert_eq!(one.heartbeat.is_some(), one.heartbeat().is_some(), "{}", one.name);
        }
    }
}
