//! What becomes of live connections: when each entry of a table ends if nobody speaks, whether an end's timer speaks before, and when
//! the ends learn of it if none does.
//!
//! A listing shows whole seconds, so an entry ends up to a second later than it says, and IPVS's later by the lateness of its timer; a
//! keepalive timer that fires looks first whether the connection was quiet at all (endpoints.md 2.4). What these leave open stays open.

use super::Asked;
pub use super::fate::{Class, End, Fate, Notice, Speaks, Table, Voice};
use super::habit::Habits;
use super::setup::{Setup, Stand, late};
use super::stray::Stray;
use crate::engine::Device;
use crate::inventory::{ConntrackEntry, Happened, IpvsConn, Kind, Socket, SocketTimer};
use crate::model::Side;
use crate::net::{Addr, Proto, Sock};
use crate::policy::ipvs::Method;
use crate::policy::{BoxPolicy, BoxSpec};
use crate::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The lot of all of them.
#[derive(Debug)]
pub struct Forecast<'a> {
    /// By the time of their end, then by address.
    pub fates: Vec<Fate<'a>>,
    /// Entries by table and state.
    pub states: BTreeMap<(Table, &'a str), u64>,
    /// Established TCP entries of each table whose silence has reached a share of the timer: a quarter, a half, three quarters, nine tenths.
    pub silent: BTreeMap<Table, [u64; 4]>,
}

/// The shares of [`Forecast::silent`], in per cent.
pub const SHARES: [u64; 4] = [25, 50, 75, 90];

/// Goes through the tables; nothing where none is shown.
pub fn forecast<'a>(setup: &Setup<'a>, asked: &Asked, assumptions: &mut Vec<String>) -> Option<Forecast<'a>> {
    let machine = setup.machine;
    let tables = [Kind::Conntrack, Kind::IpvsConns].iter().any(|kind| machine.has(*kind));
    if !tables && machine.conntrack.is_empty() && machine.ipvs_conns.is_empty() {
        return None;
    }
    let teller = Teller::new(setup, asked);
    let mut forecast = Forecast { fates: Vec::new(), states: BTreeMap::new(), silent: BTreeMap::new() };
    for entry in &machine.conntrack {
        let state = conntrack_state(entry);
        *forecast.states.entry((Table::Conntrack, state)).or_default() += 1;
        let fate = teller.conntrack(entry, state);
        forecast.note_silence(&fate, &teller);
        forecast.fates.push(fate);
    }
    for conn in &machine.ipvs_conns {
        let state = if conn.template { "TEMPLATE" } else { conn.state.as_str() };
        *forecast.states.entry((Table::Ipvs, state)).or_default() += 1;
        if !conn.template {
            let fate = teller.ipvs(conn);
            forecast.note_silence(&fate, &teller);
            forecast.fates.push(fate);
        }
    }
    teller.forgotten(&mut forecast.fates);
    forecast.fates.sort_by(|one, other| {
        let left = |fate: &Fate<'_>| if fate.class == Class::Forgotten { Duration::ZERO } else { fate.left.unwrap_or(Duration::MAX) };
        (left(one), one.table, one.proto, one.client, one.server, one.at).cmp(&(
            left(other),
            other.table,
            other.proto,
            other.client,
            other.server,
            other.at,
        ))
    });
    teller.assume(&forecast, assumptions);
    Some(forecast)
}

fn conntrack_state(entry: &ConntrackEntry) -> &str {
    if entry.offloaded {
        "OFFLOAD"
    } else if entry.proto == Proto::Udp {
        if entry.unreplied { "UDP UNREPLIED" } else { "UDP" }
    } else {
        entry.state.as_deref().unwrap_or("NONE")
    }
}

/// An IPv4 address in an IPv6 one's clothes is the IPv4 address: sockets print it so.
fn plain(sock: Sock) -> Sock {
    let addr = match sock.addr.ip() {
        std::net::IpAddr::V6(six) => six.to_ipv4_mapped().map_or(sock.addr, |four| Addr::v4(four.octets())),
        std::net::IpAddr::V4(_) => sock.addr,
    };
    Sock { addr, ..sock }
}

type Sockets<'a> = HashMap<(Sock, Sock), &'a Socket>;

/// The sockets of one list, and how much later than the tables it was read.
struct List<'a> {
    sockets: Sockets<'a>,
    habits: Habits<'a>,
    shown: bool,
    later: i128,
}

/// Everything that is looked up again and again.
struct Teller<'s, 'a> {
    setup: &'s Setup<'a>,
    given: Option<[u64; 3]>,
    /// Of the client, of the server, of the machine itself.
    lists: [List<'a>; 3],
    conntrack: Option<&'s Stand>,
    ipvs: Option<&'s Stand>,
    strays: BTreeMap<(Table, &'static str), [Stray; 2]>,
    methods: HashMap<(Sock, Sock), Method>,
}

/// An entry, as far as its end matters.
struct Entry {
    left: Duration,
    /// How long it has been quiet at the least.
    quiet: Duration,
    /// How much later than `left` it may end.
    band: Duration,
    strays: [Stray; 2],
    /// Whether the box sees what the server sends.
    sees_replies: bool,
}

impl<'s, 'a> Teller<'s, 'a> {
    fn new(setup: &'s Setup<'a>, asked: &Asked) -> Teller<'s, 'a> {
        let machine = setup.machine;
        let list = |inventory: Option<&'a crate::inventory::Inventory>, idle: u64| {
            let of_programs = inventory.into_iter().flat_map(|shown| &shown.sockets);
            let sockets = inventory.map(|shown| shown.sockets.iter().map(|s| ((plain(s.local), plain(s.peer)), s)).collect());
            let later = inventory.and_then(|shown| Some(i128::from(shown.machine.taken?.0) - i128::from(machine.machine.taken?.0)));
            List {
                sockets: sockets.unwrap_or_default(),
                habits: Habits::of(of_programs, Duration::from_secs(idle)),
                shown: inventory.is_some_and(|shown| shown.has(Kind::Sockets)),
                later: later.unwrap_or(0),
            }
        };
        let of = |wanted: fn(&Device) -> bool| setup.stands.iter().find(|stand| stand.is_machine && wanted(&stand.hop().device));
        let conntrack = of(|device| matches!(device, Device::Router(_)));
        let ipvs = of(|device| matches!(device, Device::Director(_)));
        let both = |stand: &Stand| [Side::Client, Side::Server].map(|side| stand.stray(side));
        let mut strays = BTreeMap::new();
        if let Some(stand) = conntrack {
            strays.insert((Table::Conntrack, ""), both(stand));
        }
        if let Some((stand, BoxPolicy::Ipvs(policy))) = ipvs.map(|stand| (stand, &stand.hop().policy)) {
            for method in Method::ALL {
                let policy = BoxPolicy::Ipvs(crate::policy::IpvsPolicy { method: *method, ..policy.clone() });
                let spec = BoxSpec::new(stand.label().to_owned(), policy);
                let other = Stand::new(&spec, BTreeMap::new(), None);
                strays.insert((Table::Ipvs, method.word()), other.as_ref().map_or_else(|_| both(stand), both));
            }
        }
        let services = machine.services.iter().filter_map(|service| match service.key {
            crate::inventory::ServiceKey::Sock(sock) => Some((sock, &service.reals)),
            crate::inventory::ServiceKey::Fwmark(_) => None,
        });
        let methods =
            services.flat_map(|(vip, reals)| reals.iter().filter_map(move |real| Some(((vip, real.sock), real.method?)))).collect();
        let lists = [
            list(setup.ends[0].shown, setup.ends[0].time.value),
            list(setup.ends[1].shown, setup.ends[1].time.value),
            list(Some(machine), own_idle(setup, asked.keepalive)),
        ];
        Teller { setup, given: asked.keepalive, lists, conntrack, ipvs, strays, methods }
    }

    /// The socket of an end, first where that end's were shown, then on the machine itself.
    fn socket(&self, side: usize, local: Sock, peer: Sock) -> Option<(&'a Socket, i128, bool)> {
        [side, 2].into_iter().find_map(|which| {
            let list = &self.lists[which];
            list.sockets.get(&(plain(local), plain(peer))).map(|socket| (*socket, list.later, which == 2))
        })
    }

    fn conntrack(&self, entry: &'a ConntrackEntry, state: &'a str) -> Fate<'a> {
        let reply = entry.reply.unwrap_or(crate::inventory::Tuple { src: entry.original.dst, dst: entry.original.src });
        let real = (reply.src != entry.original.dst).then_some(reply.src);
        let mut fate = Fate {
            table: Table::Conntrack,
            proto: entry.proto,
            client: entry.original.src,
            server: entry.original.dst,
            real,
            state,
            left: entry.left,
            class: Class::Closing,
            ends: [End::NotShown; 2],
            notices: [Notice::NotShown; 2],
            capped: false,
            remark: "",
            at: &entry.at,
        };
        let (Some(left), Some(stand)) = (entry.left, self.conntrack) else {
            (fate.class, fate.remark) = (Class::Unknown, "in a flow table, where its timer does not count");
            return fate;
        };
        if entry.proto == Proto::Udp {
            (fate.class, fate.remark) = (Class::Unknown, "UDP: nothing shows whether somebody will speak");
            return fate;
        }
        let timeout = entry.state.as_deref().and_then(|state| stand.of_state(state)).unwrap_or(Duration::MAX);
        let cap = stand.cap().map_or(Duration::MAX, |(_, cap)| cap);
        fate.capped = state == "ESTABLISHED" && timeout > cap && left <= cap;
        // Under a cap it may have been quiet for a moment only.
        let ran = if fate.capped { cap } else { timeout };
        let about = Entry {
            left,
            quiet: quiet(ran, left),
            band: Duration::from_secs(1) + stand.late(timeout.min(Duration::from_secs(864_000)), None),
            strays: self.strays_of(Table::Conntrack, ""),
            sees_replies: true,
        };
        let sockets = [self.socket(0, entry.original.src, entry.original.dst), self.socket(1, reply.src, reply.dst)];
        self.decide(&mut fate, &about, sockets);
        fate
    }

    fn ipvs(&self, conn: &'a IpvsConn) -> Fate<'a> {
        let mut fate = Fate {
            table: Table::Ipvs,
            proto: conn.proto.unwrap_or(Proto::Tcp),
            client: conn.client,
            server: conn.vip,
            real: Some(conn.real),
            state: &conn.state,
            left: Some(conn.left),
            class: Class::Closing,
            ends: [End::NotShown; 2],
            notices: [Notice::NotShown; 2],
            capped: false,
            remark: "",
            at: &conn.at,
        };
        let Some(stand) = self.ipvs else { return fate };
        if fate.proto == Proto::Udp {
            (fate.class, fate.remark) = (Class::Unknown, "UDP: nothing shows whether somebody will speak");
            return fate;
        }
        let timeout = stand.of_state(&conn.state).unwrap_or(Duration::MAX);
        let usual = match &stand.hop().policy {
            BoxPolicy::Ipvs(policy) => policy.method,
            _ => Method::Nat,
        };
        let method = self.methods.get(&(conn.vip, conn.real)).copied().unwrap_or(usual);
        let about = Entry {
            left: conn.left,
            quiet: quiet(timeout, conn.left),
            band: Duration::from_secs(1)
                + stand.late(timeout.min(Duration::from_secs(2_678_400)), self.setup.machine.machine.hz.map(crate::kernel::wheel::Hz)),
            strays: self.strays_of(Table::Ipvs, method.word()),
            sees_replies: method == Method::Nat,
        };
        // Only NAT gives the server another address than the client talks to.
        let server = if method == Method::Nat { conn.real } else { conn.vip };
        let sockets = [self.socket(0, conn.client, conn.vip), self.socket(1, server, conn.client)];
        self.decide(&mut fate, &about, sockets);
        fate
    }

    fn strays_of(&self, table: Table, method: &'static str) -> [Stray; 2] {
        self.strays.get(&(table, method)).copied().unwrap_or([Stray::Passes; 2])
    }

    /// What becomes of an entry whose sockets were looked up.
    fn decide(&self, fate: &mut Fate<'a>, entry: &Entry, sockets: [Option<(&'a Socket, i128, bool)>; 2]) {
        let closing = matches!(fate.state, "FIN_WAIT" | "CLOSE_WAIT");
        let lives = |socket: &Socket| matches!(socket.state.as_str(), "ESTAB" | "CLOSE-WAIT" | "FIN-WAIT-2");
        let alive =
            sockets.iter().flatten().any(|(socket, ..)| lives(socket) && !matches!(socket.timer, Some((SocketTimer::TimeWait, ..))));
        if fate.state != "ESTABLISHED" && !(closing && alive) {
            return;
        }
        if closing {
            fate.remark = "half-closed: a socket of it lives";
        }
        for (side, found) in sockets.into_iter().enumerate() {
            fate.ends[side] = match found {
                Some((socket, later, local)) => self.end(side, socket, later, local, entry),
                None => End::NotShown,
            };
        }
        match self.given {
            // What was given stands for every end that was not shown.
            Some([idle, ..]) => {
                let due = Duration::from_secs(idle).saturating_sub(entry.quiet);
                let latest = due + late(Duration::from_secs(idle), None) + super::setup::ROUND_TRIP;
                let assumed = End::Speaks(Speaks { voice: Voice::Assumed, earliest: due.saturating_sub(Duration::from_secs(1)), latest });
                for end in fate.ends.iter_mut().filter(|end| **end == End::NotShown) {
                    *end = assumed;
                }
            }
            None if fate.ends == [End::NotShown; 2] => {
                fate.class = Class::Unknown;
                return;
            }
            None => {}
        }
        let gone = entry.left + entry.band;
        let in_time = |end: &End| matches!(end, End::Speaks(speaks) if speaks.latest < entry.left);
        let too_late = |end: &End| match end {
            End::NotShown | End::Silent => true,
            End::Speaks(speaks) => speaks.earliest >= gone,
        };
        fate.class = if fate.ends.iter().any(in_time) {
            Class::Protected
        } else if !fate.ends.iter().all(too_late) {
            Class::Unknown
        } else if entry.strays == [Stray::Passes; 2] {
            Class::PickedUp
        } else {
            Class::AtRisk
        };
        if fate.class == Class::Unknown {
            fate.remark = "in time only if its timer is the program's own, or fires by the earliest of its possible times";
        }
        if matches!(fate.class, Class::AtRisk | Class::Unknown) {
            for side in 0..2 {
                fate.notices[side] = self.notice(side, fate.ends[side], entry.strays[side]);
            }
        }
    }

    /// When a socket speaks next.
    fn end(&self, side: usize, socket: &Socket, later: i128, local: bool, entry: &Entry) -> End {
        let Some((timer, due, tries)) = socket.timer else { return End::Silent };
        // Both clocks, brought to the moment of the table.
        let shift = |span: Duration| Duration(u64::try_from((i128::from(span.0) + later).max(0)).unwrap_or(u64::MAX));
        let (from, to) = (shift(due), shift(due + width(due)));
        let host = &self.setup.ends[side];
        let hz = if local { self.setup.machine.machine.hz.map(crate::kernel::wheel::Hz) } else { host.hz };
        match timer {
            SocketTimer::TimeWait => End::Silent,
            SocketTimer::Retransmission | SocketTimer::Persist => {
                let voice = if timer == SocketTimer::Persist { Voice::Persist } else { Voice::Retransmission };
                End::Speaks(Speaks {
                    voice,
                    earliest: from,
                    latest: to + late(Duration::from_secs(120).min(due + Duration::from_secs(1)), hz),
                })
            }
            SocketTimer::Keepalive => {
                // A timer that fires after packets came is only set anew, for what is left of the idle time since then.
                let habits = &self.lists[if local { 2 } else { side }].habits;
                let own = if tries == 0 { habits.own(socket, due, entry.quiet) } else { None };
                let host_idle = if local { own_idle(self.setup, self.given) } else { host.time.value };
                let idle = own.unwrap_or(Duration::from_secs(host_idle)).max(due);
                let heard = if side == 0 && !entry.sees_replies { Duration::ZERO } else { entry.quiet };
                // One that has asked in vain runs for the interval, and looks no more.
                let (rest, armed) = match tries {
                    0 => (shift(idle.saturating_sub(heard)), idle),
                    _ => (Duration::ZERO, Duration::from_secs(host.interval.value).max(due)),
                };
                End::Speaks(Speaks {
                    voice: if own.is_some() { Voice::OwnKeepalive } else { Voice::Keepalive },
                    earliest: from,
                    latest: to.max(rest) + late(armed, hz) + super::setup::ROUND_TRIP,
                })
            }
        }
    }

    fn notice(&self, side: usize, end: End, stray: Stray) -> Notice {
        let host = &self.setup.ends[side];
        match end {
            End::NotShown => Notice::NotShown,
            End::Silent => Notice::Never,
            End::Speaks(Speaks { voice, earliest, latest }) => {
                let patience = if voice == Voice::Retransmission { host.retransmits_for() } else { host.gives_up_after() };
                match stray {
                    Stray::Passes => Notice::Heals,
                    Stray::Reset => Notice::Reset(earliest, latest),
                    Stray::Leaks | Stray::Unreachable | Stray::Dropped(_) => Notice::TimesOut(earliest + patience, latest + patience),
                }
            }
        }
    }

    /// Sockets whose connection should have an entry and has none.
    fn forgotten(&self, fates: &mut Vec<Fate<'a>>) {
        let machine = self.setup.machine;
        let known: BTreeSet<(Sock, Sock)> = self.known();
        let untracked = machine.rules.iter().any(|rule| rule.does == crate::inventory::RuleDoes::NoTrack);
        // Only addresses that the box has other connections to are known to be behind it.
        let mut behind: [BTreeSet<Sock>; 2] = [BTreeSet::new(), BTreeSet::new()];
        for entry in &machine.conntrack {
            behind[0].insert(plain(entry.original.dst));
            if let Some(reply) = entry.reply {
                behind[1].insert(plain(reply.src));
            }
        }
        for conn in &machine.ipvs_conns {
            behind[0].insert(plain(conn.vip));
        }
        for service in &machine.services {
            if let crate::inventory::ServiceKey::Sock(sock) = service.key {
                behind[0].insert(plain(sock));
            }
        }
        let full = [(Table::Ipvs, Kind::IpvsConns), (Table::Conntrack, Kind::Conntrack)];
        let Some((table, _)) = full.into_iter().find(|(table, kind)| machine.has(*kind) && !(*table == Table::Conntrack && untracked))
        else {
            return;
        };
        let removed = self.removed();
        for (side, list) in self.lists.iter().enumerate().take(2).filter(|(_, list)| list.shown) {
            let inventory = self.setup.ends[side].shown;
            for socket in inventory.iter().flat_map(|shown| &shown.sockets).filter(|socket| socket.state == "ESTAB") {
                let (local, peer) = (plain(socket.local), plain(socket.peer));
                let here = if side == 0 { behind[0].contains(&peer) } else { behind[1].contains(&local) };
                if !here || known.contains(&(local, peer)) {
                    continue;
                }
                let nothing = Entry {
                    left: Duration::ZERO,
                    quiet: Duration::ZERO,
                    band: Duration::ZERO,
                    strays: self.strays_of(table, if table == Table::Ipvs { self.usual().word() } else { "" }),
                    sees_replies: true,
                };
                let mut fate = Fate {
                    table,
                    proto: Proto::Tcp,
                    client: if side == 0 { socket.local } else { socket.peer },
                    server: if side == 0 { socket.peer } else { socket.local },
                    real: None,
                    state: &socket.state,
                    left: None,
                    class: Class::Forgotten,
                    ends: [End::NotShown; 2],
                    notices: [Notice::NotShown; 2],
                    capped: false,
                    remark: removed.get(&(local, peer)).copied().unwrap_or("opened between the two listings, or forgotten"),
                    at: &socket.at,
                };
                fate.ends[side] = self.end(side, socket, list.later, false, &nothing);
                fate.notices[side] = self.notice(side, fate.ends[side], nothing.strays[side]);
                if nothing.strays[side] == Stray::Passes {
                    continue;
                }
                fates.push(fate);
            }
        }
    }

    fn usual(&self) -> Method {
        match self.ipvs.map(|stand| &stand.hop().policy) {
            Some(BoxPolicy::Ipvs(policy)) => policy.method,
            _ => Method::Nat,
        }
    }

    /// Every pair of addresses, as a socket at either end has them, that some entry knows.
    fn known(&self) -> BTreeSet<(Sock, Sock)> {
        let machine = self.setup.machine;
        let mut known = BTreeSet::new();
        let mut pair = |one: Sock, other: Sock| {
            let (one, other) = (plain(one), plain(other));
            known.insert((one, other));
            known.insert((other, one));
        };
        for entry in &machine.conntrack {
            pair(entry.original.src, entry.original.dst);
            if let Some(reply) = entry.reply {
                pair(reply.src, reply.dst);
            }
        }
        for conn in &machine.ipvs_conns {
            pair(conn.client, conn.vip);
            pair(conn.client, conn.real);
        }
        known
    }

    /// Connections whose entry was seen to go, and did not come again, with how it went.
    fn removed(&self) -> HashMap<(Sock, Sock), &'static str> {
        let mut removed = HashMap::new();
        for event in &self.setup.machine.events {
            let tuples = std::iter::once(event.entry.original).chain(event.entry.reply);
            for tuple in tuples {
                let pairs = [(plain(tuple.src), plain(tuple.dst)), (plain(tuple.dst), plain(tuple.src))];
                for pair in pairs {
                    if event.happened == Happened::Destroy {
                        // Since 5.11 a line that still has seconds was removed, not expired.
                        let early = event.entry.left.is_some_and(|left| left > Duration::ZERO);
                        removed.insert(pair, if early { "its entry was removed before its time" } else { "its entry was seen to end" });
                    } else {
                        removed.remove(&pair);
                    }
                }
            }
        }
        removed
    }

    fn assume(&self, forecast: &Forecast<'_>, assumptions: &mut Vec<String>) {
        let machine = self.setup.machine;
        if machine.machine.taken.is_none() {
            assumptions.push(
                "the dumps do not say when they were taken: times are counted from the dump, and all dumps are taken for one moment"
                    .to_owned(),
            );
        }
        let established = forecast.fates.iter().filter(|fate| fate.state == "ESTABLISHED").count();
        if established > 0 && !self.lists.iter().any(|list| list.shown) && self.given.is_none() {
            assumptions.push(
                "no sockets of the ends are shown: whether somebody speaks in time is unknown; --client, --server and --ss show it, --keepalive assumes it".to_owned(),
            );
        }
        let one_end = |fate: &&Fate<'_>| fate.class == Class::AtRisk && fate.ends.contains(&End::NotShown);
        if forecast.fates.iter().any(|fate| one_end(&fate)) {
            assumptions.push("where only one end's socket is shown, the other is taken to say nothing by itself".to_owned());
        }
    }
}

/// How long an entry has been quiet at the least: its timer less what is left, and the second that the listing cut off.
fn quiet(timeout: Duration, left: Duration) -> Duration {
    if timeout == Duration::MAX { Duration::ZERO } else { timeout.saturating_sub(left + Duration::from_secs(1)) }
}

/// The idle time of the machine's own sockets, where a program has set none.
fn own_idle(setup: &Setup<'_>, given: Option<[u64; 3]>) -> u64 {
    let own = setup.machine.sysctl("net.ipv4.tcp_keepalive_time").and_then(|sysctl| sysctl.value.parse().ok());
    own.or(given.map(|[idle, ..]| idle)).unwrap_or(super::setup::KEEPALIVE_DEFAULT[0])
}

/// How much longer than printed a timer of ss may be: minutes alone from ten on, then whole seconds, then milliseconds.
fn width(due: Duration) -> Duration {
    match due.as_secs() {
        600.. => Duration::from_secs(60),
        10.. => Duration::from_secs(1),
        _ => Duration::from_millis(1),
    }
}

impl Forecast<'_> {
    fn note_silence(&mut self, fate: &Fate<'_>, teller: &Teller<'_, '_>) {
        let stand = if fate.table == Table::Ipvs { teller.ipvs } else { teller.conntrack };
        let (Some(left), Some(stand)) = (fate.left, stand) else { return };
        if fate.proto != Proto::Tcp || fate.state != "ESTABLISHED" || fate.capped || stand.established() == Duration::MAX {
            return;
        }
        let timeout = stand.established();
        let counts = self.silent.entry(fate.table).or_default();
        for (count, share) in counts.iter_mut().zip(SHARES) {
            let silent = u128::from(timeout.saturating_sub(left).0) * 100;
            *count += u64::from(silent >= u128::from(timeout.0) * u128::from(share));
        }
    }

    /// How many connections are of a class.
    pub fn count(&self, class: Class) -> usize {
        self.fates.iter().filter(|fate| fate.class == class).count()
    }

    /// The connections of a class, the first to end first.
    pub fn of(&self, class: Class) -> impl Iterator<Item = &Fate<'_>> {
        self.fates.iter().filter(move |fate| fate.class == class)
    }
}
