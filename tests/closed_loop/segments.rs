//! Single segments to a socket: RFC 5961, rate limits, what keeps and what clears.

use flowlapse::endpoint::{Ctx, Errno, Event, Outbox, Profile, Socket, State, Ticks};
use flowlapse::net::{Segment, SegmentBits, Seq, TcpFlags};
use flowlapse::time::{Duration, Instant};

const THEIRS: u32 = 1000;
const OURS: u32 = 5000;

struct Host {
    socket: Socket,
    out: Outbox,
    now: Instant,
    profile: Profile,
}

impl Host {
    fn ctx<'a>(out: &'a mut Outbox, now: Instant, profile: &'a Profile) -> Ctx<'a> {
        Ctx { now, ticks: Ticks::Ideal, profile, out }
    }

    /// A client whose connection is open.
    fn open(profile: Profile) -> Host {
        let (mut out, now) = (Outbox::default(), Instant::from_secs(10));
        let socket = Socket::connect(Seq(OURS), &mut Self::ctx(&mut out, now, &profile));
        let mut host = Host { socket, out, now, profile };
        host.gets(TcpFlags::SYN | TcpFlags::ACK, THEIRS, OURS + 1, 0);
        assert_eq!(host.socket.state(), State::Established);
        host
    }

    /// A segment comes; what goes out and what the application is told.
    fn gets(&mut self, flags: u8, seq: u32, ack: u32, len: u32) -> (Vec<Segment>, Vec<Event>) {
        self.out = Outbox::default();
        let bits = SegmentBits::HAS_OPTIONS | SegmentBits::SACK_PERMITTED | SegmentBits::WINDOW_SCALE;
        let seg = Segment {
            seq: Seq(seq),
            ack: Seq(ack),
            sack: Seq(ack),
            len,
            window: 500,
            flags: TcpFlags(flags),
            window_scale: 7,
            bits: SegmentBits(bits),
            ..Segment::EMPTY
        };
        self.socket.segment(&seg, &mut Self::ctx(&mut self.out, self.now, &self.profile));
        (self.out.segments.clone(), self.out.events.clone())
    }

    fn waits(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }
}

fn numbers(segments: &[Segment]) -> Vec<(u8, u32, u32)> {
    segments.iter().map(|s| (s.flags.0, s.seq.0, s.ack.0)).collect()
}

/// E-19: a RST beside the expected number is challenged; the exact one resets.
#[test]
fn resets_are_challenged_unless_exact() {
    let mut host = Host::open(Profile::LINUX);
    let (out, told) = host.gets(TcpFlags::RST, THEIRS + 2, 0, 0);
    assert_eq!((numbers(&out), told), (vec![(TcpFlags::ACK, OURS + 1, THEIRS + 1)], vec![]));
    // Out of the window: nothing.
    assert_eq!(host.gets(TcpFlags::RST, THEIRS + 100_000, 0, 0).0, vec![]);
    let (out, told) = host.gets(TcpFlags::RST, THEIRS + 1, 0, 0);
    assert_eq!((out, told), (vec![], vec![Event::Failed(Errno::Econnreset)]));
    assert_eq!(host.socket.state(), State::Closed);
}

/// E-11: of two keepalive probes 100 ms apart one is answered; half a second later the next.
#[test]
fn invalid_empty_segments_are_answered_twice_a_second() {
    let mut host = Host::open(Profile::LINUX);
    assert_eq!(host.gets(TcpFlags::ACK, THEIRS, OURS + 1, 0).0.len(), 1);
    host.waits(100);
    assert_eq!(host.gets(TcpFlags::ACK, THEIRS, OURS + 1, 0).0.len(), 0);
    // Segments with payload always are.
    assert_eq!(host.gets(TcpFlags::ACK, THEIRS, OURS + 1, 1).0.len(), 1);
    host.waits(400);
    assert_eq!(host.gets(TcpFlags::ACK, THEIRS, OURS + 1, 0).0.len(), 1);
}

/// A SYN in an open connection is challenged (RFC 5961 section 4); after the peer's FIN a reset is EPIPE.
#[test]
fn syn_and_epipe() {
    let mut host = Host::open(Profile::LINUX);
    assert_eq!(numbers(&host.gets(TcpFlags::SYN, 77, 0, 0).0), vec![(TcpFlags::ACK, OURS + 1, THEIRS + 1)]);
    assert_eq!(host.gets(TcpFlags::FIN | TcpFlags::ACK, THEIRS + 1, OURS + 1, 0).1, vec![Event::Eof]);
    assert_eq!(host.socket.state(), State::CloseWait);
    assert_eq!(host.gets(TcpFlags::RST, THEIRS + 2, 0, 0).1, vec![Event::Failed(Errno::Epipe)]);
}

/// A SYN that is refused, and an acknowledgement of something that was never sent (E-20).
#[test]
fn answers_to_a_syn() {
    let profile = Profile::LINUX;
    let dial = || {
        let (mut out, now) = (Outbox::default(), Instant::from_secs(10));
        let socket = Socket::connect(Seq(OURS), &mut Host::ctx(&mut out, now, &profile));
        Host { socket, out, now, profile }
    };
    let mut host = dial();
    assert_eq!(host.gets(TcpFlags::RST | TcpFlags::ACK, 0, OURS + 1, 0).1, vec![Event::Failed(Errno::Econnrefused)]);
    let mut host = dial();
    let (out, told) = host.gets(TcpFlags::ACK, 99, 4711, 0);
    assert_eq!((numbers(&out), told), (vec![(TcpFlags::RST, 4711, 0)], vec![]));
    assert!(host.socket.next_timer() < host.now + Duration::from_millis(10), "the SYN is soon sent again");
}

/// What comes early is kept and delivered in order; a retransmission is acknowledged at once and delivered once.
#[test]
fn order_is_restored() {
    let mut host = Host::open(Profile::LINUX);
    let (out, told) = host.gets(TcpFlags::ACK, THEIRS + 11, OURS + 1, 10);
    assert_eq!((out.len(), out[0].ack, out[0].sack, told.len()), (1, Seq(THEIRS + 1), Seq(THEIRS + 21), 0));
    host.gets(TcpFlags::ACK | TcpFlags::FIN, THEIRS + 31, OURS + 1, 5);
    assert_eq!(host.gets(TcpFlags::ACK, THEIRS + 1, OURS + 1, 10).1, vec![Event::Delivered(20)]);
    assert_eq!(host.gets(TcpFlags::ACK, THEIRS + 21, OURS + 1, 10).1, vec![Event::Delivered(15), Event::Eof]);
    assert_eq!(host.gets(TcpFlags::ACK, THEIRS + 21, OURS + 1, 10).1, vec![]);
}

/// ICMP errors are remembered, not fatal, once the connection is open (E-12, E-21); a good ACK clears them.
#[test]
fn icmp_errors_are_soft() {
    let mut host = Host::open(Profile { keepalive: true, ..Profile::LINUX });
    host.out = Outbox::default();
    host.socket.icmp_error(Errno::Ehostunreach, &mut Host::ctx(&mut host.out, host.now, &host.profile));
    assert_eq!(host.out.events, vec![]);
    for _ in 0..20 {
        host.now = host.socket.next_timer();
        host.socket.timer(&mut Host::ctx(&mut host.out, host.now, &host.profile));
        if host.socket.state() == State::Closed {
            break;
        }
    }
    assert_eq!(host.out.events, vec![Event::Failed(Errno::Ehostunreach)]);
}

/// BSD counts every segment as a sign of life, the peer's probe too (E-25); Linux does not (E-05).
#[test]
fn what_counts_as_life() {
    for (profile, probes) in [(Profile::LINUX, true), (Profile::FREEBSD, false)] {
        let mut host = Host::open(Profile { keepalive: true, ..profile });
        host.waits(7_100_000);
        host.gets(TcpFlags::ACK, THEIRS, OURS + 1, 0);
        host.out = Outbox::default();
        host.now = Instant::from_secs(10 + 7_200);
        host.socket.timer(&mut Host::ctx(&mut host.out, host.now, &host.profile));
        assert_eq!(!host.out.segments.is_empty(), probes, "{:?}", profile.os);
    }
}
