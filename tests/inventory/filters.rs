//! nft, iptables, and the timers that they attach to flows.

use crate::{inventory, nothing_unread, of_fixture, unread};
use flowlapse::inventory::{Inventory, RuleDoes};
use flowlapse::net::Proto;
use flowlapse::time::Duration;

fn rules(found: &Inventory) -> Vec<String> {
    let line = |rule: &flowlapse::inventory::Rule| {
        let hook = rule.hook.as_deref().unwrap_or("?");
        format!("{} @{hook}: {:?} [{}]", rule.chain, rule.does, rule.limited_to)
    };
    found.rules.iter().map(line).collect()
}

#[test]
fn nft_rules_are_read_with_their_hooks_and_limits() {
    let wanted = [
        "inet filter early @prerouting: SetsTimeout(\"long-ssh\") [tcp dport 22]",
        "inet filter early @prerouting: NoTrack [udp dport 53]",
        "inet filter forward @forward: PolicyDrop []",
        "inet filter forward @forward: DropsInvalid []",
        "inet filter forward @forward: AcceptsEstablished []",
        "inet filter forward @forward: AcceptsNewWithSyn [tcp dport { 22, 80 }]",
        "inet filter forward @forward: DropsNewWithoutSyn []",
        "inet filter forward @forward: AcceptsNew [udp dport 53]",
        "inet filter forward @forward: RejectsWithReset [tcp]",
        "inet filter forward @forward: RejectsWithIcmp(\"port-unreachable\") []",
        "inet filter extra @forward: AcceptsNew [ip saddr 192.0.2.0/24 tcp dport 8080]",
        "inet filter extra @forward: RejectsWithIcmp(\"admin-prohibited\") [iifname eth0]",
        "inet filter input @input: DropsInvalid []",
        "inet filter input @input: AcceptsEstablished []",
        "inet filter input @input: AcceptsNew [iif lo]",
        "ip nat post @postrouting: Masquerades [oifname eth0]",
        "ip nat post @postrouting: SourceNat [ip saddr 192.0.2.7]",
        "ip nat pre @prerouting: DestinationNat [tcp dport 8080]",
        "ip nat pre @prerouting: DestinationNat [tcp dport 81]",
    ];
    for name in ["nft-6.18.txt", "nft-a-6.18.txt"] {
        let found = of_fixture(name);
        nothing_unread(name, &found);
        assert_eq!(rules(&found), wanted, "{name}");
        let policy = &found.timeout_policies[0];
        assert_eq!((policy.name.as_str(), policy.proto), ("long-ssh", Proto::Tcp));
        assert_eq!(policy.timers, [("established", Duration::from_secs(7440)), ("close", Duration::from_secs(20))]);
    }
}

#[test]
fn iptables_rules_are_read_with_their_hooks_and_limits() {
    let filter = [
        "filter INPUT @input: PolicyDrop []",
        "filter FORWARD @forward: PolicyDrop []",
        "filter INPUT @input: AcceptsNew [-i lo]",
        "filter INPUT @input: DropsInvalid []",
        "filter INPUT @input: AcceptsEstablished []",
        "filter INPUT @input: AcceptsNewWithSyn [tcp dport 22]",
        "filter INPUT @input: AcceptsNew [tcp dport 80,443]",
        "filter INPUT @input: RejectsWithReset [tcp]",
        "filter INPUT @input: RejectsWithIcmp(\"icmp-port-unreachable\") []",
        "filter FORWARD @forward: AcceptsEstablished []",
        "filter FORWARD @forward: DropsNewWithoutSyn [tcp]",
        "filter LOGDROP @forward: DropsInvalid []",
    ];
    let nat = [
        "nat PREROUTING @prerouting: DestinationNat [tcp dport 8080]",
        "nat PREROUTING @prerouting: DestinationNat [tcp dport 81]",
        "nat POSTROUTING @postrouting: Masquerades [-s 192.0.2.0/24 -o eth0]",
        "nat POSTROUTING @postrouting: SourceNat [-s 192.0.2.7/32]",
    ];
    for name in ["iptables-save-6.18.txt", "iptables-save-c-6.18.txt"] {
        let found = of_fixture(name);
        nothing_unread(name, &found);
        let all: Vec<&str> = ["raw PREROUTING @prerouting: NoTrack [udp dport 53]"].into_iter().chain(filter).chain(nat).collect();
        assert_eq!(rules(&found), all, "{name}");
    }
    let short = of_fixture("iptables-S-6.18.txt");
    nothing_unread("iptables -S", &short);
    assert_eq!(rules(&short), filter.map(|line| line.trim_start_matches("filter ").to_owned()));
    let six = of_fixture("ip6tables-save-6.18.txt");
    nothing_unread("ip6tables-save", &six);
    assert_eq!(rules(&six)[1], "ip6 filter FORWARD @forward: AcceptsEstablished []");
    assert_eq!(rules(&six)[2], "ip6 filter FORWARD @forward: RejectsWithIcmp(\"icmp6-port-unreachable\") [tcp dport 22]");
    let legacy = of_fixture("iptables-legacy-save-6.1.txt");
    nothing_unread("iptables-legacy-save", &legacy);
}

#[test]
fn nft_shows_the_rules_of_iptables_the_same() {
    let found = of_fixture("nft-of-iptables-6.18.txt");
    nothing_unread("nft", &found);
    let shown = rules(&found);
    for wanted in [
        "ip filter INPUT @input: AcceptsNewWithSyn [tcp dport 22]",
        "ip filter FORWARD @forward: DropsNewWithoutSyn []",
        "ip filter LOGDROP @forward: DropsInvalid []",
        "ip nat POSTROUTING @postrouting: Masquerades [oifname eth0 ip saddr 192.0.2.0/24]",
    ] {
        assert!(shown.contains(&wanted.to_owned()), "{wanted}: {shown:#?}");
    }
}

#[test]
fn rules_that_no_fixture_has() {
    let chain = |rule: &str| {
        let found = inventory(&format!(
            "table ip x {{\n\tchain y {{\n\t\ttype filter hook forward priority 0; policy accept;\n\t\t{rule}\n\t}}\n}}\n"
        ));
        (found.rules.into_iter().map(|rule| rule.does).collect::<Vec<_>>(), found.unread.len())
    };
    assert_eq!(chain("ct state established flow add @ft"), (vec![RuleDoes::Offloads], 0));
    assert_eq!(chain("ct state != invalid accept"), (vec![], 0));
    assert_eq!(chain("tcp flags & (fin | syn | rst | ack) != syn ct state new drop"), (vec![RuleDoes::DropsNewWithoutSyn], 0));
    assert_eq!(chain("ct state new,established accept"), (vec![RuleDoes::AcceptsEstablished, RuleDoes::AcceptsNew], 0));
    assert_eq!(chain("tcp dport vmap { 22 : accept, 23 : drop }"), (vec![], 0));
    assert_eq!(chain("ct state vmap @known"), (vec![], 0));
    let dormant = inventory("table ip x {\n\tflags dormant\n\tchain y {\n\t\tct state invalid drop\n\t}\n}\n");
    assert!(dormant.rules.is_empty() && dormant.notes[0].text.contains("dormant"));
    assert_eq!(chain("ct state establishd accept"), (vec![], 1));
    assert_eq!(chain("ct sttae established accept"), (vec![], 1));
    assert_eq!(chain("tpc dport 22 accept"), (vec![], 1));
    assert_eq!(chain("reject with icmp host-unreach"), (vec![], 1));
    let save = |rule: &str| {
        let found = inventory(&format!("*raw\n:PREROUTING ACCEPT [0:0]\n{rule}\nCOMMIT\n"));
        (found.rules.into_iter().map(|rule| rule.does).collect::<Vec<_>>(), found.unread.len())
    };
    assert_eq!(save("-A PREROUTING -p tcp -j CT --timeout long"), (vec![RuleDoes::SetsTimeout("long".to_owned())], 0));
    assert_eq!(save("-A PREROUTING -j NOTRACK"), (vec![RuleDoes::NoTrack], 0));
    assert_eq!(save("-A PREROUTING -p tcp ! --syn -m state --state NEW -j DROP"), (vec![RuleDoes::DropsNewWithoutSyn], 0));
    assert_eq!(save("-A PREROUTING -m conntrack --ctstate RELATED,ESTABLISHED -j FLOWOFFLOAD"), (vec![RuleDoes::Offloads], 0));
    assert_eq!(save("-A PREROUTING -m conntrack --ctstate RELATD,ESTABLISHED -j ACCEPT"), (vec![], 1));
    assert_eq!(save("-A PREROUTING -p tcp -j REJECT --reject-with tcp-rest"), (vec![], 1));
    assert_eq!(save("-A PREROUTING -p tcp -j REJECT"), (vec![], 1));
    assert_eq!(save("iptables -A PREROUTING -j REJECT"), (vec![RuleDoes::RejectsWithIcmp("icmp-port-unreachable".to_owned())], 0));
    assert_eq!(save("-A PREROUTING -m comment --comment \"open"), (vec![], 1));
}

#[test]
fn a_chain_that_two_hooks_call_has_none() {
    let text = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:BOTH - [0:0]\n-A INPUT -j BOTH\n-A FORWARD -j BOTH\n\
                -A BOTH -m state --state INVALID -j DROP\nCOMMIT\n";
    assert_eq!(rules(&inventory(text)), ["filter BOTH @?: DropsInvalid []"]);
}

#[test]
fn nfct_lists_whole_policies() {
    let found = of_fixture("nfct-list-timeout-6.18.txt");
    nothing_unread("nfct list timeout", &found);
    let [tcp, udp] = found.timeout_policies.as_slice() else { panic!("{:?}", found.timeout_policies) };
    assert_eq!((tcp.name.as_str(), tcp.timers.len()), ("tcp-long", 11));
    assert!(
        tcp.timers.contains(&("established", Duration::from_secs(7440)))
            && tcp.timers.contains(&("unacknowledged", Duration::from_secs(300)))
    );
    assert_eq!(udp.timers, [("udp", Duration::from_secs(10)), ("udp_stream", Duration::from_secs(120))]);
}

#[test]
fn what_is_cut_off_is_said() {
    let found = inventory("table ip x {\n\tchain y {\n\t\ttype filter hook forward priority 0; policy dr\n");
    assert!(found.rules.is_empty() && found.unread.len() == 1, "{:?}", unread(&found));
    assert!(found.notes.iter().any(|note| note.text.contains("no end")));
    let policy = inventory("table ip x {\n\tct timeout a {\n\t\tprotocol tcp\n\t\tpolicy = { established : 74\n");
    assert!(policy.timeout_policies.is_empty() && !policy.unread.is_empty());
    let single = inventory("nft add rule inet filter forward ct state invalid drop\n");
    assert!(unread(&single)[0].contains("nft list ruleset"));
}
