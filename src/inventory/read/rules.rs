//! What the readers of both packet filters share: chains, who calls whom, and what a rule with these conditions does.

use super::{Line, Reader};
use crate::inventory::{Rule, RuleDoes};
use std::collections::{HashMap, HashSet};

/// What a rule asks of conntrack and of TCP's flags.
#[derive(Clone, Default, Debug)]
pub(super) struct Asks {
    /// The states of `ct state` or `--ctstate`, in lower case; none where it asks for none.
    pub(super) states: Option<Vec<String>>,
    /// Whether the states are those that it must not have.
    pub(super) states_negated: bool,
    /// A SYN alone: wanted, or unwanted.
    pub(super) syn: Option<bool>,
}

/// What a rule does with a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Accept,
    Drop,
    Reject(RuleDoes),
    Other(RuleDoes),
}

impl Asks {
    fn state(&self, name: &str) -> bool {
        !self.states_negated && self.states.as_ref().is_some_and(|states| states.iter().any(|state| state == name))
    }

    /// What matters of a verdict under these conditions.
    pub(super) fn does(&self, verdict: Verdict) -> Vec<RuleDoes> {
        let mut out = Vec::new();
        match verdict {
            // What is not of a known flow is rejected: nothing that depends on one state.
            Verdict::Reject(_) if self.states_negated => {}
            Verdict::Reject(does) | Verdict::Other(does) => out.push(does),
            Verdict::Drop => {
                if self.state("invalid") {
                    out.push(RuleDoes::DropsInvalid);
                }
                if self.state("new") && self.syn == Some(false) {
                    out.push(RuleDoes::DropsNewWithoutSyn);
                }
            }
            Verdict::Accept => {
                if self.state("established") {
                    out.push(RuleDoes::AcceptsEstablished);
                }
                let new = self.state("new") || self.states.is_none();
                match self.syn {
                    Some(true) if new => out.push(RuleDoes::AcceptsNewWithSyn),
                    None if new => out.push(RuleDoes::AcceptsNew),
                    _ => {}
                }
            }
        }
        out
    }
}

/// The chains of one text: which rules they have, and which chains they call.
#[derive(Default)]
pub(super) struct Chains {
    /// Name of the chain, to the hook that it is bound to.
    bases: Vec<(String, String)>,
    calls: Vec<(String, String)>,
    first: Option<usize>,
}

impl Chains {
    /// A chain that packets come to by themselves.
    pub(super) fn base(&mut self, chain: &str, hook: &str) {
        self.bases.push((chain.to_owned(), hook.to_owned()));
    }

    pub(super) fn call(&mut self, from: &str, to: String) {
        self.calls.push((from.to_owned(), to));
    }

    pub(super) fn rule(&mut self, reader: &mut Reader<'_>, line: &Line<'_>, chain: &str, does: RuleDoes, limited_to: &str) {
        self.first.get_or_insert(reader.into.rules.len());
        let at = reader.at(line);
        reader.into.rules.push(Rule { chain: chain.to_owned(), hook: None, does, limited_to: limited_to.to_owned(), at });
    }

    /// Tells each rule the hook of its chain, also where the chain is only called, by chains of one hook.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        let Some(first) = self.first else { return };
        let mut called: HashMap<&str, Vec<&str>> = HashMap::new();
        for (from, to) in &self.calls {
            called.entry(from).or_default().push(to);
        }
        let mut hooks: HashMap<&str, HashSet<&str>> = HashMap::new();
        let mut open: Vec<(&str, &str)> = self.bases.iter().map(|(chain, hook)| (chain.as_str(), hook.as_str())).collect();
        while let Some((chain, hook)) = open.pop() {
            if hooks.entry(chain).or_default().insert(hook) {
                open.extend(called.get(chain).into_iter().flatten().map(|next| (*next, hook)));
            }
        }
        for rule in reader.into.rules.iter_mut().skip(first) {
            let of_chain = hooks.get(rule.chain.as_str());
            rule.hook = of_chain.filter(|set| set.len() == 1).and_then(|set| set.iter().next()).map(|hook| (*hook).to_owned());
        }
    }
}

/// Words, with what stands in quotes as one; nothing where a quote has no end.
pub(super) fn quoted_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = false;
    for letter in text.chars() {
        match letter {
            '"' => {
                quote = !quote;
                word.get_or_insert_default();
            }
            letter if letter.is_whitespace() && !quote => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    (!quote).then_some(words)
}
