//! `flowlapse audit`: what machines show of themselves, without a packet.

use super::interrupt::NEVER;
use super::output::Names;
use super::{Ended, Failure, exit, files, interrupt, note, outlet, print_json, traffic, width, write_whole};
use crate::inventory::{self, Inventory, Kind};
use crate::policy::hint::nearest;
use crate::report::audit::{json, prometheus, text};
use crate::study::audit::rule::{Rule, Severity};
use crate::study::audit::{Asked, Audit, Materials, audit};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Hold timers against each other, without a packet: what cannot work, and which live connections will be forgotten.
///
/// Reads what a machine shows of itself, in any mix: sysctl listings, ipvsadm, /proc/net/ip_vs*, conntrack -L and -E,
/// /proc/net/nf_conntrack, ss -tno, sshd_config and ssh_config, nft and iptables rules, kube-proxy's configuration,
/// keepalived.conf; or one bundle with all of it, made by the script that --collector prints. Says what it had to assume.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flowlapse audit --sysctl sysctl.txt --ipvsadm 'Timeout (tcp tcpfin udp): 900 120 300' --box aws-nlb
  conntrack -L -o extended | flowlapse audit --conntrack - --ss <(ss -tno)
  flowlapse audit --collector > collect.sh; ssh director sh < collect.sh > director.txt; flowlapse audit director.txt
  flowlapse audit director.txt --client laptop.txt --server sshd.txt --json
  flowlapse audit director.txt --keepalive 600,30,5 --prometheus /var/lib/node_exporter/flowlapse.prom

FILEs and the options with kinds are about one machine on the path; --client and --server about the ends; boxes of --box stand
between that machine and the server, in their order. The value of an option with a kind is a file, - for standard input, or
the text itself.

Exit codes: 0 ran; 1 found what --fail-on names; 2 usage, or nothing could be read; 3 something could not be read and --strict
was given; 130 interrupted.")]
pub struct Args {
    /// Texts of the machine, of any kinds; `-` is standard input
    #[arg(value_name = "FILE")]
    files: Vec<OsString>,
    /// What the client's host shows (ss, sysctls, ssh_config); repeat for several texts
    #[arg(long, value_name = "FILE")]
    client: Vec<OsString>,
    /// What the server's host shows (ss, sysctls, sshd_config); repeat for several texts
    #[arg(long, value_name = "FILE")]
    server: Vec<OsString>,
    /// `sysctl -a`, or lines of it
    #[arg(long, value_name = "TEXT")]
    sysctl: Vec<OsString>,
    /// `ipvsadm -l --timeout`, `-Sn`, `-Ln` or `-Lnc`; three numbers are its timeouts
    #[arg(long, value_name = "TEXT")]
    ipvsadm: Vec<OsString>,
    /// `ipvsadm -Lnc`, or /proc/net/ip_vs_conn
    #[arg(long, value_name = "TEXT")]
    ipvs_conns: Vec<OsString>,
    /// `conntrack -L` or `-E`, or /proc/net/nf_conntrack
    #[arg(long, value_name = "TEXT")]
    conntrack: Vec<OsString>,
    /// `ss -tno` of the machine itself
    #[arg(long, value_name = "TEXT")]
    ss: Vec<OsString>,
    /// sshd_config or ssh_config
    #[arg(long, value_name = "TEXT")]
    ssh: Vec<OsString>,
    /// `nft list ruleset` or `iptables-save`
    #[arg(long, value_name = "TEXT")]
    rules: Vec<OsString>,
    /// kube-proxy's configuration or flags
    #[arg(long, value_name = "TEXT")]
    kube_proxy: Vec<OsString>,
    /// keepalived.conf
    #[arg(long, value_name = "TEXT")]
    keepalived: Vec<OsString>,
    /// A further box between the machine and the server; repeat for several, in the order from the client
    #[arg(long = "box", value_name = "SPEC")]
    boxes: Vec<String>,
    /// Keepalive of ends that do not show theirs: idle time, interval, probes
    #[arg(long, value_name = "IDLE,INTVL,PROBES", value_parser = keepalive)]
    keepalive: Option<[u64; 3]>,
    /// The machine's kernel where `uname -r` is not among the texts: a release (5.15.0) or a dialect (linux-5.15)
    #[arg(long, value_name = "KERNEL")]
    kernel: Option<String>,
    /// One JSON document (schema flowlapse-audit/1)
    #[arg(long)]
    json: bool,
    /// Write metrics for node_exporter's textfile collector, whole or not at all; `-` is standard output
    #[arg(long, value_name = "FILE")]
    prometheus: Option<OsString>,
    /// Print the script that collects everything on a machine
    #[arg(long)]
    collector: bool,
    /// Exit with 1 if there is such a finding: error, warning or info (and worse), or the name of a rule
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    fail_on: Vec<String>,
    /// Exit with 3 if a line could not be read
    #[arg(long)]
    strict: bool,
    /// How many connections, and lines that could not be read, are listed at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

fn keepalive(text: &str) -> Result<[u64; 3], String> {
    let wrong = || format!("'{text}' is no keepalive; write idle time, interval and probes, as in 7200,75,9");
    let seconds = |part: &str| crate::time::Duration::parse(part).ok().map(crate::time::Duration::as_secs);
    let parts: Vec<&str> = text.split([',', '/']).map(str::trim).collect();
    match parts.as_slice() {
        [idle, interval, probes] => {
            let values = [seconds(idle), seconds(interval), probes.parse().ok()].map(|value| value.filter(|value| *value > 0));
            let [Some(idle), Some(interval), Some(probes)] = values else { return Err(wrong()) };
            Ok([idle, interval, probes])
        }
        _ => Err(wrong()),
    }
}

/// What `--fail-on` names.
enum FailOn {
    Severity(Severity),
    Rule(Rule),
}

impl FailOn {
    fn parse(name: &str) -> Result<FailOn, Failure> {
        let name = name.trim();
        let found = Severity::from_name(name).map(FailOn::Severity).or_else(|| Rule::from_id(name).map(FailOn::Rule));
        found.ok_or_else(|| {
            let rules: Vec<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
            let severities = Severity::ALL.map(Severity::name);
            Failure(match nearest(name, rules.iter().copied().chain(severities)) {
                Some(near) => format!("--fail-on: '{name}' is neither error, warning or info nor a rule; did you mean '{near}'?"),
                None => format!("--fail-on: '{name}' is neither error, warning or info nor a rule; there are {}", rules.join(", ")),
            })
        })
    }

    fn is_met(&self, audit: &Audit<'_>) -> bool {
        audit.found.iter().any(|found| match self {
            FailOn::Severity(severity) => found.severity >= *severity,
            FailOn::Rule(rule) => found.rule == *rule,
        })
    }
}

/// Whether an interrupt came, so that no further text is read.
fn is_over(into: &mut Inventory) -> bool {
    into.interrupted |= interrupt::is_asked();
    into.interrupted
}

/// Takes a text in. One of which an interrupt left a part is read as far as there are whole lines.
fn take(kind: Option<Kind>, text: &str, origin: &str, into: &mut Inventory) {
    if is_over(into) {
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        inventory::read_until(kind, whole, origin, into, &NEVER);
    } else {
        inventory::read_until(kind, text, origin, into, interrupt::flag());
    }
}

/// Reads texts; standard input once.
#[derive(Default)]
struct Reading {
    input_is_read: bool,
}

impl Reading {
    fn file(&mut self, name: &OsStr, into: &mut Inventory) -> Result<(), Failure> {
        if !is_over(into) {
            let (text, origin) = self.text_of(name)?;
            take(None, &text, &origin, into);
        }
        Ok(())
    }

    fn text_of(&mut self, name: &OsStr) -> Result<(String, String), Failure> {
        let fail = |error: std::io::Error| files::unreadable(Path::new(name), &error, files::Wanted::Texts);
        if name == "-" {
            if std::mem::replace(&mut self.input_is_read, true) {
                return Err(Failure("standard input (-) can be read once only".to_owned()));
            }
            let bytes = interrupt::stdin_whole().map_err(fail)?;
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), "stdin".to_owned()));
        }
        let bytes = interrupt::whole(Path::new(name)).map_err(fail)?;
        if let Some(hint) = files::hint(Path::new(name), files::Wanted::Texts) {
            return Err(Failure(format!("{}: {hint}", Path::new(name).display())));
        }
        Ok((String::from_utf8_lossy(&bytes).into_owned(), Path::new(name).display().to_string()))
    }

    /// The value of an option with a kind: a file, standard input, or the text itself.
    fn value(&mut self, option: &str, value: &OsStr, kind: Option<Kind>, into: &mut Inventory) -> Result<(), Failure> {
        if is_over(into) {
            return Ok(());
        }
        let direct = value.to_str().filter(|text| *text != "-" && !Path::new(text).exists());
        let (text, origin) = match direct {
            // What has blanks or signs in it is no name of a file that somebody mistyped.
            Some(text) if text.contains([' ', '\n', '=', ':', '\t', ',']) => (format!("{text}\n"), option.to_owned()),
            _ => self.text_of(value)?,
        };
        let numbers =
            |text: &str| text.split([' ', ',']).filter(|word| !word.is_empty()).all(|word| word.bytes().all(|c| c.is_ascii_digit()));
        let text = if option == "--ipvsadm" && text.trim().split([' ', ',']).count() == 3 && numbers(text.trim()) {
            format!("Timeout (tcp tcpfin udp): {}\n", text.trim().replace(',', " "))
        } else {
            text
        };
        take(kind, &text, &origin, into);
        Ok(())
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Ended {
    if args.collector {
        outlet::raw(inventory::COLLECTOR.as_bytes())?;
        return Ok(exit::RAN);
    }
    let fail_on = args.fail_on.iter().map(|name| FailOn::parse(name)).collect::<Result<Vec<FailOn>, Failure>>()?;
    let texts = [&args.files, &args.client, &args.server, &args.sysctl, &args.ipvsadm, &args.ipvs_conns, &args.conntrack, &args.ss];
    let texts = texts.into_iter().chain([&args.ssh, &args.rules, &args.kube_proxy, &args.keepalived]).flatten();
    let mut names = Names::new().reads("FILE", texts).boxes("--box", &args.boxes);
    names.write_some("--prometheus", args.prometheus.as_deref().map(Path::new))?;
    let mut reading = Reading::default();
    let mut machine = Inventory::default();
    for name in &args.files {
        reading.file(name, &mut machine)?;
    }
    let options: [(&str, &Vec<OsString>, Option<Kind>); 9] = [
        ("--sysctl", &args.sysctl, Some(Kind::Sysctls)),
        ("--ipvsadm", &args.ipvsadm, None),
        ("--ipvs-conns", &args.ipvs_conns, None),
        ("--conntrack", &args.conntrack, None),
        ("--ss", &args.ss, Some(Kind::Sockets)),
        ("--ssh", &args.ssh, None),
        ("--rules", &args.rules, None),
        ("--kube-proxy", &args.kube_proxy, Some(Kind::KubeProxy)),
        ("--keepalived", &args.keepalived, Some(Kind::Keepalived)),
    ];
    for (option, values, kind) in options {
        for value in values {
            reading.value(option, value, kind, &mut machine)?;
        }
    }
    let mut end = |names: &[OsString]| -> Result<Option<Inventory>, Failure> {
        let mut inventory = Inventory::default();
        for name in names {
            reading.file(name, &mut inventory)?;
        }
        Ok((!names.is_empty()).then_some(inventory))
    };
    let (client, server) = (end(&args.client)?, end(&args.server)?);
    let beyond = traffic::boxes(&args.boxes)?;
    let texts = [Some(&machine), client.as_ref(), server.as_ref()];
    if beyond.is_empty() && texts.into_iter().flatten().all(|inventory| inventory.shown.is_empty()) {
        return Err(nothing(&texts));
    }
    let materials = Materials { machine: &machine, client: client.as_ref(), server: server.as_ref(), beyond: &beyond };
    let asked = Asked { keepalive: args.keepalive, kernel: args.kernel.clone() };
    let audit = audit(&materials, &asked).map_err(|error| Failure(error.to_string()))?;
    write(args, &audit)?;
    Ok(if audit.is_interrupted() {
        exit::INTERRUPTED
    } else if fail_on.iter().any(|what| what.is_met(&audit)) {
        exit::FOUND
    } else if args.strict && audit.unread() > 0 {
        exit::INCOMPLETE
    } else {
        exit::RAN
    })
}

fn write(args: &Args, audit: &Audit<'_>) -> Result<(), Failure> {
    // Metrics of a part would be taken for those of the whole.
    if let Some(file) = args.prometheus.as_ref().filter(|_| audit.is_interrupted()) {
        note(&format!("interrupted: {} was not written", file.to_string_lossy()));
    } else if let Some(file) = &args.prometheus {
        let metrics = prometheus::write(audit);
        if file == "-" {
            return outlet::words(&metrics);
        }
        write_whole(&PathBuf::from(file), metrics.as_bytes())?;
    }
    if args.json {
        print_json(&json::document(audit))
    } else {
        super::report(&text::write(audit, text::Layout { width: width(), limit: args.limit }))
    }
}

/// Why there is nothing to audit.
fn nothing(texts: &[Option<&Inventory>]) -> Failure {
    let first = texts.iter().flatten().flat_map(|inventory| &inventory.unread).next();
    Failure(match first {
        Some(line) => format!("nothing could be read; {}: {}", line.at, line.why),
        None => "nothing to audit: give texts such as 'sysctl -a', 'ipvsadm -l --timeout', 'conntrack -L', or a bundle of the script that \
                 --collector prints, or boxes with --box"
            .to_owned(),
    })
}
