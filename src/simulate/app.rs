//! An application at one end: its script, its answers, its heartbeat, and the timers of its own by which it gives up.
//!
//! Source of the heartbeats' rules: endpoints.md section 7. It knows no segments: bytes come in order or not at all, and the
//! two applications agree about what they mean.

use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// What an application does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Do {
    /// Writes bytes that want no answer.
    Send(u32),
    /// Writes a request; the peer answers so many bytes after so long.
    Request {
        /// Bytes of the request.
        len: u32,
        /// How long the peer works on it.
        after: Duration,
        /// Bytes of the answer.
        reply: u32,
    },
    /// Closes its sending direction and goes on reading.
    Shutdown,
    /// Closes the socket.
    Close,
    /// Resets the connection.
    Abort,
    /// Stops reading.
    Pause,
    /// Reads again.
    Resume,
}

/// Something that an application does at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    /// When.
    pub at: Instant,
    /// What.
    pub what: Do,
}

/// What an application does when its peer has closed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OnEof {
    /// It keeps its own direction open.
    #[default]
    Keep,
    /// It closes too, and is done.
    Close,
}

/// From when a heartbeat counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Since {
    /// From the last bytes received: own output does not postpone it.
    Received,
    /// From the last bytes sent or received.
    Either,
    /// From the last bytes sent.
    Sent,
}

/// A heartbeat of an application, in data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// Who does it so, for reports.
    pub name: &'static str,
    /// How long silence lasts until one is sent.
    pub every: Duration,
    /// Silence of what.
    pub since: Since,
    /// Its bytes.
    pub len: u32,
    /// The bytes of the peer's answer; 0: it wants none.
    pub reply: u32,
    /// How many may go unanswered before the next one would be one too many; none: they are not counted.
    pub count_max: Option<u8>,
    /// How long an answer may take; none: it is not timed.
    pub timeout: Option<Duration>,
    /// At most so many in a row without other data from this side (gRPC: 2).
    pub without_data_max: Option<u8>,
    /// Only while a request waits for its answer (gRPC without `permit_without_calls`).
    pub only_in_call: bool,
}

/// What an application is like.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AppPlan {
    /// What it does when the peer has closed.
    pub on_eof: OnEof,
    /// Its heartbeat.
    pub heartbeat: Option<Heartbeat>,
    /// How long it waits for the answer to a request.
    pub read_timeout: Option<Duration>,
    /// After how long without bytes either way it closes.
    pub idle_close: Option<Duration>,
    /// After how long without bytes from the peer it takes the peer for dead.
    pub dead_after: Option<Duration>,
}

/// What bytes mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Data,
    Request { after: Duration, reply: u32 },
    Reply,
    Ping { reply: u32 },
    Pong,
}

/// What an application wants done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    Write(u32, Kind),
    Act(Do),
    GiveUp(&'static str),
}

/// What only applications have that answer, ask or watch the time.
#[derive(Clone, Default, Debug)]
struct Busy {
    incoming: VecDeque<(u32, Kind)>,
    replies: VecDeque<(Instant, u32)>,
    waiting: u16,
    beat_at: Option<Instant>,
    beat_timeout_at: Option<Instant>,
    unanswered: u8,
    without_data: u8,
    read_deadline: Option<Instant>,
    idle_at: Option<Instant>,
    dead_at: Option<Instant>,
}

/// One application's state.
#[derive(Clone, Default, Debug)]
pub(super) struct AppState {
    next: u32,
    /// It does nothing any more: it failed, aborted, or both directions are closed.
    pub(super) stopped: bool,
    pub(super) eof: bool,
    /// It closed its sending direction.
    pub(super) closed: bool,
    busy: Option<Box<Busy>>,
}

/// Later than everything.
const NEVER: Instant = Instant::MAX;

impl AppPlan {
    /// Whether it watches the time or answers by itself.
    pub(super) const fn watches(&self) -> bool {
        self.heartbeat.is_some() || self.read_timeout.is_some() || self.idle_close.is_some() || self.dead_after.is_some()
    }
}

impl AppState {
    /// When it wants to act next.
    pub(super) fn next_timer(&self, script: &[Action]) -> Instant {
        if self.stopped {
            return NEVER;
        }
        let scripted = script.get(self.next as usize).map_or(NEVER, |action| action.at);
        let Some(busy) = &self.busy else { return scripted };
        let own = [busy.beat_at, busy.beat_timeout_at, busy.read_deadline, busy.idle_at, busy.dead_at, busy.replies.front().map(|r| r.0)];
        own.into_iter().flatten().fold(scripted, Instant::min)
    }

    /// The connection opened.
    pub(super) fn opened(&mut self, now: Instant, plan: &AppPlan) {
        if plan.watches() {
            self.busy.get_or_insert_default();
            self.heard(now, plan);
            self.spoke(now, plan);
        }
    }

    /// Bytes of the peer are on their way, and this is what they will mean.
    pub(super) fn announced(&mut self, len: u32, kind: Kind) {
        if len > 0 {
            self.busy.get_or_insert_default().incoming.push_back((len, kind));
        }
    }

    /// The same for bytes that mean nothing, where anybody keeps count.
    pub(super) fn announced_if_busy(&mut self, len: u32) {
        if self.busy.is_some() {
            self.announced(len, Kind::Data);
        }
    }

    /// Bytes came in; what they complete is wished for.
    pub(super) fn received(&mut self, bytes: u32, now: Instant, plan: &AppPlan, wishes: &mut Vec<Wish>) {
        if self.stopped {
            return;
        }
        if let Some(busy) = &mut self.busy {
            let mut left = bytes;
            while left > 0 {
                let Some((missing, kind)) = busy.incoming.front_mut() else { break };
                let taken = left.min(*missing);
                *missing -= taken;
                left -= taken;
                if *missing > 0 {
                    break;
                }
                let kind = *kind;
                busy.incoming.pop_front();
                busy.unanswered = 0;
                match kind {
                    Kind::Data => {}
                    Kind::Request { after, reply } => {
                        let at = now + after;
                        let place = busy.replies.iter().position(|r| r.0 > at).unwrap_or(busy.replies.len());
                        busy.replies.insert(place, (at, reply));
                    }
                    Kind::Reply => {
                        busy.waiting = busy.waiting.saturating_sub(1);
                        busy.read_deadline = if busy.waiting == 0 { None } else { plan.read_timeout.map(|span| now + span) };
                    }
                    Kind::Ping { reply } => wishes.push(Wish::Write(reply, Kind::Pong)),
                    Kind::Pong => busy.beat_timeout_at = None,
                }
            }
        }
        self.heard(now, plan);
    }

    fn heard(&mut self, now: Instant, plan: &AppPlan) {
        let Some(busy) = &mut self.busy else { return };
        if let Some(beat) = &plan.heartbeat
            && beat.since != Since::Sent
        {
            busy.beat_at = Some(now + beat.every);
        }
        busy.idle_at = plan.idle_close.map(|span| now + span);
        busy.dead_at = plan.dead_after.map(|span| now + span);
    }

    fn spoke(&mut self, now: Instant, plan: &AppPlan) {
        let Some(busy) = &mut self.busy else { return };
        if let Some(beat) = &plan.heartbeat
            && beat.since != Since::Received
        {
            busy.beat_at = Some(now + beat.every);
        }
        busy.idle_at = plan.idle_close.map(|span| now + span);
    }

    /// It wrote something.
    pub(super) fn wrote(&mut self, kind: Kind, now: Instant, plan: &AppPlan) {
        if matches!(kind, Kind::Request { .. }) {
            let busy = self.busy.get_or_insert_default();
            busy.waiting = busy.waiting.saturating_add(1);
            if busy.read_deadline.is_none() {
                busy.read_deadline = plan.read_timeout.map(|span| now + span);
            }
        }
        if let Some(busy) = &mut self.busy
            && !matches!(kind, Kind::Ping { .. } | Kind::Pong)
        {
            busy.without_data = 0;
        }
        self.spoke(now, plan);
    }

    /// The peer has closed.
    pub(super) fn saw_eof(&mut self, plan: &AppPlan, wishes: &mut Vec<Wish>) {
        self.eof = true;
        if self.closed {
            self.stopped = true;
        } else if plan.on_eof == OnEof::Close {
            wishes.push(Wish::Act(Do::Shutdown));
        }
    }

    /// Everything that is due at `now`.
    pub(super) fn due(&mut self, now: Instant, script: &[Action], plan: &AppPlan, wishes: &mut Vec<Wish>) {
        while let Some(action) = script.get(self.next as usize).filter(|action| action.at <= now) {
            self.next += 1;
            wishes.push(match action.what {
                Do::Send(len) => Wish::Write(len, Kind::Data),
                Do::Request { len, after, reply } => Wish::Write(len, Kind::Request { after, reply }),
                other => Wish::Act(other),
            });
        }
        let Some(busy) = &mut self.busy else { return };
        while let Some((_, len)) = busy.replies.front().copied().filter(|(at, _)| *at <= now) {
            busy.replies.pop_front();
            wishes.push(Wish::Write(len, Kind::Reply));
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(busy.read_deadline) {
            busy.read_deadline = None;
            wishes.push(Wish::GiveUp("read timeout"));
        } else if is_due(busy.beat_timeout_at) {
            busy.beat_timeout_at = None;
            wishes.push(Wish::GiveUp("heartbeat not answered"));
        } else if is_due(busy.dead_at) {
            busy.dead_at = None;
            wishes.push(Wish::GiveUp("peer taken for dead"));
        } else if is_due(busy.idle_at) {
            busy.idle_at = None;
            wishes.push(Wish::Act(Do::Close));
        }
        if is_due(busy.beat_at) {
            busy.beat_at = None;
            if let Some(beat) = &plan.heartbeat {
                Self::beat(busy, beat, now, wishes);
            }
        }
    }

    fn beat(busy: &mut Busy, beat: &Heartbeat, now: Instant, wishes: &mut Vec<Wish>) {
        busy.beat_at = Some(now + beat.every);
        if beat.count_max.is_some_and(|most| busy.unanswered >= most) {
            wishes.push(Wish::GiveUp("heartbeats not answered"));
            return;
        }
        let silent = beat.only_in_call && busy.waiting == 0 || beat.without_data_max.is_some_and(|most| busy.without_data >= most);
        if silent {
            return;
        }
        busy.unanswered = busy.unanswered.saturating_add(1);
        busy.without_data = busy.without_data.saturating_add(1);
        if let Some(timeout) = beat.timeout
            && busy.beat_timeout_at.is_none()
        {
            busy.beat_timeout_at = Some(now + timeout);
        }
        wishes.push(Wish::Write(beat.len, if beat.reply > 0 { Kind::Ping { reply: beat.reply } } else { Kind::Data }));
    }
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

const BEAT: Heartbeat = Heartbeat {
    name: "",
    every: Duration::ZERO,
    since: Since::Received,
    len: 17,
    reply: 17,
    count_max: None,
    timeout: None,
    without_data_max: None,
    only_in_call: false,
};

/// The heartbeats that programs have, by name, with the interval that is usual for them (endpoints.md section 7). Those that
/// are off by default have the interval that their manuals suggest.
pub const HEARTBEATS: [Heartbeat; 10] = [
    // OpenSSH 7 to 10: ServerAliveInterval, ServerAliveCountMax 3; counted from the last packet received; exits at n·(max+1).
    Heartbeat { name: "openssh-client", every: seconds(60), len: 52, reply: 36, count_max: Some(3), ..BEAT },
    Heartbeat { name: "openssh-server", every: seconds(60), len: 52, reply: 36, count_max: Some(3), ..BEAT },
    // gRPC core client: keepalive_time, keepalive_timeout 20 s, two pings without data, none without a call.
    Heartbeat {
        name: "grpc-client",
        every: seconds(60),
        timeout: Some(seconds(20)),
        without_data_max: Some(2),
        only_in_call: true,
        ..BEAT
    },
    // gRPC core server: 2 h, 20 s.
    Heartbeat { name: "grpc-server", every: seconds(7200), timeout: Some(seconds(20)), ..BEAT },
    // Kubernetes apimachinery since 1.20: ReadIdleTimeout 30 s, PingTimeout 15 s.
    Heartbeat { name: "kubernetes-http2", every: seconds(30), timeout: Some(seconds(15)), ..BEAT },
    // AMQP 0-9-1: a frame every half of the timeout (60 s) without other traffic sent; it wants no answer.
    Heartbeat { name: "amqp", every: seconds(30), since: Since::Sent, len: 8, reply: 0, ..BEAT },
    // MQTT: PINGREQ within Keep Alive (60 s) of the last packet sent; the answer is awaited as long.
    Heartbeat { name: "mqtt", every: seconds(60), since: Since::Sent, len: 2, reply: 2, timeout: Some(seconds(60)), ..BEAT },
    // WebSocket ping as the usual libraries do it: 20 s, and 20 s for the pong.
    Heartbeat { name: "websocket", every: seconds(20), len: 6, reply: 6, timeout: Some(seconds(20)), since: Since::Either, ..BEAT },
    // HikariCP keepaliveTime: a query on an idle connection every two minutes, given up after 5 s (connection-test timeout).
    Heartbeat { name: "hikaricp", every: seconds(120), len: 30, reply: 60, timeout: Some(seconds(5)), since: Since::Either, ..BEAT },
    // PostgreSQL or MySQL pools that send a query on idle connections; no time limit of their own.
    Heartbeat { name: "sql-ping", every: seconds(60), len: 30, reply: 60, since: Since::Either, ..BEAT },
];

/// The heartbeat of a program.
pub fn heartbeat(name: &str) -> Option<Heartbeat> {
    HEARTBEATS.iter().find(|beat| beat.name == name).copied()
}
