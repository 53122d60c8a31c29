//! The `ct timeout` object of nft, over one line or several: `ct timeout NAME { protocol tcp; policy = { established : 120 } }`.
//!
//! Source: nft(8) and nft's grammar, 0.9 to 1.1; values are bare seconds, from 1.0.9 on also spans (`2m`). A timer that is not named
//! gets nft's own default, which is the kernel's, whatever the sysctls say (`ct_timeout_evaluate`). Nothing here knows rules.

use super::{TimeoutPolicy, policy_setting, policy_timers};

/// A word or a sign, and how many lines below the first it stands.
type Token<'a> = (&'a str, usize);

/// What was read and how many lines it took, or in which line after the first what is wrong.
pub(crate) type Found = Result<(TimeoutPolicy, usize), (usize, String)>;

/// Reads the object that begins in the first of these lines; nothing where none begins there.
pub(crate) fn definition(lines: &[&str]) -> Option<Found> {
    let first = lines.first()?;
    let start = first.find("ct timeout ")?;
    if first.trim_start().starts_with(['#', ';'])
        || first[..start].ends_with(|letter: char| !letter.is_whitespace() && !matches!(letter, '{' | ';' | '\'' | '"'))
    {
        return None;
    }
    let tokens = tokens(lines, start);
    let open = tokens.iter().position(|(word, _)| *word == "{")?;
    let name = tokens.get(2..open)?.last()?.0;
    // A rule attaches an object: `ct timeout set "name"`.
    if tokens[2].0 == "set" || tokens[..open].iter().any(|(word, _)| is_sign(word)) {
        return None;
    }
    Some(object(name, &tokens, open))
}

fn is_sign(word: &str) -> bool {
    matches!(word, "{" | "}" | ":" | "," | ";" | "=")
}

/// The words and signs from a place of the first line to the brace that closes the first one, or to the end.
fn tokens<'a>(lines: &[&'a str], start: usize) -> Vec<Token<'a>> {
    let mut out = Vec::new();
    let mut depth = 0_usize;
    for (at, line) in lines.iter().enumerate() {
        let line = line.get(if at == 0 { start } else { 0 }..).unwrap_or_default();
        let line = without_comments(line);
        // What a shell needs before a semicolon or a brace says nothing to nft.
        let pieces =
            line.into_iter().flat_map(|part| part.split(|letter: char| letter.is_whitespace() || matches!(letter, '\\' | '\'' | '"')));
        for piece in pieces {
            let mut rest = piece;
            while let Some(letter) = rest.chars().next() {
                let length =
                    if is_sign(&rest[..letter.len_utf8()]) { 1 } else { rest.find(|c: char| "{}:,;=".contains(c)).unwrap_or(rest.len()) };
                let (word, after) = rest.split_at(length);
                rest = after;
                out.push((word, at));
                match word {
                    "{" => depth += 1,
                    "}" if depth <= 1 => return out,
                    "}" => depth -= 1,
                    _ => {}
                }
            }
        }
        // A name without a brace on its line or the next is no object.
        if depth == 0 && at > 0 {
            break;
        }
    }
    out
}

/// What a line says to nft: before and after a `comment "…"`, and without what follows a `#`.
fn without_comments(line: &str) -> [&str; 2] {
    let before_hash = |text: &'_ str| text.find('#').unwrap_or(text.len());
    let (head, rest) = line.split_once("comment \"").filter(|(head, _)| !head.contains('#')).unwrap_or((line, ""));
    let tail = rest.split_once('"').map_or("", |(_, tail)| tail);
    [&head[..before_hash(head)], &tail[..before_hash(tail)]]
}

fn object(name: &str, tokens: &[Token<'_>], open: usize) -> Found {
    let last = tokens.last().map_or(0, |(_, at)| *at);
    let mut protocol = None;
    let mut pairs: Vec<(Token<'_>, Token<'_>)> = Vec::new();
    let mut rest = &tokens[open + 1..];
    loop {
        rest = match rest {
            [("}", _), ..] => break,
            [(";", _), after @ ..] | [("l3proto", _), _, after @ ..] => after,
            [("protocol", _), (word, _), after @ ..] => {
                protocol = Some(*word);
                after
            }
            [("policy", _), ("=", _), ("{", _), after @ ..] => timers(after, &mut pairs)?,
            [] => return Err((0, format!("the timeout policy '{name}' has no end: its last '}}' is missing"))),
            [(word, at), ..] => {
                let message =
                    format!("'{word}' has no place in the timeout policy '{name}'; it has protocol, l3proto and policy = {{ … }}");
                return Err((*at, message));
            }
        };
    }
    let protocol = protocol.ok_or_else(|| (0, format!("the timeout policy '{name}' needs its protocol, as in 'protocol tcp;'")))?;
    let (protocol, known) = policy_timers(protocol).map_err(|message| (0, message))?;
    let mut settings = Vec::new();
    for ((timer, at), (value, _)) in pairs {
        let setting = policy_setting(known, timer).map_err(|message| (at, message))?;
        settings.push((setting, value.to_owned(), at));
    }
    Ok((TimeoutPolicy { name: name.to_owned(), tool: "nft", protocol, timers: settings, fills: true }, last + 1))
}

/// Reads `name : value, …` up to the brace that closes the list, and says what comes after it.
fn timers<'t, 'a>(mut rest: &'t [Token<'a>], pairs: &mut Vec<(Token<'a>, Token<'a>)>) -> Result<&'t [Token<'a>], (usize, String)> {
    loop {
        rest = match rest {
            [("}", _), after @ ..] => return Ok(after),
            [(",", _), after @ ..] => after,
            [timer, (":", _), value, after @ ..] if !is_sign(timer.0) && !is_sign(value.0) => {
                pairs.push((*timer, *value));
                after
            }
            [(word, at), ..] => {
                return Err((*at, format!("near '{word}': timers are written as in 'policy = {{ established : 3600, close : 20 }}'")));
            }
            [] => return Ok(rest),
        };
    }
}
