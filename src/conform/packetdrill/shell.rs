//! The few shell commands that conntrack's packetdrill scripts consist of: sysctl, iptables, conntrack, and pipes into grep.
//!
//! They are understood, not run: this module knows no processes. A command that is not understood is an error.

use crate::time::Duration;
use regex_lite::Regex;

/// One stage of a pipe as words, quotes taken off.
type Words = Vec<String>;

/// A command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Command {
    /// Sets a sysctl.
    Sysctl(String, String),
    /// Adds a rule behind the others of its chain.
    Append(Rule),
    /// Puts a rule before the others of its chain.
    Insert(Rule),
    /// Deletes the first such rule.
    Delete(Rule),
    /// Deletes the rules of a chain, or of all.
    FlushRules(Option<String>),
    /// Sets the counters of a chain's rules, or of all, to zero.
    ZeroRules(Option<String>),
    /// What becomes of packets that no rule decides about.
    Policy(String, Target),
    /// Prints something and greps: it must hold.
    Assert(Assertion),
    /// Forgets every entry.
    Flush,
    /// Lets time pass.
    Sleep(Duration),
    /// Nothing that a tracker would notice.
    Nothing,
}

/// What a rule does with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Accept,
    Drop,
}

/// An iptables rule, as far as such scripts have them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rule {
    /// `INPUT` or `OUTPUT`.
    pub(super) chain: String,
    /// What follows the chain, for printing.
    pub(super) spec: String,
    /// The states that match; empty: all.
    pub(super) states: Vec<String>,
    /// Which flags are looked at, and which of them must be set.
    pub(super) flags: Option<(u8, u8)>,
    /// The source and destination ports that match.
    pub(super) ports: [Option<u16>; 2],
    /// What it does; nothing: it only counts.
    pub(super) target: Option<Target>,
}

/// Something that is printed, and what must be left of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Assertion {
    pub(super) listing: Listing,
    greps: Vec<Grep>,
    /// Whether nothing must be left.
    negated: bool,
}

/// What is printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Listing {
    /// A chain's rules with their counters.
    Rules(String),
    /// The table.
    Entries(Filter),
}

impl Assertion {
    /// Whether it holds of what was printed.
    ///
    /// # Errors
    /// A pattern that is not understood.
    pub(super) fn holds(&self, printed: &str) -> Result<bool, String> {
        let mut lines: Vec<&str> = printed.lines().collect();
        for grep in &self.greps {
            lines = grep.pass(lines)?;
        }
        Ok(lines.is_empty() == self.negated)
    }
}

/// Which entries `conntrack -L` prints.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Filter {
    pub(super) sport: Option<u16>,
    pub(super) dport: Option<u16>,
}

/// One grep of a pipe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Grep {
    pattern: String,
    inverted: bool,
    extended: bool,
}

impl Grep {
    /// The lines that pass.
    fn pass<'t>(&self, lines: Vec<&'t str>) -> Result<Vec<&'t str>, String> {
        let pattern = if self.extended { self.pattern.clone() } else { from_basic(&self.pattern) };
        let regex = Regex::new(&pattern).map_err(|_| format!("grep's pattern '{}' is not understood", self.pattern))?;
        Ok(lines.into_iter().filter(|line| regex.is_match(line) != self.inverted).collect())
    }
}

/// A basic regular expression as an extended one: what is special in one is plain in the other, and the other way round.
fn from_basic(pattern: &str) -> String {
    let mut out = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('+' | '?' | '|' | '(' | ')' | '{' | '}')) => out.push(c),
                Some(c) if c.is_ascii_alphanumeric() || c == ' ' => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => {}
            },
            '+' | '?' | '|' | '(' | ')' | '{' | '}' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// The words of a command line, stage by stage; quotes and backslashes as a shell has them, redirections left out.
fn stages(line: &str) -> Vec<Words> {
    let mut stages = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    let end = |word: &mut Option<String>, stages: &mut Vec<Words>| {
        if let (Some(done), Some(stage)) = (word.take(), stages.last_mut())
            && !done.contains('>')
        {
            stage.push(done);
        }
    };
    while let Some(c) = chars.next() {
        match c {
            quote @ ('"' | '\'') => {
                let word = word.get_or_insert_default();
                for c in chars.by_ref().take_while(|c| *c != quote) {
                    word.push(c);
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            '|' => {
                end(&mut word, &mut stages);
                stages.push(Vec::new());
            }
            c if c.is_whitespace() => end(&mut word, &mut stages),
            c => word.get_or_insert_default().push(c),
        }
    }
    end(&mut word, &mut stages);
    stages
}

/// Understands a command line (a blank at its end may be quoted by a backslash), which may be several commands.
///
/// # Errors
/// What is not understood.
pub(super) fn read(text: &str) -> Result<Vec<Command>, String> {
    let lines = text.split(['\n', ';']).flat_map(|line| line.split("&&")).map(str::trim_start);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(one).collect()
}

fn one(line: &str) -> Result<Command, String> {
    let plain = line.strip_prefix("! ");
    let command = plain_command(plain.unwrap_or(line))?;
    match (plain, command) {
        (Some(_), Command::Assert(assertion)) => Ok(Command::Assert(Assertion { negated: true, ..assertion })),
        (Some(_), _) => Err("'!' is understood before a listing only".to_owned()),
        (None, command) => Ok(command),
    }
}

fn plain_command(line: &str) -> Result<Command, String> {
    let mut stages = stages(line).into_iter();
    let words = stages.next().unwrap_or_default();
    let greps: Vec<Grep> = stages.map(|words| grep(&words)).collect::<Result<_, _>>()?;
    let Some((program, arguments)) = words.split_first() else { return Ok(Command::Nothing) };
    let name = program.rsplit('/').next().unwrap_or(program);
    match name {
        "sysctl" => sysctl(arguments),
        "conntrack" => conntrack(arguments, greps),
        "sleep" => arguments
            .first()
            .and_then(|word| word.parse::<f64>().ok())
            .map(|seconds| Command::Sleep(Duration::from_secs_f64(seconds)))
            .ok_or_else(|| "sleep: expected seconds".to_owned()),
        "$xtables" | "iptables" | "ip6tables" | "iptables-legacy" | "ip6tables-legacy" | "iptables-nft" | "ip6tables-nft" => {
            iptables(arguments, greps)
        }
        // Preludes set up devices and buffers of the host under test.
        "ip" | "tc" | "modprobe" | "ethtool" | "echo" | "true" | "ifconfig" => Ok(Command::Nothing),
        _ if name.rsplit('.').next() == Some("sh") => Ok(Command::Nothing),
        _ => Err(format!("the command '{name}' is not understood: expected sysctl, iptables, conntrack, sleep")),
    }
}

fn grep(words: &Words) -> Result<Grep, String> {
    let mut grep = Grep { pattern: String::new(), inverted: false, extended: false };
    let mut words = words.iter();
    match words.next().map(String::as_str) {
        Some("grep") => {}
        Some("egrep") => grep.extended = true,
        other => return Err(format!("a pipe into '{}' is not understood: expected grep", other.unwrap_or(""))),
    }
    let mut options = true;
    let mut pattern = None;
    for word in words {
        match word.strip_prefix('-').filter(|_| options) {
            Some("-" | "e") => options = false,
            Some(letters) => {
                for letter in letters.chars() {
                    match letter {
                        'q' | 's' => {}
                        'v' => grep.inverted = true,
                        'E' => grep.extended = true,
                        other => return Err(format!("grep -{other} is not understood")),
                    }
                }
            }
            None => pattern = Some(word.clone()),
        }
    }
    grep.pattern = pattern.ok_or("grep has no pattern")?;
    Ok(grep)
}

fn sysctl(arguments: &[String]) -> Result<Command, String> {
    let setting = arguments.iter().find(|word| !word.starts_with('-')).ok_or("sysctl: expected NAME=VALUE")?;
    let (name, value) = setting.split_once('=').ok_or_else(|| format!("sysctl {setting}: expected NAME=VALUE"))?;
    Ok(Command::Sysctl(name.trim().to_owned(), value.trim().to_owned()))
}

fn conntrack(arguments: &[String], greps: Vec<Grep>) -> Result<Command, String> {
    let mut filter = Filter::default();
    let mut words = arguments.iter().map(String::as_str);
    let mut lists = false;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("conntrack {word} has no value"));
        match word {
            "-L" | "--dump" => lists = true,
            "-F" | "--flush" => return Ok(Command::Flush),
            // There is one family and one protocol.
            "-f" | "--family" | "-p" | "--proto" => {
                value()?;
            }
            "--dport" | "--orig-port-dst" => filter.dport = Some(value()?.parse().map_err(|_| "conntrack --dport: expected a port")?),
            "--sport" | "--orig-port-src" => filter.sport = Some(value()?.parse().map_err(|_| "conntrack --sport: expected a port")?),
            other => return Err(format!("conntrack {other} is not understood: expected -L, -F, -p, -f, --dport, --sport")),
        }
    }
    let assertion = Assertion { listing: Listing::Entries(filter), greps, negated: false };
    if lists { Ok(Command::Assert(assertion)) } else { Err("conntrack: expected -L or -F".to_owned()) }
}

fn iptables(arguments: &[String], greps: Vec<Grep>) -> Result<Command, String> {
    let mut words = arguments.iter().map(String::as_str).filter(|word| *word != "-w").peekable();
    let mut verbose = false;
    while words.peek() == Some(&"-v") {
        words.next();
        verbose = true;
    }
    let action = words.next().unwrap_or_default();
    let chain = words.next().map(str::to_owned);
    match action {
        "-F" => return Ok(Command::FlushRules(chain)),
        "-Z" => return Ok(Command::ZeroRules(chain)),
        _ => {}
    }
    let chain = chain.ok_or("iptables: expected a chain")?;
    let rest: Vec<&str> = words.collect();
    match action {
        "-S" if verbose => return Ok(Command::Assert(Assertion { listing: Listing::Rules(chain), greps, negated: false })),
        "-P" => return Ok(Command::Policy(chain, target(rest.first().copied().unwrap_or_default())?)),
        "-A" | "-I" | "-D" => {}
        other => return Err(format!("iptables {other} is not understood: expected -A, -I, -D, -F, -Z, -P or -v -S")),
    }
    let mut rule = Rule { chain, spec: rest.join(" "), states: Vec::new(), flags: None, ports: [None; 2], target: None };
    let mut words = rest.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("iptables {word} has no value"));
        let port = |text: &str| text.parse().map(Some).map_err(|_| format!("iptables {word}: '{text}' is no port"));
        match word {
            "-p" | "-m" => {
                value()?;
            }
            "--ctstate" | "--state" => rule.states = value()?.split(',').map(str::to_ascii_lowercase).collect(),
            "--syn" => rule.flags = Some((0x17, 0x02)),
            "--tcp-flags" => rule.flags = Some((flag_set(value()?)?, flag_set(value()?)?)),
            "--sport" => rule.ports[0] = port(value()?)?,
            "--dport" => rule.ports[1] = port(value()?)?,
            "-j" => rule.target = Some(target(value()?)?),
            other => return Err(format!("iptables {other} is not understood")),
        }
    }
    Ok(match action {
        "-D" => Command::Delete(rule),
        "-I" => Command::Insert(rule),
        _ => Command::Append(rule),
    })
}

fn target(word: &str) -> Result<Target, String> {
    match word {
        "DROP" => Ok(Target::Drop),
        "ACCEPT" => Ok(Target::Accept),
        other => Err(format!("iptables -j {other} is not understood: expected DROP or ACCEPT")),
    }
}

/// `SYN,ACK` as bits.
fn flag_set(text: &str) -> Result<u8, String> {
    text.split(',').try_fold(0, |bits, name| {
        let bit = match name {
            "FIN" => 0x01,
            "SYN" => 0x02,
            "RST" => 0x04,
            "PSH" => 0x08,
            "ACK" => 0x10,
            "URG" => 0x20,
            "ALL" => 0x3f,
            "NONE" => 0,
            other => return Err(format!("'{other}' is no TCP flag of iptables")),
        };
        Ok(bits | bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Command {
        let mut commands = read(text).expect("understood");
        assert_eq!(commands.len(), 1, "{text}");
        commands.remove(0)
    }

    fn assertion(text: &str) -> Assertion {
        let Command::Assert(assertion) = only(text) else { panic!("{text} is an assertion") };
        assertion
    }

    #[test]
    fn pipes_are_understood() {
        let closed = "conntrack -f $NFCT_IP_VERSION -L -p tcp --dport 8080 2>/dev/null |grep UNREPLIED | grep -q CLOSE\\ ";
        let listed = assertion(closed);
        assert_eq!(listed.listing, Listing::Entries(Filter { sport: None, dport: Some(8080) }));
        let holds = |assertion: &Assertion, printed: &str| assertion.holds(printed).expect("patterns");
        assert!(holds(&listed, "tcp 6 9 CLOSE src=x [UNREPLIED]\nother"));
        assert!(!holds(&listed, "tcp 6 9 CLOSE_WAIT src=x [UNREPLIED]"));
        assert!(holds(&assertion(&format!("! {closed}")), "tcp 6 9 CLOSE_WAIT src=x [UNREPLIED]"));
        let counted = assertion("$xtables -v -S INPUT | grep INVALID | grep -q -- \"-c 4 \"");
        assert_eq!(counted.listing, Listing::Rules("INPUT".to_owned()));
        assert!(holds(&counted, "-A INPUT --ctstate INVALID -c 4 160 -j DROP"));
        assert!(!holds(&counted, "-A INPUT --ctstate INVALID -c 44 160 -j DROP"));
    }

    #[test]
    fn rules_and_settings_are_understood() {
        let Command::Append(rule) =
            only("iptables -A INPUT -m conntrack --ctstate INVALID -p tcp --dport 8080 --tcp-flags SYN,ACK SYN,ACK")
        else {
            panic!("a rule")
        };
        assert_eq!((rule.states, rule.flags), (vec!["invalid".to_owned()], Some((0x12, 0x12))));
        assert_eq!((rule.ports, rule.target), ([None, Some(8080)], None));
        assert_eq!(only("iptables -P INPUT DROP"), Command::Policy("INPUT".to_owned(), Target::Drop));
        assert_eq!(only("iptables -F"), Command::FlushRules(None));
        assert_eq!(only("sysctl -q net.a.b=1"), Command::Sysctl("net.a.b".to_owned(), "1".to_owned()));
        assert_eq!(read("sleep 0.5; conntrack -F").expect("two")[0], Command::Sleep(Duration::from_millis(500)));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (text, message) in [
            ("rm -rf x", "the command 'rm' is not understood: expected sysctl, iptables, conntrack, sleep"),
            ("conntrack -E", "conntrack -E is not understood: expected -L, -F, -p, -f, --dport, --sport"),
            ("conntrack -L | wc -l", "a pipe into 'wc' is not understood: expected grep"),
            ("! sleep 1", "'!' is understood before a listing only"),
            ("iptables -A INPUT -j LOG", "iptables -j LOG is not understood: expected DROP or ACCEPT"),
        ] {
            assert_eq!(read(text).expect_err(text), message);
        }
    }

    #[test]
    fn basic_expressions_keep_their_meaning() {
        assert_eq!(from_basic(r"a+(b\)\ c\.d"), r"a\+\(b) c\.d");
    }
}
