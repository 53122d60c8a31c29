//! What all flows of a run share: the path, its links, the hosts' clocks, and what happens to them on the way.

use super::link::Link;
use super::sync::Sync;
use crate::endpoint::Ticks;
use crate::engine::Path;
use crate::model::director::DestState;
use crate::model::idle::Farewell;
use crate::time::{Duration, Instant};

/// Something that happens to the path or to the server at a given time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A link carries nothing any more, in either direction.
    LinkDown(usize),
    /// It works again.
    LinkUp(usize),
    /// A box loses its state (a reboot, a flush, a fail-over without synchronisation).
    Forget(usize),
    /// A director's backup takes over, with the entries that were synchronised.
    FailOver(usize),
    /// The real server of a director is set to this state by its administrator.
    Dest(usize, DestState),
    /// The server's host dies: nothing comes from it, nothing is answered.
    ServerDies,
    /// The server's host comes back without its connections; its stack answers with resets.
    ServerReboots,
    /// The client's host dies.
    ClientDies,
}

/// What all flows of a run share.
#[derive(Clone, Debug)]
pub struct Network {
    /// The boxes.
    pub path: Path,
    /// The links: one more than boxes.
    pub links: Vec<Link>,
    /// When timers of the client's and of the server's host fire.
    pub ticks: [Ticks; 2],
    /// What happens, by time.
    pub faults: Vec<(Instant, Fault)>,
    /// The synchronisation of each box's connections with its backup.
    pub sync: Vec<Option<Sync>>,
    /// When the run ends.
    pub horizon: Instant,
    /// The seed of what is drawn.
    pub seed: u64,
    /// Of two hosts' timers that fire in the same instant, whose is first; a kernel has no rule that can be seen from outside.
    pub server_first: bool,
    /// After so many timers and arrivals a flow is stopped.
    pub events_max: u64,
}

impl Network {
    /// More events than any conversation has: with strange settings two hosts can answer each other without end.
    pub const EVENTS_MAX: u64 = 100_000_000;

    /// A path whose links share a round trip evenly, without loss.
    pub fn plain(path: Path, round_trip: Duration, ticks: Ticks, horizon: Instant) -> Network {
        let links = path.hops.len() + 1;
        let one_way = round_trip.0 / 2;
        let each = one_way / links as u64;
        // The first link takes what does not divide evenly.
        let link = |n: u64| Link { delay: Duration(if n == 0 { one_way - each * (links as u64 - 1) } else { each }), ..Link::default() };
        let sync = vec![None; path.hops.len()];
        let links = (0..links as u64).map(link).collect();
        Network {
            path,
            links,
            ticks: [ticks; 2],
            faults: Vec::new(),
            sync,
            horizon,
            seed: 0,
            server_first: false,
            events_max: Network::EVENTS_MAX,
        }
    }

    /// Whether a box says something of its own when an entry ends.
    pub(super) fn farewells(&self) -> bool {
        self.path.hops.iter().any(|hop| hop.farewell_possible() != Farewell::Nothing)
    }
}
