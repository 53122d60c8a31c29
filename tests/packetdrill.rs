//! packetdrill scripts: the project's own agree with the newest longterm conntrack, and each of them can fail.

use flowlapse::conform::{self, Result};
use flowlapse::model::conntrack::dialect::Dialect;
use std::fs;
use std::path::Path;

fn scripts() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packetdrill");
    let mut found: Vec<(String, String)> = fs::read_dir(folder)
        .expect("the folder exists")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read_to_string(&path).expect("text"))
        })
        .collect();
    found.sort();
    found
}

fn named(name: &str) -> String {
    scripts().into_iter().find(|(own, _)| own == name).expect("the script exists").1
}

fn on(dialect: &str, script: &str) -> Result {
    conform::compare_as("script", script, Dialect::find(dialect).expect("a row")).expect("the script is understood")
}

#[test]
fn every_script_agrees_with_the_newest_longterm_kernel() {
    for (name, text) in scripts() {
        let result = conform::compare(&name, &text).expect("the script is understood");
        assert!(result.steps >= 4, "{name}");
        assert_eq!(result.disagree, 0, "{name}: {:?}", result.disagreements);
    }
}

#[test]
fn a_script_tells_releases_apart() {
    // Since 6.2 a RST that answers a challenge ACK in SYN_SENT skips the window test, since 5.1 a RST must match exactly.
    for (script, dialect) in [("reset-must-match.pkt", "linux-4.18"), ("window-edges.pkt", "linux-5.10"), ("timers.pkt", "linux-4.18")] {
        assert!(on(dialect, &named(script)).disagree > 0, "{script} on {dialect}");
    }
}

#[test]
fn a_wrong_assertion_disagrees_and_is_told_with_its_line() {
    let good = named("reset-must-match.pkt");
    for (right, wrong) in
        [("-c 1 40", "-c 2 80"), ("grep -q ESTABLISHED`\n// The next", "grep -q CLOSE_WAIT`\n// The next"), ("6 10 ", "6 300 ")]
    {
        let bad = good.replacen(right, wrong, 1);
        assert_ne!(good, bad);
        let result = on("linux-6.18", &bad);
        assert_eq!(result.disagree, 1, "{wrong}");
        let line = bad.lines().position(|line| line.contains(wrong.lines().next().unwrap_or_default())).expect("it is there") + 1;
        assert_eq!(result.disagreements[0].step, line);
    }
}

#[test]
fn a_packet_that_a_rule_keeps_back_disagrees() {
    // Without window tracking's leniency towards old segments the host would not answer.
    let good = named("window-edges.pkt");
    let strict = good.replacen("+.01 < P. 1:1001(1000) ack 1 win 1000\n+0 > .", "+.01 < P. 90001:91001(1000) ack 1 win 1000\n+0 > .", 1);
    assert_ne!(good, strict);
    let told = on("linux-6.18", &strict).disagreements;
    assert!(
        told.iter().any(|d| d.got.starts_with("no answer: -A INPUT -p tcp -m conntrack --ctstate INVALID -j DROP dropped it")),
        "{told:?}"
    );
}

#[test]
fn what_is_not_understood_is_an_error_with_its_line() {
    for (script, message) in [
        ("+0 > S 0:0(0) win 1\n+0 `reboot`", "line 2: the command 'reboot' is not understood: expected sysctl, iptables, conntrack, sleep"),
        ("+0 > S 0:0(0) win 1\n+0 > S 0:0(0) wim 1", "line 2: 'wim' is not understood in a packet: expected ack, win, urg or <options>"),
    ] {
        let error = conform::compare("s.pkt", script).expect_err("a mistake").to_string();
        assert_eq!(error, format!("s.pkt: {message}"));
    }
}

/// A small generator: the same damage each time.
struct Damage(u64);

impl Damage {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

#[test]
fn damaged_scripts_are_read_or_refused_but_never_end_the_program() {
    let mut damage = Damage(1);
    let (mut read, mut refused) = (0, 0);
    for (_, text) in scripts() {
        for _ in 0..400 {
            let mut bytes = text.clone().into_bytes();
            for _ in 0..=damage.below(4) {
                let at = damage.below(bytes.len());
                match damage.below(3) {
                    0 => bytes[at] = b"0123456789<>`|+.~:()*/ \n-SFRPA\\\"'$"[damage.below(34)],
                    1 => drop(bytes.drain(at..(at + damage.below(30)).min(bytes.len()))),
                    _ => bytes.insert(at, b"9`\n<>("[damage.below(6)]),
                }
            }
            match conform::compare("damaged", &String::from_utf8_lossy(&bytes)) {
                Ok(_) => read += 1,
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().contains('\n') || error.to_string().contains("line "), "{error}");
                }
            }
        }
    }
    assert!(read > 100 && refused > 100, "{read} {refused}");
}
