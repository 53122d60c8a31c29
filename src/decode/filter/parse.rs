//! Reading filters: words, precedence, and the shorthands of tcpdump.
//!
//! Nothing here knows packets. A primitive is `[protocol] [direction] [kind] value`; a value without any of these words
//! takes them from the primitive before it, so that `port 22 or 80` means what it seems to mean.
use super::value::{network, port, range};
use super::{Ends, FilterError, Net, Node, number};
use crate::net::{Addr, Proto};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Parentheses and negations inside each other; deeper ones would only exhaust the stack.
const DEPTH_MAX: usize = 100;

/// Words in one filter. Long alternatives nest as deeply as they are long.
const WORDS_MAX: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Any,
    Proto(Proto),
    Four,
    Six,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Host,
    Net,
    Port,
    PortRange,
}

/// The words before a value.
#[derive(Clone, Copy)]
struct Qualifiers {
    family: Family,
    ends: Ends,
    subject: Subject,
}

#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    column: usize,
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
    end_column: usize,
    /// The words of the latest primitive that had some.
    latest: Option<Qualifiers>,
    depth: usize,
}

pub(super) fn parse(text: &str) -> Result<Node, FilterError> {
    let mut parser = Parser { tokens: tokens(text), next: 0, end_column: text.chars().count() + 1, latest: None, depth: 0 };
    if parser.tokens.is_empty() {
        return Ok(Node::Anything);
    }
    if let Some(token) = parser.tokens.get(WORDS_MAX) {
        return Err(FilterError { column: token.column, what: format!("more than {WORDS_MAX} words") });
    }
    let node = parser.expression()?;
    match parser.peek() {
        None => Ok(node),
        Some(token) if token.text == ")" => Err(parser.error("this ')' closes nothing".to_owned())),
        Some(token) => Err(parser.error(format!("expected 'and', 'or' or the end of the filter, found '{}'", token.text))),
    }
}

/// Words, parentheses and the operators that need no space around them.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut column = 1;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("&&") || rest.starts_with("||") => 2,
            '(' | ')' | '!' => 1,
            _ if first.is_whitespace() => 0,
            _ => rest.find(|c: char| c.is_whitespace() || "()!&|".contains(c)).unwrap_or(rest.len()).max(first.len_utf8()),
        };
        let (token, after) = if length == 0 { ("", &rest[first.len_utf8()..]) } else { rest.split_at(length) };
        if !token.is_empty() {
            found.push(Token { text: token, column });
        }
        column += rest[..rest.len() - after.len()].chars().count();
        rest = after;
    }
    found
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.next).copied()
    }

    fn peek_text(&self) -> &'a str {
        self.peek().map_or("", |token| token.text)
    }

    /// Takes the next token if it is one of these.
    fn accept(&mut self, words: &[&str]) -> bool {
        let found = words.contains(&self.peek_text());
        self.next += usize::from(found);
        found
    }

    /// An error at the next token.
    fn error(&self, what: String) -> FilterError {
        FilterError { column: self.peek().map_or(self.end_column, |token| token.column), what }
    }

    fn expected(&self, what: &str) -> FilterError {
        self.error(match self.peek() {
            Some(token) => format!("expected {what}, found '{}'", token.text),
            None => format!("expected {what}, but the filter ends here"),
        })
    }

    fn expression(&mut self) -> Result<Node, FilterError> {
        self.chain(Parser::term)
    }

    /// `and` and `or` have the same rank and group from the left, as pcap-filter(7) says.
    fn chain(&mut self, mut part: impl FnMut(&mut Self) -> Result<Node, FilterError>) -> Result<Node, FilterError> {
        let mut left = part(self)?;
        loop {
            if self.accept(&["and", "&&"]) {
                left = Node::And(Box::new(left), Box::new(part(self)?));
            } else if self.accept(&["or", "||"]) {
                left = Node::Or(Box::new(left), Box::new(part(self)?));
            } else {
                return Ok(left);
            }
        }
    }

    fn term(&mut self) -> Result<Node, FilterError> {
        if self.accept(&["not", "!"]) {
            self.nested(|parser| Ok(Node::Not(Box::new(parser.term()?))))
        } else if self.accept(&["("]) {
            self.nested(|parser| {
                let inner = parser.expression()?;
                parser.close(inner)
            })
        } else {
            self.primitive()
        }
    }

    fn nested(&mut self, inside: impl FnOnce(&mut Self) -> Result<Node, FilterError>) -> Result<Node, FilterError> {
        if self.depth >= DEPTH_MAX {
            return Err(self.error(format!("more than {DEPTH_MAX} parentheses and negations inside each other")));
        }
        self.depth += 1;
        let node = inside(self)?;
        self.depth -= 1;
        Ok(node)
    }

    fn close(&mut self, inner: Node) -> Result<Node, FilterError> {
        if self.accept(&[")"]) { Ok(inner) } else { Err(self.expected("'and', 'or' or ')'")) }
    }

    fn primitive(&mut self) -> Result<Node, FilterError> {
        let family = self.family();
        if family.is_some() && self.accept(&["proto"]) {
            return Ok(and(family_node(family.unwrap_or(Family::Any)), self.protocol()?));
        }
        if family.is_none() && self.accept(&["proto"]) {
            return self.protocol();
        }
        let ends = self.ends();
        let subject = self.subject();
        if let (Some(family), None, None) = (family, ends, subject) {
            return family_node(family).ok_or_else(|| self.expected("a protocol"));
        }
        let qualifiers = match (family, ends, subject, self.latest) {
            // A bare value repeats the words before it; the first one is a host.
            (None, None, None, Some(latest)) => latest,
            _ => Qualifiers {
                family: family.unwrap_or(Family::Any),
                ends: ends.unwrap_or(Ends::Either),
                subject: subject.unwrap_or(Subject::Host),
            },
        };
        let value = self.values(qualifiers)?;
        self.latest = Some(qualifiers);
        Ok(and(family_node(qualifiers.family), value))
    }

    /// A value, or several in parentheses, as in `port (22 or 80)` and `host not 10.0.0.1`.
    fn values(&mut self, qualifiers: Qualifiers) -> Result<Node, FilterError> {
        if self.accept(&["not", "!"]) {
            return self.nested(|parser| Ok(Node::Not(Box::new(parser.values(qualifiers)?))));
        }
        if self.accept(&["("]) {
            return self.nested(|parser| {
                let inner = parser.chain(|parser| parser.values(qualifiers))?;
                parser.close(inner)
            });
        }
        self.value(qualifiers)
    }

    fn family(&mut self) -> Option<Family> {
        let family = match self.peek_text() {
            "tcp" => Family::Proto(Proto::Tcp),
            "udp" => Family::Proto(Proto::Udp),
            "ip" => Family::Four,
            "ip6" => Family::Six,
            _ => return None,
        };
        self.next += 1;
        Some(family)
    }

    fn ends(&mut self) -> Option<Ends> {
        let words: Vec<&str> = self.tokens[self.next..].iter().take(3).map(|token| token.text).collect();
        let (ends, count) = match words[..] {
            ["src", "or" | "||", "dst"] | ["dst", "or" | "||", "src"] => (Ends::Either, 3),
            ["src", "and" | "&&", "dst"] | ["dst", "and" | "&&", "src"] => (Ends::Both, 3),
            ["src", ..] => (Ends::Src, 1),
            ["dst", ..] => (Ends::Dst, 1),
            _ => return None,
        };
        self.next += count;
        Some(ends)
    }

    fn subject(&mut self) -> Option<Subject> {
        let subject = match self.peek_text() {
            "host" => Subject::Host,
            "net" => Subject::Net,
            "port" => Subject::Port,
            "portrange" => Subject::PortRange,
            _ => return None,
        };
        self.next += 1;
        Some(subject)
    }

    fn protocol(&mut self) -> Result<Node, FilterError> {
        let proto = match self.peek_text().trim_start_matches('\\') {
            "tcp" | "6" => Proto::Tcp,
            "udp" | "17" => Proto::Udp,
            _ => return Err(self.expected("tcp or udp; other protocols have no flows here")),
        };
        self.next += 1;
        Ok(Node::Proto(proto))
    }

    fn value(&mut self, qualifiers: Qualifiers) -> Result<Node, FilterError> {
        let text = self.peek_text();
        let ends = qualifiers.ends;
        let node = match qualifiers.subject {
            Subject::Host => Node::Host(ends, self.host(text)?),
            Subject::Net => Node::Net(ends, self.net(text)?),
            Subject::Port => {
                let port = port(text).ok_or_else(|| self.expected("a port: a number up to 65535 or a name such as ssh"))?;
                Node::Ports(ends, port, port)
            }
            Subject::PortRange => {
                let (low, high) = range(text).ok_or_else(|| self.expected("a range of ports such as 8000-8080"))?;
                Node::Ports(ends, low, high)
            }
        };
        self.next += 1;
        let six = match &node {
            Node::Host(_, addr) => Some(addr.is_v6()),
            Node::Net(_, net) => Some(net.six),
            _ => None,
        };
        match (qualifiers.family, six) {
            (Family::Four, Some(true)) | (Family::Six, Some(false)) => {
                self.next -= 1;
                Err(self.expected(if six == Some(true) { "an IPv4 address after 'ip'" } else { "an IPv6 address after 'ip6'" }))
            }
            _ => Ok(node),
        }
    }

    fn host(&self, text: &str) -> Result<Addr, FilterError> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Addr::from(ip));
        }
        if text.contains('/') {
            return Err(self.error(format!("'{text}' is a network; write 'net {text}'")));
        }
        if matches!(text, "icmp" | "icmp6" | "arp" | "rarp" | "ether" | "vlan" | "sctp" | "greater" | "less" | "broadcast" | "multicast") {
            return Err(self.error(format!("'{text}' is not known here: only tcp, udp, ip, ip6, host, net, port and portrange are")));
        }
        if text.is_empty() {
            return Err(self.expected("an address, or one of tcp, udp, ip, ip6, host, net, port, portrange, src, dst"));
        }
        Err(self.error(format!("'{text}' is not an address (names are not looked up) and no filter word that can stand here")))
    }

    fn net(&mut self, text: &str) -> Result<Net, FilterError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let (ip, natural) = network(address).ok_or_else(|| self.expected("a network such as 10.0.0.0/8, 10.0 or 2001:db8::/32"))?;
        let six = ip.is_ipv6();
        let width = if six { 128 } else { 32 };
        let mut mask = Net::mask_of(six, natural);
        if let Some(length) = length {
            let length = length.parse::<u32>().ok().filter(|length| *length <= width);
            let length = length.ok_or_else(|| self.error(format!("the length of a prefix in '{text}' must be a number up to {width}")))?;
            mask = Net::mask_of(six, length);
        } else if self.tokens.get(self.next + 1).is_some_and(|token| token.text == "mask") {
            self.next += 2;
            let four = self.peek_text().parse::<Ipv4Addr>().ok().filter(|_| !six);
            mask = number(IpAddr::V4(four.ok_or_else(|| self.expected("an IPv4 mask such as 255.255.0.0"))?));
        }
        let bits = number(ip);
        if bits & !mask != 0 {
            let inside =
                if six { IpAddr::V6(Ipv6Addr::from_bits(bits & mask)) } else { IpAddr::V4(Ipv4Addr::from_bits((bits & mask) as u32)) };
            return Err(self.error(format!("'{address}' has bits set outside its mask; the network is {inside}")));
        }
        Ok(Net { six, bits, mask })
    }
}

fn family_node(family: Family) -> Option<Node> {
    match family {
        Family::Any => None,
        Family::Proto(proto) => Some(Node::Proto(proto)),
        Family::Four => Some(Node::Family { six: false }),
        Family::Six => Some(Node::Family { six: true }),
    }
}

fn and(left: Option<Node>, right: Node) -> Node {
    match left {
        Some(left) => Node::And(Box::new(left), Box::new(right)),
        None => right,
    }
}
