//! A text as what a machine shows of itself, and as the other small texts of a command line: filters, baselines, words to fail on.
use flowlapse::check::baseline;
use flowlapse::check::fail_on::FailOn;
use flowlapse::decode::Filter;
use flowlapse::inventory::{self, Inventory, Kind};
use flowlapse::policy;
use flowlapse::report::audit::{json, prometheus, text};
use flowlapse::study::audit::{Asked, Materials, audit};

const KINDS: [Kind; 13] = [
    Kind::Sysctls,
    Kind::IpvsTimeouts,
    Kind::IpvsServices,
    Kind::IpvsConns,
    Kind::Conntrack,
    Kind::ConntrackEvents,
    Kind::Sockets,
    Kind::Sshd,
    Kind::Ssh,
    Kind::Nft,
    Kind::Iptables,
    Kind::KubeProxy,
    Kind::Keepalived,
];

/// What an audit of it says; nothing where it makes no sense.
fn audited(machine: &Inventory, ends: Option<&Inventory>) -> Option<[String; 3]> {
    let beyond = [policy::parse_short("aws-nlb").expect("a preset")];
    let materials = Materials { machine, client: ends, server: ends, beyond: if ends.is_some() { &beyond } else { &[] } };
    let audit = audit(&materials, &Asked::default()).ok()?;
    let words = text::write(&audit, text::Layout { width: 80, limit: 20 });
    assert!(!words.contains('\u{1b}'), "no escape goes out raw");
    Some([words, json::document(&audit).to_string(), prometheus::write(&audit)])
}

pub(crate) fn check(data: &[u8]) {
    let said = String::from_utf8_lossy(data);
    let mut mixed = Inventory::default();
    inventory::read(&said, "text", &mut mixed);
    let mut again = Inventory::default();
    inventory::read(&said, "text", &mut again);
    assert_eq!(mixed, again, "the same twice");
    let once = audited(&mixed, Some(&again));
    assert_eq!(once, audited(&again, Some(&mixed)), "the same twice");
    for kind in KINDS {
        let mut named = Inventory::default();
        inventory::read_as(kind, &said, "text", &mut named);
        // What a name alone makes of it is rarely something else, and an audit takes longer than all reading.
        if !named.shown.is_empty() && named != mixed {
            audited(&named, None);
        }
    }
    if let Err(error) = Filter::parse(&said) {
        assert!(error.column > 0 && error.column <= said.chars().count() + 1, "{error}");
    }
    if let Ok(accepted) = baseline::parse(&said, "baseline.txt") {
        let written = baseline::write(&accepted);
        assert_eq!(baseline::parse(&written, "baseline.txt"), Ok(accepted), "{written}");
    }
    let words: Vec<&str> = said.lines().next().unwrap_or_default().split(',').collect();
    let _ = FailOn::parse(&words);
}
