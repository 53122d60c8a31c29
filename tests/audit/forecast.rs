//! What becomes of live connections: dumps made by hand, each line with the answer that the kernels would give.

use super::{asked, boxes, shown};
use flowlapse::inventory::Inventory;
use flowlapse::study::audit::forecast::{Class, End, Fate, Notice};
use flowlapse::study::audit::rule::Rule;
use flowlapse::study::audit::{Asked, Audit, Materials, audit};
use flowlapse::time::Duration;

const HEAD: &str = "IPVS connection entries\npro expire state       source             virtual            destination\n";
const TIMEOUTS: &str = "Timeout (tcp tcpfin udp): 900 120 300\n";
const SERVICE: &str = "-A -t 10.0.0.1:22 -s rr\n-a -t 10.0.0.1:22 -r 10.0.1.5:22 -m -w 1\n";
const SS: &str = "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn look<T>(machine: &str, client: &str, server: &str, asked: &Asked, see: impl FnOnce(&Audit<'_>) -> T) -> T {
    let machine = shown(machine);
    let end = |text: &str| (!text.is_empty()).then(|| shown(text));
    let (client, server): (Option<Inventory>, Option<Inventory>) = (end(client), end(server));
    let none = boxes(&[]);
    let materials = Materials { machine: &machine, client: client.as_ref(), server: server.as_ref(), beyond: &none };
    see(&audit(&materials, asked).expect("an audit"))
}

/// The fate of one connection of an IPVS director with NAT, ESTABLISHED with so much left, by the sockets of its ends.
fn director(left: &str, client: &str, server: &str) -> (Class, [End; 2], [Notice; 2]) {
    let machine = format!("{TIMEOUTS}{SERVICE}{HEAD}TCP {left}  ESTABLISHED 192.0.2.7:51022    10.0.0.1:22        10.0.1.5:22\n");
    let client = if client.is_empty() { String::new() } else { format!("{SS}ESTAB 0 0 192.0.2.7:51022 10.0.0.1:22 {client}\n") };
    let server = if server.is_empty() { String::new() } else { format!("{SS}ESTAB 0 0 10.0.1.5:22 192.0.2.7:51022 {server}\n") };
    look(&machine, &client, &server, &asked("linux-6.12"), |audit| {
        let fates = &audit.forecast.as_ref().expect("a forecast").fates;
        assert_eq!(fates.len(), 1, "{fates:?}");
        (fates[0].class, fates[0].ends, fates[0].notices)
    })
}

#[test]
fn a_socket_without_a_timer_saves_nothing() {
    let (class, ends, notices) = director("10:00", "timer:", "");
    assert_eq!((class, ends[0], ends[1]), (Class::Unknown, End::NotShown, End::NotShown), "a line that cannot be read is no socket");
    assert_eq!(notices, [Notice::NotShown; 2]);
    let bare = director("10:00", " ", "");
    assert_eq!((bare.0, bare.1), (Class::AtRisk, [End::Silent, End::NotShown]));
    assert_eq!(bare.2, [Notice::Never, Notice::NotShown]);
}

/// 7200 s of keepalive against 600 s that are left: the client is reset by its probe, the server's leaves untranslated.
#[test]
fn keepalive_after_the_end_is_what_tells_the_ends() {
    let (class, _, notices) = director("10:00", "timer:(keepalive,110min,0)", "timer:(keepalive,110min,0)");
    assert_eq!(class, Class::AtRisk);
    let Notice::Reset(from, to) = notices[0] else { panic!("{:?}", notices[0]) };
    assert_eq!(from, seconds(6600));
    assert!(to > seconds(6660) && to < seconds(7800), "{to}");
    let Notice::TimesOut(from, _) = notices[1] else { panic!("{:?}", notices[1]) };
    assert_eq!(from, seconds(6600 + 675));
}

/// A timer that fires before the entry ends may still only be set anew: then what the host's idle time leaves decides.
#[test]
fn a_lazy_timer_is_not_trusted() {
    assert_eq!(director("10:00", "timer:(keepalive,5min10sec,0)", "").0, Class::Unknown);
    // It has been asking already: the next probe is due.
    assert_eq!(director("10:00", "timer:(keepalive,5min10sec,1)", "").0, Class::Protected);
    let own = "net.ipv4.tcp_keepalive_time = 600\n";
    let client = format!("{own}{SS}ESTAB 0 0 192.0.2.7:51022 10.0.0.1:22 timer:(keepalive,5min10sec,0)\n");
    let machine = format!("{TIMEOUTS}{SERVICE}{HEAD}TCP 10:00  ESTABLISHED 192.0.2.7:51022    10.0.0.1:22        10.0.1.5:22\n");
    // 299 s of silence at the least, so the probe is on its way 311 s from now at the latest, and the wheel's lateness.
    look(&machine, &client, "", &asked("linux-6.12"), |audit| {
        let fate = &audit.forecast.as_ref().expect("a forecast").fates[0];
        let End::Speaks(speaks) = fate.ends[0] else { panic!("{:?}", fate.ends) };
        assert_eq!(fate.class, Class::Protected);
        assert!(speaks.latest > seconds(311) && speaks.latest < seconds(360), "{}", speaks.latest);
    });
}

#[test]
fn data_under_way_keeps_the_entry() {
    assert_eq!(director("10:00", "timer:(on,1.200ms,3)", "").0, Class::Protected);
    let (class, _, notices) = director("00:01", "timer:(on,2min,13)", "");
    assert_eq!(class, Class::AtRisk);
    assert!(matches!(notices[0], Notice::Reset(..)));
}

/// Without any socket nobody knows; what is given for the ends decides then.
#[test]
fn a_keepalive_may_be_given_for_all() {
    let machine = format!(
        "{TIMEOUTS}{SERVICE}{HEAD}TCP 10:00  ESTABLISHED 192.0.2.7:51022    10.0.0.1:22        10.0.1.5:22\n\
         TCP 00:50  TIME_WAIT   192.0.2.7:51023    10.0.0.1:22        10.0.1.5:22\n"
    );
    let class = |keepalive| {
        let asked = Asked { keepalive, kernel: Some("linux-6.12".to_owned()) };
        look(&machine, "", "", &asked, |audit| {
            audit.forecast.as_ref().expect("a forecast").fates.iter().map(|fate| fate.class).collect::<Vec<Class>>()
        })
    };
    assert_eq!(class(None), [Class::Closing, Class::Unknown]);
    assert_eq!(class(Some([7200, 75, 9])), [Class::Closing, Class::AtRisk]);
    assert_eq!(class(Some([600, 30, 5])), [Class::Closing, Class::Protected]);
}

const CONNTRACK: &str = "\
tcp      6 431999 ESTABLISHED src=10.0.0.5 dst=10.1.2.3 sport=51514 dport=22 src=10.1.2.3 dst=203.0.113.1 sport=22 dport=61514 [ASSURED] mark=0 use=1
tcp      6 250 ESTABLISHED src=10.0.0.6 dst=10.1.2.3 sport=51515 dport=22 src=10.1.2.3 dst=203.0.113.1 sport=22 dport=61515 [ASSURED] mark=0 use=1
tcp      6 55 CLOSE_WAIT src=10.0.0.7 dst=10.1.2.3 sport=51516 dport=22 src=10.1.2.3 dst=203.0.113.1 sport=22 dport=61516 [ASSURED] mark=0 use=1
tcp      6 110 TIME_WAIT src=10.0.0.7 dst=10.1.2.3 sport=51517 dport=22 src=10.1.2.3 dst=203.0.113.1 sport=22 dport=61517 [ASSURED] mark=0 use=1
udp      17 25 src=10.0.0.7 dst=10.1.2.3 sport=5000 dport=53 [UNREPLIED] src=10.1.2.3 dst=203.0.113.1 sport=53 dport=5000 mark=0 use=1
";

/// The server's sockets are found by the translated addresses, as IPv4 in IPv6's clothes too.
#[test]
fn translated_connections_find_their_sockets() {
    let server = format!(
        "{SS}ESTAB 0 0 10.1.2.3:22 203.0.113.1:61514 timer:(keepalive,119min,0)\n\
         ESTAB 0 0 [::ffff:10.1.2.3]:22 [::ffff:203.0.113.1]:61515\n\
         CLOSE-WAIT 0 0 10.1.2.3:22 203.0.113.1:61516\n\
         ESTAB 0 0 10.1.2.3:22 203.0.113.1:61599\n\
         ESTAB 0 0 192.168.7.7:22 203.0.113.1:61598\n"
    );
    look(CONNTRACK, "", &server, &asked("linux-6.12"), |audit| {
        let forecast = audit.forecast.as_ref().expect("a forecast");
        let told: Vec<(&str, Class, bool)> = forecast.fates.iter().map(|fate: &Fate<'_>| (fate.state, fate.class, fate.capped)).collect();
        assert_eq!(
            told,
            [
                ("ESTAB", Class::Forgotten, false),
                ("UDP UNREPLIED", Class::Unknown, false),
                ("CLOSE_WAIT", Class::AtRisk, false),
                ("TIME_WAIT", Class::Closing, false),
                ("ESTABLISHED", Class::AtRisk, true),
                ("ESTABLISHED", Class::Protected, false),
            ]
        );
        let rules: Vec<Rule> = audit.found.iter().map(|found| found.rule).collect();
        for rule in [Rule::FlowsAtRisk, Rule::FlowsForgotten, Rule::EntriesCapped, Rule::HalfClosed] {
            assert!(rules.contains(&rule), "{}", rule.id());
        }
    });
}

/// Where the filter lets strays open a flow again, nothing is lost.
#[test]
fn what_is_picked_up_again_is_no_loss() {
    let open = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
    let plain = CONNTRACK.replace("203.0.113.1", "10.0.0.6").lines().nth(1).expect("a line").replace("dport=61515", "dport=51515");
    let server = format!("{SS}ESTAB 0 0 10.1.2.3:22 10.0.0.6:51515\n");
    look(&format!("{plain}\n{open}"), "", &server, &asked("linux-6.12"), |audit| {
        assert_eq!(audit.forecast.as_ref().expect("a forecast").fates[0].class, Class::PickedUp);
        assert!(!audit.found.iter().any(|found| found.rule == Rule::FlowsAtRisk));
    });
}

/// Direct routing: the server's socket has the virtual address, and the director does not see what it sends.
#[test]
fn direct_routing_looks_for_the_virtual_address() {
    let machine = format!(
        "{TIMEOUTS}{}{HEAD}TCP 10:00  ESTABLISHED 192.0.2.7:51022    10.0.0.1:22        10.0.1.5:22\n",
        SERVICE.replace("-m", "-g")
    );
    let server = format!("{SS}ESTAB 0 0 10.0.0.1:22 192.0.2.7:51022\n");
    look(&machine, "", &server, &asked("linux-6.12"), |audit| {
        let fate = &audit.forecast.as_ref().expect("a forecast").fates[0];
        assert_eq!((fate.class, fate.ends[1]), (Class::AtRisk, End::Silent));
    });
}

#[test]
fn the_order_does_not_depend_on_the_listing() {
    let lines: Vec<&str> = CONNTRACK.lines().collect();
    let turned = lines.iter().rev().copied().collect::<Vec<&str>>().join("\n") + "\n";
    let order = |text: &str| {
        look(text, "", "", &asked("linux-6.12"), |audit| {
            audit.forecast.as_ref().expect("a forecast").fates.iter().map(|fate| (fate.left, fate.client, fate.server)).collect::<Vec<_>>()
        })
    };
    assert_eq!(order(CONNTRACK), order(&turned));
}

/// A bundle of a real director: Linux 6.1, four sessions, one of them half-closed on the client's side.
#[test]
fn a_real_director_is_read_whole() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/machines/director-6.1.bundle");
    let text = std::fs::read_to_string(path).expect("the bundle");
    look(&text, "", "", &Asked { keepalive: Some([7200, 75, 9]), kernel: None }, |audit| {
        let forecast = audit.forecast.as_ref().expect("a forecast");
        assert_eq!(forecast.count(Class::AtRisk), 5);
        assert_eq!(forecast.count(Class::Unknown), 2, "UDP");
        assert_eq!(forecast.states.values().sum::<u64>(), 11);
        assert_eq!(audit.setup.shortest().map(|(_, span)| span), Some(seconds(900)));
        assert!(audit.found.iter().any(|found| found.rule == Rule::Contradiction), "keepalived.conf is not what runs");
    });
    look(&text, "", "", &Asked { keepalive: Some([300, 15, 5]), kernel: None }, |audit| {
        let forecast = audit.forecast.as_ref().expect("a forecast");
        let open = forecast.fates.iter().filter(|fate| fate.state == "ESTABLISHED");
        assert!(open.into_iter().all(|fate| fate.class == Class::Protected));
    });
}
