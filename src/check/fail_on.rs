//! What makes a run fail: the words of `--fail-on`.

use crate::finding::Verdict;
use crate::policy::hint::nearest;
use crate::study::audit::rule::Severity;

/// What fails where nothing else is said: what was promised and is not kept, and every session that is lost and was not before.
pub const DEFAULT: [&str; 5] = ["expect", "new-cut", "new-evicted", "new-refused", "new-lint"];

/// One word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    Verdict(Verdict),
    NewVerdict(Verdict),
    Expect,
    Lint(Severity),
    NewLint(Severity),
    Gone,
    Changed,
}

/// What makes a run fail.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FailOn {
    words: Vec<Word>,
    /// The same as it was said.
    pub said: Vec<String>,
}

/// What is only worth knowing does not fail.
const LINT: [(&str, Severity); 3] = [("lint", Severity::Error), ("lint-error", Severity::Error), ("lint-warning", Severity::Warning)];

fn word(text: &str) -> Option<Word> {
    let new = text.strip_prefix("new-");
    let plain = new.unwrap_or(text);
    if let Some(verdict) = Verdict::from_name(plain) {
        return Some(if new.is_some() { Word::NewVerdict(verdict) } else { Word::Verdict(verdict) });
    }
    if let Some((_, severity)) = LINT.iter().find(|(name, _)| *name == plain) {
        return Some(if new.is_some() { Word::NewLint(*severity) } else { Word::Lint(*severity) });
    }
    match text {
        "expect" => Some(Word::Expect),
        "gone" => Some(Word::Gone),
        "changed" => Some(Word::Changed),
        _ => None,
    }
}

/// Every word.
fn known() -> Vec<String> {
    let plain: Vec<&str> = Verdict::ALL.iter().map(|verdict| verdict.name()).chain(LINT.iter().map(|(name, _)| *name)).collect();
    let new = plain.iter().map(|name| format!("new-{name}"));
    let rest = ["expect", "gone", "changed", "none"].map(str::to_owned);
    plain.iter().map(|name| (*name).to_owned()).chain(new).chain(rest).collect()
}

impl FailOn {
    /// Reads the words; none for [`DEFAULT`].
    ///
    /// # Errors
    /// A word that is none, with the nearest one.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<FailOn, String> {
        let mut said: Vec<&str> = words.iter().map(|word| word.as_ref().trim()).collect();
        if said.is_empty() {
            said = DEFAULT.to_vec();
        }
        let mut fail_on = FailOn::default();
        for text in said {
            if text == "none" {
                if words.len() > 1 {
                    return Err("--fail-on: 'none' stands alone".to_owned());
                }
            } else {
                fail_on.words.push(word(text).ok_or_else(|| {
                    let known = known();
                    match nearest(text, known.iter().map(String::as_str)) {
                        Some(meant) => format!("--fail-on: there is no word '{text}'; did you mean '{meant}'?"),
                        None => format!("--fail-on: there is no word '{text}'; there are {}", known.join(", ")),
                    }
                })?);
            }
            fail_on.said.push(text.to_owned());
        }
        Ok(fail_on)
    }

    fn has(&self, word: Word) -> bool {
        self.words.contains(&word)
    }

    /// Whether a verdict fails wherever it is not expected.
    pub fn verdict(&self, verdict: Verdict) -> bool {
        self.has(Word::Verdict(verdict))
    }

    /// Whether a verdict fails that was another one.
    pub fn new_verdict(&self, verdict: Verdict) -> bool {
        self.has(Word::NewVerdict(verdict))
    }

    /// Whether an expectation fails that is not met.
    pub fn expect(&self) -> bool {
        self.has(Word::Expect)
    }

    /// Whether a finding about a policy fails: words are for a severity and for what is worse.
    pub fn lint(&self, severity: Severity, is_new: bool) -> bool {
        self.words.iter().any(|word| match word {
            Word::Lint(least) => severity >= *least,
            Word::NewLint(least) => is_new && severity >= *least,
            _ => false,
        })
    }

    /// Whether every difference from the baseline fails.
    pub fn changed(&self) -> bool {
        self.has(Word::Changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let fail_on = FailOn::parse(&["cut", "new-marginal", "lint-warning"]).expect("words");
        assert!(fail_on.verdict(Verdict::Cut) && !fail_on.verdict(Verdict::Marginal) && fail_on.new_verdict(Verdict::Marginal));
        assert!(fail_on.lint(Severity::Error, false) && fail_on.lint(Severity::Warning, false) && !fail_on.lint(Severity::Info, true));
        let default = FailOn::parse::<&str>(&[]).expect("words");
        assert!(default.expect() && default.new_verdict(Verdict::Cut) && !default.verdict(Verdict::Cut));
        assert!(default.lint(Severity::Error, true) && !default.lint(Severity::Error, false) && !default.lint(Severity::Warning, true));
        assert!(FailOn::parse(&["none"]).is_ok_and(|none| none.words.is_empty()));
        assert!(FailOn::parse(&["none", "cut"]).is_err());
        for (wrong, meant) in [("new-cutt", "'new-cut'?"), ("expct", "'expect'?"), ("banana", "there are cut")] {
            assert!(FailOn::parse(&[wrong]).is_err_and(|error| error.contains(meant)), "{wrong}");
        }
    }
}
