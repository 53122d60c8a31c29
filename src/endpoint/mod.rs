//! The two hosts: a TCP socket as the kernels keep one, and what a host answers where it has none. Pure step functions.
//!
//! A segment, a timer, or a call of the application goes in, with the time; segments and what the application is told come
//! out. Imitates `net/ipv4/tcp*.c` of Linux (2.6.32 to 7.1, by settings) as the spec's endpoints.md describes it, and the
//! timers of FreeBSD, macOS and Windows by profile. Held to recordings of real sockets by `flowlapse conform`. Leaves out:
//! urgent data, Fast Open, MPTCP, timestamps as a check (PAWS), CUBIC's growth (a plain one stands for it).
//!
//! It must not know boxes, paths, scenarios or reports, and it keeps no clock: [`Ticks`] says when a timer that is armed now
//! will fire.

pub mod flight;
mod input;
mod output;
pub mod profile;
pub mod rtt;
pub mod socket;
mod timers;

pub use profile::{Keepalive, Os, Profile};
pub use socket::{Socket, State};

use crate::kernel::wheel::Phase;
use crate::model::conntrack::router::{answer_segment, local_answer};
use crate::net::{Proto, Segment};
use crate::time::{Duration, Instant};

/// When timers fire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ticks {
    /// Exactly on time.
    Ideal,
    /// As the wheel of a kernel with this counter lets them (`kernel/time/timer.c`, since 4.8).
    Wheel(Phase),
}

impl Ticks {
    /// When a timer fires that is armed at `now` for `span`.
    pub fn fires(self, now: Instant, span: Duration) -> Instant {
        match self {
            Ticks::Ideal => now + span,
            Ticks::Wheel(phase) => phase.fires(now, span),
        }
    }

    /// A span as the kernel stores it: in whole ticks, rounded up.
    #[must_use]
    pub fn whole(self, span: Duration) -> Duration {
        match self {
            Ticks::Ideal => span,
            Ticks::Wheel(phase) => phase.hz.span(phase.hz.ticks(span)),
        }
    }

    /// The shortest timer (`TCP_TIMEOUT_MIN`): two ticks; with exact timers two milliseconds.
    pub fn shortest(self) -> Duration {
        match self {
            Ticks::Ideal => Duration::from_millis(2),
            Ticks::Wheel(phase) => phase.hz.span(2),
        }
    }
}

/// What an application is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The connection is open.
    Opened,
    /// So many bytes can be read.
    Delivered(u32),
    /// The peer will send no more.
    Eof,
    /// The connection failed.
    Failed(Errno),
}

/// Why a connection failed, by the number's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Errno {
    /// Nobody answered in time.
    Etimedout,
    /// The peer, or a box that spoke for it, reset the connection.
    Econnreset,
    /// The same while it was being opened.
    Econnrefused,
    /// The same after the peer had closed its side.
    Epipe,
    /// An ICMP error said that the host cannot be reached.
    Ehostunreach,
}

impl Errno {
    /// All of them.
    pub const ALL: [Errno; 5] = [Errno::Etimedout, Errno::Econnreset, Errno::Econnrefused, Errno::Epipe, Errno::Ehostunreach];

    /// The name in `errno.h`.
    pub const fn name(self) -> &'static str {
        match self {
            Errno::Etimedout => "ETIMEDOUT",
            Errno::Econnreset => "ECONNRESET",
            Errno::Econnrefused => "ECONNREFUSED",
            Errno::Epipe => "EPIPE",
            Errno::Ehostunreach => "EHOSTUNREACH",
        }
    }

    /// The sentence of `strerror`, by which people know it.
    pub const fn text(self) -> &'static str {
        match self {
            Errno::Etimedout => "Connection timed out",
            Errno::Econnreset => "Connection reset by peer",
            Errno::Econnrefused => "Connection refused",
            Errno::Epipe => "Broken pipe",
            Errno::Ehostunreach => "No route to host",
        }
    }
}

/// Where a socket puts what it sends and what it tells its application.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Segments, in order.
    pub segments: Vec<Segment>,
    /// What the application is told, in order.
    pub events: Vec<Event>,
}

/// The moment in which a socket is asked for something.
pub struct Ctx<'a> {
    /// The time.
    pub now: Instant,
    /// When timers fire.
    pub ticks: Ticks,
    /// The host's settings.
    pub profile: &'a Profile,
    /// Where the results go.
    pub out: &'a mut Outbox,
}

impl Ctx<'_> {
    fn tell(&mut self, event: Event) {
        self.out.events.push(event);
    }
}

/// What a host without a socket for a segment answers (spec section 5.1): a reset, unless it is one.
pub fn stray(seg: &Segment, profile: &Profile) -> Option<Segment> {
    if profile.strays_are_dropped {
        return None;
    }
    local_answer(Proto::Tcp, seg).map(|what| answer_segment(what, seg))
}
