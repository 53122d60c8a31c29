//! Texts that people paste, as policies: `sysctl -a` and files of sysctl.d, ipvsadm's timeouts, nft's and nfct's timeout policies,
//! kube-proxy's flags; one reader for any mix of them.
//!
//! Sources: the spec's conntrack.md sections 8.5 and 10.2, ipvs.md sections 1.2, 1.3 and 11.1. A line that nothing here is about is
//! counted and left alone. Nothing here opens a file, or knows what a setting does.

pub(crate) mod nft;
mod words;

use super::hint::nearest;
use super::keys::{SettingError, Settings};
use super::spec::{BoxSpec, Place, SpecError};
use super::{At, BoxPolicy, ConntrackPolicy, IpvsPolicy, Origins};
use std::borrow::Cow;
use std::sync::Arc;

/// What a pasted text sets. What it does not set is left to the defaults of the dialect.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Dump {
    /// Connection tracking, if the text sets anything of it.
    pub conntrack: Option<ConntrackPolicy>,
    /// IPVS, if the text sets anything of it.
    pub ipvs: Option<IpvsPolicy>,
    /// Settings of the host's own TCP that a keepalive depends on: the sysctl's name and its value, in the order of the text.
    pub endpoint: Vec<(String, String)>,
    /// How many lines set nothing here, comments and empty lines apart.
    pub ignored: usize,
    /// What one should know about how the text was taken, each with its line.
    pub notes: Vec<String>,
    /// Where the settings of connection tracking stand.
    pub conntrack_at: Origins,
    /// Where those of IPVS stand.
    pub ipvs_at: Origins,
}

impl Dump {
    /// The boxes of the text, IPVS before connection tracking. Beside IPVS, a conntrack of which only the size of its table is
    /// known makes no box.
    pub fn boxes(&self, label: &str) -> Vec<BoxSpec> {
        let sizes_only = |policy: &ConntrackPolicy| {
            let mut rest = policy.clone();
            (rest.nf_conntrack_max, rest.buckets) = (None, None);
            rest == ConntrackPolicy::default()
        };
        let tracking = self.conntrack.as_ref().filter(|policy| self.ipvs.is_none() || !sizes_only(policy));
        let both = tracking.is_some() && self.ipvs.is_some();
        let named = |kind: &str| if both { format!("{label} ({kind})") } else { label.to_owned() };
        let director = self
            .ipvs
            .as_ref()
            .map(|p| BoxSpec { origins: self.ipvs_at.clone(), ..BoxSpec::new(named(IpvsPolicy::KIND), BoxPolicy::Ipvs(p.clone())) });
        let router = tracking.map(|p| BoxSpec {
            origins: self.conntrack_at.clone(),
            ..BoxSpec::new(named(ConntrackPolicy::KIND), BoxPolicy::Conntrack(p.clone()))
        });
        director.into_iter().chain(router).collect()
    }
}

/// Reads a pasted text; `origin` is the name of its file.
///
/// # Errors
/// What is wrong, in which line, and what would be right.
pub fn read(text: &str, origin: &str) -> Result<Dump, SpecError> {
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    let fail = |line: usize, message: String| SpecError { origin: origin.to_owned(), place: Place::Line(line), message };
    let mut reader = Reader::default();
    let mut at = 0;
    while at < lines.len() {
        let (line, number) = (lines[at].trim(), at + 1);
        if let Some(found) = nft::definition(&lines[at..]) {
            let (policy, used) = found.map_err(|(further, message)| fail(number + further, message))?;
            reader.add(policy, number).map_err(|message| fail(number, message))?;
            at += used;
            continue;
        }
        at += 1;
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if !reader.line(lines[at - 1], number).map_err(|message| fail(number, message))? {
            reader.dump.ignored += 1;
        }
    }
    reader.finish(&origin.into()).map_err(|(line, message)| fail(line, message))
}

/// The boxes of a pasted text.
///
/// # Errors
/// What is wrong, in which line; or that the text sets nothing of a box.
pub(crate) fn boxes(text: &str, origin: &str, label: &str) -> Result<Vec<BoxSpec>, SpecError> {
    let dump = read(text, origin)?;
    let boxes = dump.boxes(label);
    if boxes.is_empty() {
        let message = "sets nothing of a box: write lines such as 'net.netfilter.nf_conntrack_tcp_timeout_established = 3600' (sysctl) \
                       or 'Timeout (tcp tcpfin udp): 900 120 300' (ipvsadm -l --timeout), or JSON that begins with '{'";
        return Err(SpecError { origin: origin.to_owned(), place: Place::File, message: message.to_owned() });
    }
    Ok(boxes)
}

/// A named set of timers that a packet filter attaches to flows.
pub(crate) struct TimeoutPolicy {
    pub(crate) name: String,
    tool: &'static str,
    pub(crate) protocol: &'static str,
    /// Setting, value, and the line after the first in which it stands.
    pub(crate) timers: Vec<(&'static str, String, usize)>,
    /// Whether a timer that is not named gets the tool's own default, and not the sysctl's value. nft does so.
    fills: bool,
}

/// The names of a timeout policy's timers, with the settings that they are: TCP's, then UDP's.
pub(crate) const POLICY_TCP: [(&str, &str); 11] = [
    ("syn_sent", "syn_sent"),
    ("syn_recv", "syn_recv"),
    ("established", "established"),
    ("fin_wait", "fin_wait"),
    ("close_wait", "close_wait"),
    ("last_ack", "last_ack"),
    ("time_wait", "time_wait"),
    ("close", "close"),
    ("syn_sent2", "syn_sent2"),
    ("retrans", "timeout_max_retrans"),
    ("unack", "unacknowledged"),
];
pub(crate) const POLICY_UDP: [(&str, &str); 2] = [("unreplied", "udp"), ("replied", "udp_stream")];

/// The protocol's name, and what its timers are called.
type PolicyTimers = (&'static str, &'static [(&'static str, &'static str)]);

/// The timers of a protocol.
fn policy_timers(protocol: &str) -> Result<PolicyTimers, String> {
    match protocol {
        "tcp" => Ok(("tcp", &POLICY_TCP)),
        "udp" => Ok(("udp", &POLICY_UDP)),
        other => Err(format!("a timeout policy is for tcp or udp here, not for '{other}'")),
    }
}

/// The setting that a timer of a policy is.
fn policy_setting(timers: &[(&'static str, &'static str)], name: &str) -> Result<&'static str, String> {
    let lower = name.to_ascii_lowercase();
    timers.iter().find(|(theirs, _)| *theirs == lower).map(|(_, ours)| *ours).ok_or_else(|| {
        let known = timers.iter().map(|(theirs, _)| *theirs);
        match nearest(name, known.clone()) {
            Some(meant) => format!("a timeout policy has no timer '{name}'; did you mean '{meant}'?"),
            None => format!("a timeout policy has no timer '{name}'; it has {}", super::hint::listed(known)),
        }
    })
}

/// What stands before conntrack's names, in either tree; the short forms as in the documentation.
pub(crate) const CONNTRACK_TREES: [&str; 6] = [
    "net.netfilter.nf_conntrack_",
    "net.ipv4.netfilter.ip_conntrack_",
    "net.nf_conntrack_",
    "net.ipv4.ip_conntrack_",
    "nf_conntrack_",
    "ip_conntrack_",
];
/// Settings of other protocols, by what their names begin with. They are no misspellings.
pub(crate) const OTHER_PROTOCOLS: [&str; 9] = ["sctp_", "dccp_", "gre_", "icmp_", "icmpv6_", "generic_", "udplite_", "frag6_", "expect_"];
pub(crate) const IPVS_TREE: &str = "net.ipv4.vs.";
/// The sysctls of IPVS that a policy has; those of 2.4 that begin with `timeout_` come on top.
pub(crate) const IPVS_SYSCTLS: [&str; 11] = [
    "secure_tcp",
    "drop_entry",
    "drop_packet",
    "am_droprate",
    "amemthresh",
    "sloppy_tcp",
    "conn_reuse_mode",
    "expire_nodest_conn",
    "expire_quiescent_template",
    "conntrack",
    "nat_icmp_send",
];
/// Settings of the host's own TCP that are kept aside.
const ENDPOINT: [&str; 2] = ["net.ipv4.tcp_keepalive_", "net.ipv4.tcp_retries2"];

#[derive(Default)]
struct Reader {
    dump: Dump,
    policies: Vec<(TimeoutPolicy, usize)>,
    /// What was set before: the kind of box, the setting, and the line.
    set: Vec<(&'static str, &'static str, usize)>,
    /// The section of a kube-proxy configuration in which a line stands, and how far its head is indented.
    section: (words::Section, usize),
}

impl Reader {
    /// Reads a line and says whether it set anything.
    fn line(&mut self, line: &str, number: usize) -> Result<bool, String> {
        if let Some(done) = words::line(self, line, number) {
            return done;
        }
        // A minus in front tells sysctl to go on after an error; `-w` and `-p` are its switches.
        let line = line.trim();
        let plain = line.strip_prefix("sysctl ").map_or(line, |rest| rest.trim_start().trim_start_matches("-w").trim_start());
        // `grep . /proc/sys/…/*` prints a file's path, a colon and what is in it.
        let listed = || plain.split_once(':').filter(|(key, _)| key.contains('/') && !key.contains(char::is_whitespace));
        let Some((key, value)) = plain.split_once('=').or_else(listed) else { return Ok(false) };
        self.sysctl(key.trim().trim_start_matches('-').trim_start(), value.trim().trim_matches(['"', '\'']), number)
    }

    fn sysctl(&mut self, key: &str, value: &str, line: usize) -> Result<bool, String> {
        let dotted = dotted(key);
        if let Some(name) = CONNTRACK_TREES.iter().find_map(|tree| dotted.strip_prefix(tree)) {
            return self.conntrack_sysctl(&dotted, name, value, line);
        }
        if let Some(name) = dotted.strip_prefix(IPVS_TREE) {
            return self.ipvs_sysctl(&dotted, name, value, line);
        }
        if ENDPOINT.iter().any(|name| dotted.starts_with(name)) {
            self.dump.endpoint.retain(|(known, _)| *known != dotted);
            self.dump.endpoint.push((dotted.into_owned(), value.to_owned()));
            return Ok(true);
        }
        Ok(false)
    }

    fn conntrack_sysctl(&mut self, dotted: &str, name: &str, value: &str, line: usize) -> Result<bool, String> {
        let real = name.starts_with("tcp_") || name.starts_with("udp_timeout") || matches!(name, "max" | "buckets");
        if OTHER_PROTOCOLS.iter().any(|other| name.starts_with(other)) {
            return Ok(false);
        }
        match ConntrackPolicy::key(name) {
            // The kernel takes a limit of zero as none.
            Ok(key) if real && key.name == "max" && value == "0" => self.conntrack(key.name, super::value::DEFAULT, line),
            Ok(key) if real => self.conntrack(key.name, value, line),
            Err(SettingError::NotModelled { .. }) => Ok(false),
            // A short name of ours in the kernel's tree is a name that the kernel does not have.
            Ok(key) => {
                let theirs = key.aliases.iter().find(|alias| alias.starts_with("tcp_") || alias.starts_with("udp_"));
                misspelt(dotted, name, theirs.copied())
            }
            Err(_) => {
                let known = ConntrackPolicy::keys().iter().flat_map(|key| key.aliases.iter().copied().chain([key.name]));
                let theirs = known.filter(|known| known.starts_with("tcp_") || known.starts_with("udp_t") || *known == "buckets");
                self.unknown(dotted, name, nearest(name, theirs), line)
            }
        }
    }

    fn ipvs_sysctl(&mut self, dotted: &str, name: &str, value: &str, line: usize) -> Result<bool, String> {
        let real = IPVS_SYSCTLS.contains(&name) || name.starts_with("timeout_");
        if name.starts_with("tcp_timeout_") {
            self.dump.notes.push(format!("line {line}: {dotted} is of no mainline kernel, and is left out; its unit may be milliseconds"));
            return Ok(false);
        }
        match IpvsPolicy::key(dotted) {
            Ok(key) if real => self.ipvs(key.name, value, line),
            Err(SettingError::NotModelled { .. }) => Ok(false),
            Ok(_) => misspelt(dotted, name, None),
            Err(_) => self.unknown(dotted, name, nearest(name, IPVS_SYSCTLS), line),
        }
    }

    /// A name in a tree of the kernel's that is not known: a misspelling where one is near, else of a kernel that is newer or patched.
    fn unknown(&mut self, dotted: &str, name: &str, meant: Option<&str>, line: usize) -> Result<bool, String> {
        if meant.is_some() {
            return misspelt(dotted, name, meant);
        }
        self.dump.notes.push(format!("line {line}: {dotted} is not known here, and is left out"));
        Ok(false)
    }

    fn conntrack(&mut self, name: &str, value: &str, line: usize) -> Result<bool, String> {
        let policy = self.dump.conntrack.get_or_insert_default();
        let before = policy.value(name);
        let key = policy.set(name, value).map_err(|error| error.to_string())?;
        let changed = before != policy.value(name);
        self.seen(ConntrackPolicy::KIND, key.name, changed, line);
        Ok(true)
    }

    fn ipvs(&mut self, name: &str, value: &str, line: usize) -> Result<bool, String> {
        let policy = self.dump.ipvs.get_or_insert_default();
        let before = policy.value(name);
        let key = policy.set(name, value).map_err(|error| error.to_string())?;
        let changed = before != policy.value(name);
        self.seen(IpvsPolicy::KIND, key.name, changed, line);
        Ok(true)
    }

    /// The three values of `ipvsadm --set`; a zero keeps what was there.
    fn ipvs_set(&mut self, values: [&str; 3], line: usize) -> Result<bool, String> {
        self.dump.ipvs.get_or_insert_default();
        for (name, value) in ["tcp", "tcpfin", "udp"].into_iter().zip(values) {
            if value.bytes().any(|digit| digit != b'0') {
                self.ipvs(name, value, line)?;
            }
        }
        Ok(true)
    }

    /// Remembers a setting, and says so where a later line changes it, as in the kernel.
    fn seen(&mut self, kind: &'static str, name: &'static str, changed: bool, line: usize) {
        match self.set.iter_mut().find(|(known, key, _)| *known == kind && *key == name) {
            Some((_, _, at)) => {
                if changed {
                    self.dump.notes.push(format!("line {line} changes '{name}' of {kind}, which line {at} had set"));
                }
                *at = line;
            }
            None => self.set.push((kind, name, line)),
        }
    }

    /// Keeps a timeout policy until the sysctls are read: it goes before them, wherever it stands.
    fn add(&mut self, policy: TimeoutPolicy, line: usize) -> Result<(), String> {
        if let Some((other, at)) = self.policies.iter().find(|(other, _)| other.protocol == policy.protocol) {
            return Err(format!(
                "'{}' is a second timeout policy for {}, after '{}' in line {at}; a box has one here: keep the one that you ask about",
                policy.name, policy.protocol, other.name
            ));
        }
        self.policies.push((policy, line));
        Ok(())
    }

    fn finish(mut self, origin: &Arc<str>) -> Result<Dump, (usize, String)> {
        for (kind, setting, line) in &self.set {
            let places = if *kind == IpvsPolicy::KIND { &mut self.dump.ipvs_at } else { &mut self.dump.conntrack_at };
            places.note(setting, At::new(origin, *line));
        }
        for (policy, line) in std::mem::take(&mut self.policies) {
            let tracking = self.dump.conntrack.get_or_insert_default();
            if policy.fills {
                for (_, setting) in policy_timers(policy.protocol).map_err(|message| (line, message))?.1 {
                    let key = tracking.set(setting, super::value::DEFAULT).map_err(|error| (line, error.to_string()))?;
                    self.dump.conntrack_at.note(key.name, At::new(origin, line));
                }
            }
            for (setting, value, further) in &policy.timers {
                let key = tracking.set(setting, value).map_err(|error| (line + further, error.to_string()))?;
                self.dump.conntrack_at.note(key.name, At::new(origin, line + further));
            }
            self.dump.notes.push(format!(
                "line {line}: the timeout policy '{}' of {} is for the flows that a rule gives it; here it holds for every {} flow",
                policy.name, policy.tool, policy.protocol
            ));
        }
        Ok(self.dump)
    }
}

fn misspelt(dotted: &str, name: &str, meant: Option<&str>) -> Result<bool, String> {
    let tree = dotted.strip_suffix(name).unwrap_or_default();
    match meant {
        Some(meant) => Err(format!("the kernel has no sysctl '{dotted}'; did you mean '{tree}{meant}'?")),
        None => Err(format!("the kernel has no sysctl '{dotted}'; leave it out")),
    }
}

/// A key with dots: sysctl also takes slashes, and then dots are part of a name.
pub(crate) fn dotted(key: &str) -> Cow<'_, str> {
    let slashed = key.find(['.', '/']).is_some_and(|at| key.as_bytes()[at] == b'/');
    let plain = if slashed { Cow::Owned(key.trim_start_matches('/').replace('/', ".")) } else { Cow::Borrowed(key) };
    match plain.strip_prefix("proc.sys.") {
        Some(rest) => Cow::Owned(rest.to_owned()),
        None => plain,
    }
}
