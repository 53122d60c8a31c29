//! From what machines show of themselves to a setup: policies with the place of every value, and what had to be assumed.

use super::setup::{Host, KEEPALIVE_DEFAULT, Origin, Setup, Stand, Value};
use super::{Asked, Materials};
use crate::engine::PathError;
use crate::inventory::{Inventory, IpvsTimeouts, Kind, KubeProxySetting, RuleDoes, TimeoutSource};
use crate::kernel::wheel::Hz;
use crate::model::Side;
use crate::model::conntrack::dialect::{DEFAULT as CT_DEFAULT, Dialect as CtDialect};
use crate::model::ipvs::dialect::Dialect as VsDialect;
use crate::policy::conntrack::{Input, Nat, Rules};
use crate::policy::ipvs::Method;
use crate::policy::{BoxPolicy, BoxSpec, ConntrackPolicy, IpvsPolicy, Settings};
use crate::time::Duration;
use std::collections::BTreeMap;

/// A value that two texts give differently.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contradiction {
    /// What it is.
    pub name: String,
    /// The value that does not count, and where it stands.
    pub overruled: Value<String>,
    /// The one that counts.
    pub counts: Value<String>,
}

/// What was gathered besides the setup.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Gathered {
    /// What had to be assumed, each in a sentence.
    pub assumptions: Vec<String>,
    /// Values that two texts give differently.
    pub contradictions: Vec<Contradiction>,
    /// Values that the kernel would not take, each with its place.
    pub refused: Vec<Value<String>>,
}

type Origins = BTreeMap<&'static str, Origin>;

const CONNTRACK_TREE: &str = "net.netfilter.nf_conntrack_";
const CONNTRACK_MAX: &str = "net.nf_conntrack_max";
const IPVS_TREE: &str = "net.ipv4.vs.";

/// Makes the setup.
///
/// # Errors
/// A kernel that nobody knows, or a box whose settings make no sense.
pub fn gather<'a>(materials: &Materials<'a>, asked: &Asked) -> Result<(Setup<'a>, Gathered), PathError> {
    let machine = materials.machine;
    let mut out = Gathered::default();
    let mut stands = Vec::new();
    let ipvs = has_ipvs(machine);
    if ipvs {
        stands.push(director(machine, asked, &mut out)?);
    }
    if has_conntrack(machine, ipvs) {
        let mut stand = router(machine, asked, &mut out)?;
        let beside = stands.first().and_then(|director| match &director.hop().policy {
            BoxPolicy::Ipvs(policy) => Some(policy.conntrack == Some(true)),
            _ => None,
        });
        if beside == Some(false) {
            stand.apart = true;
            out.assumptions.push(
                "conntrack holds only the flows that IPVS does not balance: with net.ipv4.vs.conntrack=0 IPVS keeps its own from it"
                    .to_owned(),
            );
        }
        stands.push(stand);
    }
    for spec in materials.beyond {
        let origin = Origin::Option(format!("--box {}", spec.label));
        stands.push(Stand::new(spec, given(&spec.policy, &origin), None)?);
    }
    if materials.beyond.is_empty() && !stands.is_empty() {
        out.assumptions.push("no other box is on the path: name those that are, with --box, in the order from the client".to_owned());
    }
    if !stands.is_empty() && machine.machine.release.is_none() && asked.kernel.is_none() && (ipvs || has_conntrack(machine, ipvs)) {
        out.assumptions.push(format!("the kernel is not shown (uname -r, or --kernel): {CT_DEFAULT}'s behaviour and defaults are assumed"));
    }
    let ends = [(Side::Client, materials.client), (Side::Server, materials.server)].map(|(side, shown)| host(side, shown, machine, asked));
    tell_ends(&ends, machine, &mut out);
    for inventory in std::iter::once(machine).chain(materials.client).chain(materials.server) {
        twice(inventory, &mut out);
    }
    Ok((Setup { stands, ends, machine }, out))
}

/// The settings of a box that the command line gives, all from there.
pub(crate) fn given(policy: &BoxPolicy, origin: &Origin) -> Origins {
    fn differing<P: Settings>(mine: &P, base: &P, origin: &Origin) -> Origins {
        let keys = P::keys().iter().filter(|key| (key.get)(mine) != (key.get)(base));
        keys.map(|key| (key.name, origin.clone())).collect()
    }
    match (policy, policy.preset().map(crate::policy::Preset::resolve)) {
        (BoxPolicy::Conntrack(mine), Some(BoxPolicy::Conntrack(base))) => differing(mine, &base, origin),
        (BoxPolicy::Conntrack(mine), _) => differing(mine, &ConntrackPolicy::default(), origin),
        (BoxPolicy::Ipvs(mine), Some(BoxPolicy::Ipvs(base))) => differing(mine, &base, origin),
        (BoxPolicy::Ipvs(mine), _) => differing(mine, &IpvsPolicy::default(), origin),
        (BoxPolicy::Idle(mine), Some(BoxPolicy::Idle(base))) => differing(mine, &base, origin),
        (BoxPolicy::Idle(_), _) => std::iter::once(("established", origin.clone())).collect(),
    }
}

fn has_ipvs(machine: &Inventory) -> bool {
    let mode = machine.kube_proxy.iter().any(|said| matches!(&said.setting, KubeProxySetting::Mode(mode) if mode == "ipvs"));
    mode || !machine.ipvs_timeouts.is_empty()
        || machine.has(Kind::IpvsTimeouts)
        || machine.has(Kind::IpvsServices)
        || machine.has(Kind::IpvsConns)
        || !machine.services.is_empty()
        || !machine.ipvs_conns.is_empty()
        || machine.sysctls.iter().any(|sysctl| sysctl.name.starts_with(IPVS_TREE))
}

fn has_conntrack(machine: &Inventory, ipvs: bool) -> bool {
    let sizes = |name: &str| matches!(name, "max" | "buckets" | "count" | "expect_max" | "acct" | "checksum" | "helper" | "log_invalid");
    let timer = |name: &str| name.strip_prefix(CONNTRACK_TREE).is_some_and(|rest| !sizes(rest));
    // Beside IPVS, the size of its table alone makes no box of it.
    let named = |name: &str| if ipvs { timer(name) } else { timer(name) || name.starts_with(CONNTRACK_TREE) || name == CONNTRACK_MAX };
    !machine.conntrack.is_empty()
        || machine.has(Kind::Conntrack)
        || !machine.events.is_empty()
        || !machine.timeout_policies.is_empty()
        || machine.sysctls.iter().any(|sysctl| named(&sysctl.name))
        || machine.kube_proxy.iter().any(|said| matches!(said.setting, KubeProxySetting::Conntrack(..)))
        || machine.rules.iter().any(|rule| !matches!(rule.does, RuleDoes::PolicyDrop | RuleDoes::NoTrack))
}

fn release<'r>(machine: &'r Inventory, asked: &'r Asked) -> Option<&'r str> {
    asked.kernel.as_deref().or(machine.machine.release.as_deref())
}

fn label(machine: &Inventory, kind: &str) -> String {
    match &machine.machine.hostname {
        Some(host) => format!("{kind} of {host}"),
        None => kind.to_owned(),
    }
}

/// Says what of a table's timers nobody shows.
fn unsaid(kind: &str, dialect: &str, wanted: &[&'static str], origins: &Origins, how: &str, out: &mut Gathered) {
    let missing: Vec<&str> = wanted.iter().copied().filter(|name| !origins.contains_key(name)).collect();
    if missing.len() == wanted.len() {
        out.assumptions.push(format!("no timer of {kind} is shown ({how}): the defaults of {dialect} are assumed"));
    } else if !missing.is_empty() {
        out.assumptions.push(format!("{kind}: {} not shown; the defaults of {dialect} are assumed", missing.join(", ")));
    }
}

fn set<P: Settings>(policy: &mut P, origins: &mut Origins, name: &str, value: &str, from: Origin, out: &mut Gathered) {
    match policy.set(name, value) {
        Ok(key) => {
            origins.insert(key.name, from);
        }
        Err(error) => out.refused.push(Value::new(error.to_string(), from)),
    }
}

fn router(machine: &Inventory, asked: &Asked, out: &mut Gathered) -> Result<Stand, PathError> {
    let (mut policy, mut origins) = (ConntrackPolicy::default(), Origins::new());
    policy.dialect = release(machine, asked).map(|release| {
        let known = CtDialect::find(release).or_else(|| CtDialect::for_release(release));
        known.map_or_else(|| release.to_owned(), |dialect| dialect.name.to_owned())
    });
    for said in &machine.kube_proxy {
        if let KubeProxySetting::Conntrack(name, value) = &said.setting {
            let zero = Duration::parse(value).is_ok_and(|span| span == Duration::ZERO);
            // It writes the rest into the sysctls when it starts.
            if !zero || *name == "be_liberal" {
                set(&mut policy, &mut origins, name, value, Origin::Text(said.at.clone()), out);
            }
        }
    }
    for sysctl in &machine.sysctls {
        let name = match sysctl.name.strip_prefix(CONNTRACK_TREE) {
            Some(name) if ConntrackPolicy::key(name).is_ok() => name,
            None if sysctl.name == CONNTRACK_MAX => "max",
            _ => continue,
        };
        // A limit of zero is none.
        if name == "max" && sysctl.value == "0" {
            policy.nf_conntrack_max = None;
            continue;
        }
        set(&mut policy, &mut origins, name, &sysctl.value, Origin::Text(sysctl.at.clone()), out);
    }
    filter(machine, &mut policy, &mut origins, out);
    let spec = BoxSpec::new(label(machine, "conntrack"), BoxPolicy::Conntrack(policy));
    let mut stand = Stand::new(&spec, origins, None)?;
    stand.is_machine = true;
    let timers = ["established", "fin_wait", "close_wait", "timeout_max_retrans", "unacknowledged", "udp_stream"];
    let dialect = stand.hop().dialect().unwrap_or_default();
    unsaid("conntrack", &dialect, &timers, &stand_origins(&stand, &timers), "sysctl -a", out);
    Ok(stand)
}

fn stand_origins(stand: &Stand, names: &[&'static str]) -> Origins {
    names.iter().filter(|name| stand.is_given(name)).map(|name| (*name, stand.origin(name))).collect()
}

/// What the packet filter does to flows, as far as the model knows it.
fn filter(machine: &Inventory, policy: &mut ConntrackPolicy, origins: &mut Origins, out: &mut Gathered) {
    let rules = &machine.rules;
    let first = |does: &dyn Fn(&RuleDoes) -> bool| rules.iter().find(|rule| does(&rule.does));
    let nat = [
        (Nat::Masquerade, first(&|does| *does == RuleDoes::Masquerades)),
        (Nat::Snat, first(&|does| *does == RuleDoes::SourceNat)),
        (Nat::Dnat, first(&|does| *does == RuleDoes::DestinationNat)),
    ];
    let found: Vec<Nat> = nat.iter().filter(|(_, rule)| rule.is_some()).map(|(kind, _)| *kind).collect();
    if let Some((kind, Some(rule))) = nat.iter().find(|(_, rule)| rule.is_some()) {
        policy.nat = *kind;
        origins.insert("nat", Origin::Text(rule.at.clone()));
        if found.len() > 1 {
            out.assumptions.push(format!("several kinds of NAT are in the rules; what becomes of strays is told for {kind}"));
        }
    } else if rules.is_empty() {
        let source = machine.conntrack.iter().find(|entry| entry.source_nat());
        let destination = machine.conntrack.iter().find(|entry| entry.destination_nat());
        if let Some(entry) = source.or(destination) {
            policy.nat = if source.is_some() { Nat::Snat } else { Nat::Dnat };
            origins.insert("nat", Origin::Text(entry.at.clone()));
            out.assumptions.push(format!("no rules are shown; translated entries in the table say {}", policy.nat));
        }
    }
    if rules.is_empty() {
        if !machine.has(Kind::Nft) && !machine.has(Kind::Iptables) {
            policy.rules = Rules::Strict;
            out.assumptions.push(
                "no rules are shown (nft list ruleset, iptables-save): a filter that lets new connections begin with a SYN only is assumed"
                    .to_owned(),
            );
        }
        return;
    }
    // A router's flows pass the forward hook; where there is none, the machine is an end of them.
    let hook = if rules.iter().any(|rule| rule.hook.as_deref() == Some("forward")) { "forward" } else { "input" };
    let here: Vec<_> =
        rules.iter().filter(|rule| rule.hook.as_deref().is_none_or(|known| known == hook || known == "prerouting")).collect();
    let has = |does: &dyn Fn(&RuleDoes) -> bool| here.iter().find(|rule| does(&rule.does));
    let drops_invalid = has(&|does| *does == RuleDoes::DropsInvalid);
    let only_syn = has(&|does| *does == RuleDoes::DropsNewWithoutSyn).or_else(|| {
        let closed = has(&|does| *does == RuleDoes::PolicyDrop)?;
        let open = has(&|does| *does == RuleDoes::AcceptsNew);
        open.is_none().then_some(closed)
    });
    if let Some(rule) = only_syn {
        policy.rules = Rules::Strict;
        origins.insert("rules", Origin::Text(rule.at.clone()));
    } else if let Some(rule) = drops_invalid {
        policy.rules = Rules::DropInvalid;
        origins.insert("rules", Origin::Text(rule.at.clone()));
    }
    if let Some(rule) = rules.iter().find(|rule| rule.hook.as_deref() == Some("input") && rule.does == RuleDoes::PolicyDrop) {
        policy.input = Input::Drop;
        origins.insert("input", Origin::Text(rule.at.clone()));
    }
}

fn director(machine: &Inventory, asked: &Asked, out: &mut Gathered) -> Result<Stand, PathError> {
    let (mut policy, mut origins) = (IpvsPolicy::default(), Origins::new());
    policy.dialect = release(machine, asked).map(|release| {
        let known = VsDialect::find(release).or_else(|| VsDialect::for_release(release));
        known.map_or_else(|| release.to_owned(), |dialect| dialect.name.to_owned())
    });
    for sysctl in &machine.sysctls {
        if sysctl.name.starts_with(IPVS_TREE) && IpvsPolicy::key(&sysctl.name).is_ok() {
            set(&mut policy, &mut origins, &sysctl.name, &sysctl.value, Origin::Text(sysctl.at.clone()), out);
        }
    }
    timeouts(machine, &mut policy, &mut origins, out);
    let mut methods: BTreeMap<&'static str, (usize, Method, Origin)> = BTreeMap::new();
    for real in machine.services.iter().flat_map(|service| &service.reals) {
        if let Some(method) = real.method {
            methods.entry(method.word()).or_insert_with(|| (0, method, Origin::Text(real.at.clone()))).0 += 1;
        }
    }
    let usual = methods.values().max_by_key(|(count, method, _)| (*count, std::cmp::Reverse(method.word())));
    if let Some((_, method, from)) = usual {
        policy.method = *method;
        origins.insert("method", from.clone());
        if methods.len() > 1 {
            let words: Vec<&str> = methods.keys().copied().collect();
            out.assumptions
                .push(format!("services forward in several ways ({}); what becomes of strays is told for {method}", words.join(", ")));
        }
    } else {
        out.assumptions.push("no service is shown (ipvsadm -Sn): forwarding by NAT is assumed".to_owned());
    }
    let spec = BoxSpec::new(label(machine, "ipvs"), BoxPolicy::Ipvs(policy));
    let mut stand = Stand::new(&spec, origins, None)?;
    stand.is_machine = true;
    let dialect = stand.hop().dialect().unwrap_or_default();
    if !["tcp", "tcpfin", "udp"].iter().any(|name| stand.is_given(name)) {
        out.assumptions.push(format!("no 'ipvsadm -l --timeout' is among the texts: 900/120/300, the defaults of {dialect}, are assumed"));
    }
    Ok(stand)
}

/// How a source of timeouts is called.
fn source_name(source: TimeoutSource) -> &'static str {
    match source {
        TimeoutSource::Shown => "the kernel's answer",
        TimeoutSource::Set => "ipvsadm --set",
        TimeoutSource::Keepalived => "keepalived's lvs_timeouts",
        TimeoutSource::KubeProxy => "kube-proxy",
    }
}

/// IPVS's three timeouts: the kernel's own answer counts, then a command, then what daemons are told.
fn timeouts(machine: &Inventory, policy: &mut IpvsPolicy, origins: &mut Origins, out: &mut Gathered) {
    let rank = |source: TimeoutSource| match source {
        TimeoutSource::Keepalived | TimeoutSource::KubeProxy => 0,
        TimeoutSource::Set => 1,
        TimeoutSource::Shown => 2,
    };
    let mut said: Vec<&IpvsTimeouts> = machine.ipvs_timeouts.iter().collect();
    said.sort_by_key(|timeouts| rank(timeouts.source));
    for name in ["tcp", "tcpfin", "udp"] {
        let value = |timeouts: &IpvsTimeouts| match name {
            "tcp" => timeouts.tcp,
            "tcpfin" => timeouts.tcpfin,
            _ => timeouts.udp,
        };
        let values: Vec<(&IpvsTimeouts, Duration)> =
            said.iter().filter_map(|timeouts| Some((*timeouts, value(timeouts)?))).filter(|(_, span)| *span > Duration::ZERO).collect();
        let Some((counts, span)) = values.last() else { continue };
        set(policy, origins, name, &span.as_secs().to_string(), Origin::Text(counts.at.clone()), out);
        if let Some((other, theirs)) = values.iter().rev().find(|(_, theirs)| theirs != span) {
            let told = |timeouts: &IpvsTimeouts, span: Duration| {
                Value::new(format!("{} ({})", span.as_secs(), source_name(timeouts.source)), Origin::Text(timeouts.at.clone()))
            };
            let contradiction =
                Contradiction { name: format!("IPVS timeout {name}"), overruled: told(other, *theirs), counts: told(counts, *span) };
            out.contradictions.push(contradiction);
        }
    }
}

/// Sysctls that two texts give differently, and what kube-proxy is told and the host does not have.
fn twice(inventory: &Inventory, out: &mut Gathered) {
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, sysctl) in inventory.sysctls.iter().enumerate() {
        // Sizes and counts change by themselves.
        if sysctl.name.ends_with("_count") {
            continue;
        }
        let before = last.insert(&sysctl.name, index).and_then(|at| inventory.sysctls.get(at));
        if let Some(before) = before.filter(|before| before.value != sysctl.value && before.at.origin != sysctl.at.origin) {
            out.contradictions.push(Contradiction {
                name: sysctl.name.clone(),
                overruled: Value::new(before.value.clone(), Origin::Text(before.at.clone())),
                counts: Value::new(sysctl.value.clone(), Origin::Text(sysctl.at.clone())),
            });
        }
    }
    for said in &inventory.kube_proxy {
        let KubeProxySetting::Conntrack(name, value) = &said.setting else { continue };
        let Ok(span) = Duration::parse(value) else { continue };
        let theirs = inventory.sysctls.iter().rev().find(|sysctl| {
            sysctl.name.strip_prefix(CONNTRACK_TREE).and_then(|known| ConntrackPolicy::key(known).ok()).is_some_and(|key| key.name == *name)
        });
        if let Some(sysctl) = theirs.filter(|sysctl| span > Duration::ZERO && sysctl.value != span.as_secs().to_string()) {
            out.contradictions.push(Contradiction {
                name: sysctl.name.clone(),
                overruled: Value::new(format!("{} (kube-proxy)", span.as_secs()), Origin::Text(said.at.clone())),
                counts: Value::new(sysctl.value.clone(), Origin::Text(sysctl.at.clone())),
            });
        }
    }
}

fn number(inventory: &Inventory, name: &str) -> Option<Value<u64>> {
    let sysctl = inventory.sysctl(name)?;
    Some(Value::new(sysctl.value.parse().ok()?, Origin::Text(sysctl.at.clone())))
}

/// An end: what it shows itself, else what the command line says, else what the machine has, else the kernel's defaults.
fn host<'a>(side: Side, shown: Option<&'a Inventory>, machine: &'a Inventory, asked: &Asked) -> Host<'a> {
    let mut host = Host::by_default(side);
    host.shown = shown;
    host.hz = shown.and_then(|shown| shown.machine.hz).map(Hz);
    let own = |name: &str| shown.and_then(|shown| number(shown, name));
    // Who was asked and did not show them has them by default; who was not asked may be like the machine.
    let stand_in = |name: &str| if shown.is_none() { number(machine, name) } else { None };
    let given = |index: usize| asked.keepalive.map(|values| Value::new(values[index], Origin::Option("--keepalive".to_owned())));
    let names = ["net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes"];
    let [time, interval, probes] = names.map(own);
    host.is_given = time.is_some() || asked.keepalive.is_some();
    let found = |shown: Option<Value<u64>>, index: usize| shown.or_else(|| given(index)).or_else(|| stand_in(names[index]));
    if let Some(value) = found(time, 0) {
        host.time = value;
    }
    if let Some(value) = found(interval, 1) {
        host.interval = value;
    }
    if let Some(value) = found(probes, 2) {
        host.probes = value;
    }
    if let Some(value) = own("net.ipv4.tcp_retries2").or_else(|| stand_in("net.ipv4.tcp_retries2")) {
        host.retries2 = value;
    }
    host
}

fn tell_ends(ends: &[Host<'_>; 2], machine: &Inventory, out: &mut Gathered) {
    let shown = |end: &Host<'_>| end.is_given;
    let names: Vec<&str> = ends.iter().filter(|end| !shown(end)).map(Host::name).collect();
    if !names.is_empty() {
        let who = names.join(" and ");
        let [idle, interval, probes] = KEEPALIVE_DEFAULT;
        match number(machine, "net.ipv4.tcp_keepalive_time") {
            Some(value) if ends.iter().any(|end| end.time == value) => out.assumptions.push(format!(
                "keepalive of {who} is not shown (--client, --server): this machine's own, {} s ({}), is assumed",
                value.value, value.from
            )),
            _ => out.assumptions.push(format!(
                "keepalive of {who} is not shown (--client, --server, --keepalive): {idle}/{interval}/{probes}, Linux's defaults, are assumed"
            )),
        }
    }
    let sockets = std::iter::once(machine).chain(ends.iter().filter_map(|end| end.shown)).any(|shown| shown.has(Kind::Sockets));
    if !sockets {
        out.assumptions.push("no sockets are shown (ss -tno): programs are taken to have turned SO_KEEPALIVE on".to_owned());
    }
}
