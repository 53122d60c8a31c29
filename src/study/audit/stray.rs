//! What a box does to a packet of an established connection that it has forgotten: asked of its model, not of a table.

use crate::engine::Path;
use crate::model::{DropReason, Moment, Packet, Side, What};
use crate::net::{Direction, Proto, Segment, Seq, TcpFlags};
use crate::time::Instant;

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stray {
    /// It arrives as if nothing had been.
    Passes,
    /// Its sender gets a reset.
    Reset,
    /// Its sender gets an ICMP error.
    Unreachable,
    /// It leaves with addresses that its receiver does not know.
    Leaks,
    /// It disappears.
    Dropped(DropReason),
}

impl Stray {
    /// In a few words.
    pub const fn words(self) -> &'static str {
        match self {
            Stray::Passes => "picked up again",
            Stray::Reset => "answered with a reset",
            Stray::Unreachable => "answered with an ICMP error",
            Stray::Leaks => "let out untranslated",
            Stray::Dropped(_) => "dropped",
        }
    }
}

/// A keepalive probe that finds no entry at the one box of a path.
pub fn stray(path: &Path, from: Side) -> Stray {
    const PORTS: (u16, u16) = (50_000, 22);
    let [out, back] = [Path::from_client(PORTS.0, PORTS.1), path.from_server(PORTS.0, PORTS.1)];
    let (tuple, goal, dir) = match from {
        Side::Client => (out, back.inverse(), Direction::Original),
        Side::Server => (back, out.inverse(), Direction::Reply),
    };
    let Some(hop) = path.hops.first() else { return Stray::Passes };
    let seg = Segment { seq: Seq(1000), ack: Seq(2000), window: 501, flags: TcpFlags(TcpFlags::ACK), dir, ..Segment::EMPTY };
    let packet = Packet { from, tuple, proto: Proto::Tcp, seg: &seg };
    let outcome = hop.packet(&mut hop.empty(), packet, &mut Moment::exact(Instant::from_secs(1_000_000)));
    match outcome.sent.iter().flatten().next() {
        Some(sent) => match sent.what {
            What::Reset { .. } => Stray::Reset,
            What::Unreachable => Stray::Unreachable,
            What::Packet if sent.to == from.opposite() && sent.tuple == goal => Stray::Passes,
            What::Packet => Stray::Leaks,
        },
        None => Stray::Dropped(outcome.dropped.unwrap_or(DropReason::LocalSilence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Clock;
    use crate::policy::parse_short;

    fn both(spec: &str) -> [Stray; 2] {
        let path = Path::build(&[parse_short(spec).expect("a box")], Clock::Ideal).expect("a path");
        [Side::Client, Side::Server].map(|side| stray(&path, side))
    }

    /// The tables of the specifications: ipvs.md section 12.2, conntrack.md section 4.4.
    #[test]
    fn strays_fare_as_the_tables_say() {
        assert_eq!(both("ipvs:nat"), [Stray::Reset, Stray::Leaks]);
        assert_eq!(both("conntrack"), [Stray::Passes, Stray::Passes]);
        assert!(both("conntrack:strict").iter().all(|stray| matches!(stray, Stray::Dropped(_))));
        assert_eq!(both("conntrack:masquerade"), [Stray::Passes, Stray::Reset]);
        assert!(matches!(both("idle:established=350"), [Stray::Dropped(_), Stray::Dropped(_)]));
    }
}
