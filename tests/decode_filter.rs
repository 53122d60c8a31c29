//! Filters mean what they mean in tcpdump, and say where they are wrong.

use flowlapse::decode::{Decoded, Filter};
use flowlapse::net::{Addr, Proto, Segment, Sock};
use proptest::prelude::*;
use std::net::IpAddr;

fn packet(proto: Proto, src: (&str, u16), dst: (&str, u16)) -> Decoded {
    let sock = |(addr, port): (&str, u16)| Sock { addr: Addr::from(addr.parse::<IpAddr>().expect("an address")), port };
    Decoded { src: sock(src), dst: sock(dst), proto, segment: Segment::EMPTY }
}

fn matches(filter: &str, packet: &Decoded) -> bool {
    Filter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}")).matches(packet)
}

#[test]
fn filters_select_as_tcpdump_does() {
    let ssh = packet(Proto::Tcp, ("10.0.0.1", 40_000), ("192.168.1.2", 22));
    let dns = packet(Proto::Udp, ("fd00::1", 53), ("2001:db8::2", 5_353));
    for (filter, is_ssh, is_dns) in [
        ("", true, true),
        ("tcp", true, false),
        ("udp", false, true),
        ("ip", true, false),
        ("ip6", false, true),
        ("not tcp", false, true),
        ("! ip6", true, false),
        ("port 22", true, false),
        ("port ssh or domain", true, true),
        ("port 80 or 22", true, false),
        ("port (80 or ssh)", true, false),
        ("port not 22", false, true),
        ("tcp port 53", false, false),
        ("tcp port 22 or 53", true, false),
        ("udp dst port 53", false, false),
        ("udp src port 53", false, true),
        ("src port 22", false, false),
        ("src or dst port 22", true, false),
        ("src and dst port 22", false, false),
        ("portrange 20-30", true, false),
        ("dst portrange 5000-6000", false, true),
        ("host 10.0.0.1", true, false),
        ("10.0.0.1", true, false),
        ("10.0.0.1 or fd00::1", true, true),
        ("src 10.0.0.1 and dst port 22", true, false),
        ("dst host 10.0.0.1", false, false),
        ("host 10.0.0.9 or 192.168.1.2", true, false),
        ("ip host 192.168.1.2", true, false),
        ("net 10", true, false),
        ("net 10.0", true, false),
        ("net 10.0.0.0/8", true, false),
        ("net 10.1.0.0/16", false, false),
        ("net 192.168.0.0 mask 255.255.0.0", true, false),
        ("dst net 192.168", true, false),
        ("net 0.0.0.0/0", true, false),
        ("net ::/0", false, true),
        ("net 2001:db8::/32", false, true),
        ("ip proto \\tcp", true, false),
        ("proto 17", false, true),
        ("!(port 22 or port 53)", false, false),
        ("(tcp)&&(port 22)", true, false),
        // Equal rank, from the left: (udp or tcp) and port 53.
        ("udp or tcp and port 53", false, true),
        ("tcp and port 22 || udp", true, true),
        ("not host 10.0.0.1 and fd00::1", false, true),
    ] {
        assert_eq!((matches(filter, &ssh), matches(filter, &dns)), (is_ssh, is_dns), "{filter}");
    }
}

#[test]
fn errors_have_a_column_and_say_what_was_expected() {
    for (filter, column, what) in [
        ("port foo", 6, "expected a port: a number up to 65535 or a name such as ssh, found 'foo'"),
        ("port 70000", 6, "expected a port: a number up to 65535 or a name such as ssh, found '70000'"),
        ("tcp port", 9, "expected a port: a number up to 65535 or a name such as ssh, but the filter ends here"),
        ("(tcp or udp", 12, "expected 'and', 'or' or ')', but the filter ends here"),
        ("tcp)", 4, "this ')' closes nothing"),
        ("tcp (port 22)", 5, "expected 'and', 'or' or the end of the filter, found '('"),
        ("src (port 22)", 6, "'port' is not an address"),
        ("tcp udp", 5, "expected 'and', 'or' or the end of the filter, found 'udp'"),
        ("host 10.0.0.0/8", 6, "'10.0.0.0/8' is a network; write 'net 10.0.0.0/8'"),
        ("net 10.0.0.1/8", 5, "'10.0.0.1' has bits set outside its mask; the network is 10.0.0.0"),
        ("net 10.0.0.0/33", 5, "the length of a prefix in '10.0.0.0/33' must be a number up to 32"),
        ("net 300", 5, "expected a network such as 10.0.0.0/8, 10.0 or 2001:db8::/32, found '300'"),
        ("ip host ::1", 9, "expected an IPv4 address after 'ip', found '::1'"),
        ("icmp", 1, "'icmp' is not known here: only tcp, udp, ip, ip6, host, net, port and portrange are"),
        ("host ünïcode.example", 6, "'ünïcode.example' is not an address"),
        ("portrange 10-", 11, "expected a range of ports such as 8000-8080, found '10-'"),
        ("proto 1", 7, "expected tcp or udp; other protocols have no flows here, found '1'"),
        ("tcp and", 8, "but the filter ends here"),
        ("tcp & udp", 5, "expected 'and', 'or' or the end of the filter, found '&'"),
    ] {
        let error = Filter::parse(filter).expect_err(filter);
        assert_eq!(error.column, column, "{filter}: {error}");
        assert!(error.what.contains(what), "{filter}: {error}");
    }
    assert_eq!(Filter::parse("port x").expect_err("no port").to_string().split(':').next(), Some("filter, column 6"));
}

#[test]
fn depth_and_length_are_limited() {
    assert!(Filter::parse(&"(".repeat(100_000)).is_err());
    assert!(Filter::parse(&"! ".repeat(100_000)).is_err());
    assert!(Filter::parse(&format!("port {}", "not ".repeat(100_000))).is_err());
    let long = vec!["port 1"; 100_000].join(" or ");
    assert!(Filter::parse(&long).expect_err("too long").what.contains("more than 4096 words"));
    let packet = packet(Proto::Tcp, ("10.0.0.1", 1), ("10.0.0.2", 2));
    assert!(matches(&vec!["port 2"; 1_000].join(" or "), &packet));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}", words in prop::collection::vec(0_usize..24, 0..12)) {
        let _ = Filter::parse(&text);
        let vocabulary = [
            "tcp", "udp", "ip", "ip6", "host", "net", "port", "portrange", "src", "dst", "and", "or", "not", "(", ")", "&&", "||",
            "!", "10.0.0.1", "10.0/16", "22", "1-2", "mask", "fd00::1",
        ];
        let filter: Vec<&str> = words.iter().map(|word| vocabulary[*word]).collect();
        let _ = Filter::parse(&filter.join(" "));
    }
}
