//! The box that a recording's header describes, built from the project's own models.
//!
//! Nothing here compares anything.

use super::recording::Header;
use crate::kernel::wheel::Hz;
use crate::model::conntrack;
use crate::model::conntrack::dialect::Dialect;
use crate::model::conntrack::entry::State;
use crate::model::conntrack::router::{Nat, Place, Router, Rules};
use crate::model::conntrack::table::{Lateness, Table};
use crate::model::conntrack::track::Conntrack;
use crate::model::director::{Director, DirectorState};
use crate::model::ipvs::{self, Method};
use crate::model::{Host, Moment, Outcome, Packet};
use crate::net::Proto;
use crate::time::Duration;

pub(super) const CLIENT: Host = Host::CLIENT;
pub(super) const VIP: Host = Host::SERVICE;
pub(super) const SERVER: Host = Host(2);
pub(super) const NEAR: Host = Host(3);
pub(super) const FAR: Host = Host(4);
pub(super) const SERVICE_PORT: u16 = 80;

/// The box under test.
pub(super) enum BoxUnderTest {
    Router(Router),
    Director(Director),
}

/// What the box remembers of one dialogue.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Memory {
    pub(super) table: Table,
    pub(super) director: DirectorState,
}

impl Memory {
    pub(super) fn entries(&self, bench: &Bench) -> &Table {
        if matches!(bench.device, BoxUnderTest::Director(_)) { &self.director.table } else { &self.table }
    }

    pub(super) fn entries_mut(&mut self, bench: &Bench) -> &mut Table {
        if matches!(bench.device, BoxUnderTest::Director(_)) { &mut self.director.table } else { &mut self.table }
    }
}

/// Everything that stays the same through a recording.
pub(super) struct Bench {
    pub(super) device: BoxUnderTest,
    pub(super) hz: Hz,
    pub(super) proto: Proto,
    /// What clients dial.
    pub(super) dialled: Host,
    /// Whom servers answer.
    pub(super) answered: Host,
    pub(super) addresses: [String; 5],
    /// How late conntrack's entries may end.
    pub(super) lateness: Lateness,
    /// How far the recorded times may be from the true ones: a tick, and what the recorder's own steps took.
    pub(super) blur: Duration,
}

impl Bench {
    /// Builds the box that a header describes.
    ///
    /// # Errors
    /// What is not understood.
    pub(super) fn new(header: &Header) -> std::result::Result<Bench, String> {
        let hz = Hz(header.hz());
        let dialect = Dialect::for_release(&header.kernel).ok_or_else(|| format!("no conntrack dialect for kernel '{}'", header.kernel))?;
        let lateness = Lateness::Exact;
        let settings = conntrack_settings(header, dialect);
        let nat = match header.option("nat") {
            None => Nat::None,
            Some("masquerade") => Nat::Masquerade,
            Some("dnat") => Nat::Dnat,
            Some(other) => return Err(format!("header: options.nat '{other}' is not masquerade or dnat")),
        };
        let rules = match header.option("rules") {
            None => Rules::AcceptAll,
            Some("drop-invalid") => Rules::DropInvalid,
            Some("strict") => Rules::Strict,
            Some(other) => return Err(format!("header: options.rules '{other}' is not drop-invalid or strict")),
        };
        let method = match header.kind.as_str() {
            "conntrack" => None,
            "ipvs-nat" => Some(Method::Masq),
            "ipvs-dr" => Some(Method::Route),
            "ipvs-tun" => Some(Method::Tunnel),
            other => return Err(format!("header: box '{other}' is not conntrack, ipvs-nat, ipvs-dr or ipvs-tun")),
        };
        let place = Place { near: NEAR, far: FAR, service: VIP, real: SERVER, service_is_local: true, client_side: 1 };
        let ct = Conntrack { settings, lateness };
        let device = match method {
            None => BoxUnderTest::Router(Router { conntrack: ct, nat, rules, input_accepts: true, place }),
            Some(method) => BoxUnderTest::Director(Director {
                ipvs: ipvs_settings(header, method)?,
                lateness: Lateness::Wheel(hz),
                conntrack: (header.option("conntrack") == Some("1")).then_some(ct),
                vip_local: true,
                real_port: None,
                place,
            }),
        };
        let six = header.option("family") == Some("6");
        let (near, far) = if six { ("fd00:1::1", "fd00:2::1") } else { ("10.0.1.1", "10.0.2.1") };
        let dialled = if method.is_some() || nat == Nat::Dnat { VIP } else { SERVER };
        Ok(Bench {
            device,
            hz,
            proto: if header.option("proto") == Some("udp") { Proto::Udp } else { Proto::Tcp },
            dialled,
            answered: if nat == Nat::Masquerade { FAR } else { CLIENT },
            addresses: [header.client.clone(), header.vip.clone(), header.server.clone(), near.to_owned(), far.to_owned()],
            lateness,
            blur: hz.tick(),
        })
    }

    /// Shows the box a packet.
    pub(super) fn packet(&self, memory: &mut Memory, packet: Packet<'_>, moment: &mut Moment) -> Outcome {
        match &self.device {
            BoxUnderTest::Router(router) => router.packet(&mut memory.table, packet, moment),
            BoxUnderTest::Director(director) => director.packet(&mut memory.director, packet, moment),
        }
    }

    pub(super) fn address(&self, host: Host) -> &str {
        self.addresses.get(usize::from(host.0)).map_or("?", String::as_str)
    }
}

fn conntrack_settings(header: &Header, dialect: &'static Dialect) -> conntrack::Settings {
    let mut s = conntrack::Settings::defaults(dialect);
    let seconds = |name: &str| header.number(&format!("net.netfilter.nf_conntrack_{name}")).map(Duration::from_secs);
    for state in State::ALL {
        if let Some(value) = seconds(&format!("tcp_timeout_{}", state.name().to_ascii_lowercase())) {
            s.tcp_timeouts[state as usize] = value;
        }
    }
    let mut keep = |slot: fn(&mut conntrack::Settings) -> &mut Duration, name: &str| {
        if let Some(value) = seconds(name) {
            *slot(&mut s) = value;
        }
    };
    keep(|s| &mut s.tcp_timeout_max_retrans, "tcp_timeout_max_retrans");
    keep(|s| &mut s.tcp_timeout_unacknowledged, "tcp_timeout_unacknowledged");
    keep(|s| &mut s.udp_timeout, "udp_timeout");
    keep(|s| &mut s.udp_timeout_stream, "udp_timeout_stream");
    let number = |name: &str| header.number(&format!("net.netfilter.nf_conntrack_tcp_{name}"));
    if let Some(n) = number("loose") {
        s.tcp_loose = n.min(255) as u8;
    }
    if let Some(n) = number("max_retrans") {
        s.tcp_max_retrans = n.min(255) as u8;
    }
    s.tcp_be_liberal = number("be_liberal") == Some(1);
    s.tcp_ignore_invalid_rst = number("ignore_invalid_rst") == Some(1);
    s
}

fn ipvs_settings(header: &Header, method: Method) -> std::result::Result<ipvs::Settings, String> {
    let dialect =
        ipvs::dialect::Dialect::for_release(&header.kernel).ok_or_else(|| format!("no IPVS dialect for kernel '{}'", header.kernel))?;
    let mut s = ipvs::Settings::defaults(dialect, method);
    let flag = |name: &str| header.number(&format!("net.ipv4.vs.{name}")).is_some_and(|n| n > 0);
    s.secure_tcp = header.number("net.ipv4.vs.secure_tcp").is_some_and(|n| n >= 2);
    s.sloppy_tcp = flag("sloppy_tcp");
    s.expire_nodest_conn = flag("expire_nodest_conn");
    s.expire_quiescent_template = flag("expire_quiescent_template");
    s.conntrack = flag("conntrack");
    s.nat_icmp_send = flag("nat_icmp_send");
    if let Some(mode) = header.number("net.ipv4.vs.conn_reuse_mode") {
        s.conn_reuse_mode = mode.min(255) as u8;
    }
    if let Some(line) = header.sysctl.get("ipvsadm") {
        let numbers: Vec<u64> = line.rsplit(':').next().unwrap_or_default().split_whitespace().filter_map(|w| w.parse().ok()).collect();
        let [tcp, tcpfin, udp] = numbers[..] else { return Err(format!("header: sysctl.ipvsadm '{line}' does not end in three numbers")) };
        s.set(Duration::from_secs(tcp), Duration::from_secs(tcpfin), Duration::from_secs(udp));
    }
    s.persistence = header.option("persist").and_then(|p| p.parse().ok()).map(Duration::from_secs);
    Ok(s)
}
