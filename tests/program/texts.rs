//! Help, man pages, completions and the version: what is in them, and how wide they are.

use super::{commands, flowlapse, scratch, with};
use std::process::Command;

/// The long options that a command's help shows.
fn long_options(help: &str) -> Vec<&str> {
    let rows = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = rows.flat_map(|line| line.split([' ', ',']).take(3)).filter(|word| word.starts_with("--"));
    words.map(|word| word.split(['=', '[']).next().unwrap_or(word)).collect()
}

#[test]
fn every_command_has_help_in_80_columns_with_examples() {
    let all = commands();
    assert!(all.len() >= 15 && all.iter().any(|name| name == "replay"), "{all:?}");
    let whole = flowlapse(&["--help"]);
    for words in ["Examples:", "Exit codes:", "130", "Look at captures:", "docs/"] {
        assert!(whole.out.contains(words), "{words}");
    }
    assert!(!whole.out.contains("\nMore:"), "a command is in no group: {}", whole.out);
    let mut texts = vec![("flowlapse".to_owned(), whole.out)];
    for name in &all {
        let (long, short) = (flowlapse(&[name, "--help"]), flowlapse(&[name, "-h"]));
        assert_eq!((long.code, short.code, long.err.as_str(), short.err.as_str()), (0, 0, "", ""), "{name}");
        for words in ["Examples:", "Exit codes:", "Every command:", "--quiet", "--threads", "--color"] {
            assert!(long.out.contains(words), "{name}: {words}");
        }
        assert!(long.out.contains(&format!("flowlapse {name}")), "{name} has no example of itself");
        assert!(short.out.contains("--help") && !short.out.contains("Examples:"), "{name}");
        assert!(short.out.lines().count() < long.out.lines().count(), "{name}");
        assert_eq!(flowlapse(&["help", name]).out, long.out, "{name}");
        texts.push((name.clone(), long.out));
        texts.push((name.clone(), short.out));
    }
    for (name, text) in texts {
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
            assert!(!line.contains('\u{1b}'), "{name}: {line}");
        }
    }
    // Wider where nothing is known of a terminal is not wider than that; narrower is.
    assert!(with("COLUMNS", "200", &["replay", "--help"]).out.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn examples_that_are_too_long_go_on_behind_a_backslash() {
    let help = flowlapse(&["replay", "--help"]).out;
    assert!(help.contains(" \\\n      --box "), "{help}");
}

#[test]
fn there_is_a_man_page_for_every_command_with_every_option() {
    let folder = scratch("man-pages");
    let ran = flowlapse(&["man", "--out", folder.to_str().expect("text"), "--quiet"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    let page = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a page");
    let main = page("flowlapse.1");
    assert_eq!(flowlapse(&["man"]).out, main);
    for name in commands() {
        let text = page(&format!("flowlapse-{name}.1"));
        assert_eq!(flowlapse(&["man", &name]).out, text);
        let plain = text.replace("\\-", "-");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "\"EXIT STATUS\"", "ENVIRONMENT", "\"SEE ALSO\""] {
            let bare = section.trim_matches('"');
            assert!(plain.contains(&format!("\n.SH {section}\n")) || plain.contains(&format!("\n.SH {bare}\n")), "{name}: {section}");
        }
        let help = flowlapse(&[&name, "--help"]).out;
        let options = long_options(&help);
        assert!(options.len() >= 4, "{name}: {options:?}");
        for option in options {
            assert!(plain.contains(option), "{name}: {option}");
        }
        assert!(main.replace("\\-", "-").contains(&format!("flowlapse-{name}")), "{name}");
    }
}

#[test]
fn completions_know_commands_options_and_boxes() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = flowlapse(&["completions", shell]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{shell}");
        for name in commands() {
            assert!(ran.out.contains(&name), "{shell}: {name}");
        }
        for word in ["fail-on", "quiet"] {
            assert!(ran.out.contains(word), "{shell}: {word}");
        }
    }
    // Which values an option has, three of the shells can be told.
    for shell in ["bash", "zsh", "fish"] {
        let script = flowlapse(&["completions", shell]).out;
        for word in ["aws-nlb", "marginal", "keepalive-too-late", "survival="] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn bash_completes_with_them() {
    let folder = scratch("completions");
    let file = folder.join("flowlapse.bash");
    std::fs::write(&file, flowlapse(&["completions", "bash"]).out).expect("writable");
    let script = r#"
        . "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _flowlapse_open flowlapse "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let complete = |words: &[&str]| {
        let output = Command::new("bash").args(["-c", script, "bash"]).arg(&file).args(words).output().ok()?;
        Some(String::from_utf8(output.stdout).expect("text").lines().map(ToOwned::to_owned).collect::<Vec<_>>())
    };
    // Without a bash there is nothing to complete for.
    let Some(found) = complete(&["flowlapse", "repl"]) else { return };
    assert_eq!(found, ["replay"]);
    for (words, wanted) in [
        (&["flowlapse", "replay", "--fail"][..], "--fail-on"),
        (&["flowlapse", "replay", "x.pcap", "--box", "aws-n"], "aws-nlb"),
        (&["flowlapse", "replay", "x.pcap", "--fail-on", "cu"], "cut"),
        (&["flowlapse", "audit", "--fail-on", "keepalive-too"], "keepalive-too-late"),
        (&["flowlapse", "sweep", "x.pcap", "--draw", "m"], "map="),
        (&["flowlapse", "replay", "--color", "al"], "always"),
    ] {
        let found = complete(words).expect("bash is there");
        assert!(found.iter().any(|word| word == wanted), "{words:?}: {found:?}");
    }
}

#[test]
fn the_version_is_short_or_long() {
    let number = format!("flowlapse {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(flowlapse(&["-V"]).out, number);
    let long = flowlapse(&["--version"]).out;
    assert!(long.starts_with(&number), "{long}");
    for words in ["conntrack:\n", "linux-2.4", "longterm-6.18.44", "IPVS:\n", "presets: 53"] {
        assert!(long.contains(words), "{words}");
    }
}
