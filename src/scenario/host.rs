//! A host and its application as a scenario describes them, and the complete settings that follow.

use super::span::Span;
use crate::endpoint::{Os, Profile};
use crate::model::conntrack::dialect::release_numbers;
use crate::policy::hint::nearest;
use crate::simulate::app::{self, AppPlan, HEARTBEATS, Heartbeat, OnEof, Since};
use crate::simulate::programs::{self, PROGRAMS, Program};
use crate::time::Duration;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A host and its application.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostSpec {
    /// Its system; Linux without it.
    #[serde(default)]
    pub os: OsSpec,
    /// The release of its Linux, such as "5.15" or "6.12.4", for what changed between releases; the newest without it.
    #[serde(default)]
    pub kernel: Option<String>,
    /// The program that runs there, with what it does by default: openssh-client, openssh-server, postgresql-server, libpq,
    /// pgjdbc, redis-server, lettuce, grpc-client, kubernetes-client, go-net, kafka-client, rabbitmq, mqtt-client, nginx, and
    /// more. What is given beside it changes it.
    #[serde(default)]
    pub program: Option<String>,
    /// SO_KEEPALIVE with these times; off without it (on FreeBSD it is on).
    #[serde(default)]
    pub keepalive: Option<KeepaliveSpec>,
    /// TCP_USER_TIMEOUT.
    #[serde(default)]
    pub user_timeout: Option<Span>,
    /// Settings of the host by the kernel's names, such as {"net.ipv4.tcp_retries2": 8}.
    #[serde(default)]
    pub sysctl: BTreeMap<String, u64>,
    /// The application's own heartbeat.
    #[serde(default)]
    pub heartbeat: Option<HeartbeatSpec>,
    /// How long the application waits for the answer to a request before it gives up.
    #[serde(default)]
    pub read_timeout: Option<Span>,
    /// After how long without bytes either way the application closes.
    #[serde(default)]
    pub idle_close: Option<Span>,
    /// After how long without bytes from the peer the application takes it for dead.
    #[serde(default)]
    pub dead_after: Option<Span>,
    /// What the application does when the peer has closed.
    #[serde(default)]
    pub on_eof: OnEofSpec,
    /// TCP_NODELAY.
    #[serde(default)]
    pub nodelay: bool,
    /// Bytes that fit before the application must read.
    #[serde(default)]
    pub receive_buffer: Option<u32>,
    /// Whether a firewall on the host keeps its stack from resetting segments that no socket knows.
    #[serde(default)]
    pub drops_strays: bool,
    /// How long after the client dialled the host vanishes without a word: a laptop that sleeps, a SYN with a forged sender.
    #[serde(default)]
    pub vanishes_after: Option<Span>,
    /// Of a server: whether nobody listens.
    #[serde(default)]
    pub refuses: bool,
}

/// Which system.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OsSpec {
    /// Linux.
    #[default]
    Linux,
    /// FreeBSD.
    Freebsd,
    /// macOS.
    Macos,
    /// Windows Vista and later.
    Windows,
}

/// TCP keepalive of a socket; a time that is not given is the host's.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepaliveSpec {
    /// SO_KEEPALIVE; true without it.
    #[serde(default)]
    pub on: Option<bool>,
    /// TCP_KEEPIDLE.
    #[serde(default)]
    pub time: Option<Span>,
    /// TCP_KEEPINTVL.
    #[serde(default)]
    pub intvl: Option<Span>,
    /// TCP_KEEPCNT.
    #[serde(default)]
    #[schemars(range(min = 1, max = 127))]
    pub probes: Option<u8>,
}

/// What an application does when its peer has closed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnEofSpec {
    /// It keeps its own direction open.
    #[default]
    Keep,
    /// It closes too.
    Close,
}

/// A heartbeat of an application: a program's, or one's own.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatSpec {
    /// The program whose rules apply: openssh-client, openssh-server, grpc-client, grpc-server, kubernetes-http2, amqp, mqtt,
    /// websocket, hikaricp, sql-ping. Settings given beside it change them.
    #[serde(default)]
    pub program: Option<String>,
    /// How long silence lasts until one is sent.
    #[serde(default)]
    pub every: Option<Span>,
    /// Silence of what.
    #[serde(default)]
    pub since: Option<SinceSpec>,
    /// Its bytes.
    #[serde(default)]
    pub len: Option<u32>,
    /// The bytes of the peer's answer; 0: it wants none.
    #[serde(default)]
    pub reply: Option<u32>,
    /// How many may go unanswered before the next one is one too many.
    #[serde(default)]
    pub count_max: Option<u8>,
    /// How long an answer may take.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// At most so many in a row without other data.
    #[serde(default)]
    pub without_data_max: Option<u8>,
    /// Only while a request waits for its answer.
    #[serde(default)]
    pub only_in_call: Option<bool>,
}

/// From when a heartbeat counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SinceSpec {
    /// From the last bytes received.
    Received,
    /// From the last bytes sent.
    Sent,
    /// From the last bytes either way.
    Either,
}

impl HostSpec {
    /// The complete settings of the host.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn profile(&self) -> Result<Profile, String> {
        let mut p = self.system()?;
        if let Some(program) = self.known_program()? {
            program.apply(&mut p, &mut AppPlan::default());
        }
        self.socket(&mut p)?;
        Ok(p)
    }

    fn known_program(&self) -> Result<Option<&'static Program>, String> {
        let Some(name) = &self.program else { return Ok(None) };
        let known = || PROGRAMS.iter().map(|p| p.name);
        match programs::program(name) {
            Some(program) => Ok(Some(program)),
            None => Err(match nearest(name, known()) {
                Some(meant) => format!("program: there is no '{name}'; did you mean '{meant}'?"),
                None => format!("program: there is no '{name}'; there are {}", known().collect::<Vec<_>>().join(", ")),
            }),
        }
    }

    /// The system and the host's settings.
    fn system(&self) -> Result<Profile, String> {
        let mut p = Profile::of(match self.os {
            OsSpec::Linux => Os::Linux,
            OsSpec::Freebsd => Os::FreeBsd,
            OsSpec::Macos => Os::MacOs,
            OsSpec::Windows => Os::Windows,
        });
        if let Some(kernel) = &self.kernel {
            if self.os != OsSpec::Linux {
                return Err("'kernel' is a release of Linux; leave it out for other systems".to_owned());
            }
            let numbers = release_numbers(kernel).ok_or_else(|| format!("kernel '{kernel}' is no release, such as 6.12 or 5.15.3"))?;
            p.at_release(numbers[0], numbers[1]);
        }
        for (name, value) in &self.sysctl {
            p.sysctl(name, *value)?;
        }
        Ok(p)
    }

    /// What is set on the socket.
    fn socket(&self, p: &mut Profile) -> Result<(), String> {
        if let Some(keepalive) = &self.keepalive {
            p.keepalive = keepalive.on.unwrap_or(true);
            let times = &mut p.keepalive_times;
            for (slot, given) in [(&mut times.time, keepalive.time), (&mut times.intvl, keepalive.intvl)] {
                if let Some(Span(span)) = given {
                    if span < Duration::from_secs(1) {
                        return Err("keepalive: TCP_KEEPIDLE and TCP_KEEPINTVL are at least 1 s".to_owned());
                    }
                    *slot = span;
                }
            }
            if let Some(probes) = keepalive.probes {
                times.probes = probes;
            }
        }
        if let Some(Span(span)) = self.user_timeout {
            p.user_timeout = span;
        }
        p.nodelay = self.nodelay;
        p.strays_are_dropped = self.drops_strays;
        if let Some(bytes) = self.receive_buffer {
            p.receive_buffer = bytes;
        }
        Ok(())
    }

    /// The complete description of the application.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn app(&self) -> Result<AppPlan, String> {
        let mut app = AppPlan::default();
        if let Some(program) = self.known_program()? {
            let mut unused = Profile::LINUX;
            program.apply(&mut unused, &mut app);
        }
        let span = |given: Option<Span>| given.map(|Span(span)| span);
        app.on_eof = if self.on_eof == OnEofSpec::Close { OnEof::Close } else { OnEof::Keep };
        if let Some(beat) = &self.heartbeat {
            app.heartbeat = Some(beat.complete()?);
        }
        app.read_timeout = span(self.read_timeout);
        app.idle_close = span(self.idle_close).or(app.idle_close);
        app.dead_after = span(self.dead_after).or(app.dead_after);
        Ok(app)
    }
}

impl HeartbeatSpec {
    fn complete(&self) -> Result<Heartbeat, String> {
        let mut beat = if let Some(name) = &self.program {
            app::heartbeat(name).ok_or_else(|| {
                let known: Vec<&str> = HEARTBEATS.iter().map(|beat| beat.name).collect();
                format!("heartbeat: no program is called '{name}'; there are {}", known.join(", "))
            })?
        } else {
            Heartbeat {
                name: "heartbeat",
                every: self.every.ok_or("heartbeat: give 'every', or the name of a 'program'")?.0,
                since: Since::Received,
                len: 16,
                reply: 16,
                count_max: None,
                timeout: None,
                without_data_max: None,
                only_in_call: false,
            }
        };
        if let Some(Span(every)) = self.every {
            if every < Duration::from_millis(1) {
                return Err("heartbeat: 'every' is at least 1ms; leave the heartbeat out to turn it off".to_owned());
            }
            beat.every = every;
        }
        match self.since {
            None => {}
            Some(SinceSpec::Received) => beat.since = Since::Received,
            Some(SinceSpec::Sent) => beat.since = Since::Sent,
            Some(SinceSpec::Either) => beat.since = Since::Either,
        }
        beat.len = self.len.unwrap_or(beat.len).max(1);
        beat.reply = self.reply.unwrap_or(beat.reply);
        beat.count_max = self.count_max.or(beat.count_max);
        beat.timeout = self.timeout.map(|Span(span)| span).or(beat.timeout);
        beat.without_data_max = self.without_data_max.or(beat.without_data_max);
        beat.only_in_call = self.only_in_call.unwrap_or(beat.only_in_call);
        Ok(beat)
    }
}
