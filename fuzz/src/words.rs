//! The words that a target's inputs are put together from: a dictionary for libFuzzer.
use flowlapse::policy::{ConntrackPolicy, IdlePolicy, IpvsPolicy, Settings, presets};
use flowlapse::scenario::schema;
use std::collections::{BTreeMap, BTreeSet};

/// How many words a dictionary has.
const WORDS_MAX: usize = 1_200;

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_-./:".contains(letter)
}

/// The words of a target's texts: the names of settings, presets and keys, then what stands in the seeds, the most frequent first.
/// None for targets whose inputs are no text.
pub fn words(target: &str, seeds: &[(String, Vec<u8>)]) -> Vec<String> {
    fn keys<P: Settings>(out: &mut Vec<String>) {
        out.extend(P::keys().iter().map(|key| key.name.to_owned()));
    }
    let mut words = Vec::new();
    if matches!(target, "capture" | "decode") {
        return words;
    }
    if matches!(target, "path" | "policy" | "scenario") {
        keys::<ConntrackPolicy>(&mut words);
        keys::<IpvsPolicy>(&mut words);
        keys::<IdlePolicy>(&mut words);
        words.extend(presets::all().iter().map(|preset| preset.id.clone()));
    }
    if target == "path" {
        return words;
    }
    let schema = if target == "scenario" { schema::document().to_string() } else { String::new() };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let texts = seeds.iter().map(|(_, text)| String::from_utf8_lossy(text).into_owned());
    for text in texts.chain([schema]) {
        for word in text.split(|letter| !is_word(letter)).filter(|word| (2..=48).contains(&word.len())) {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    let mut counted: Vec<(String, usize)> = counts.into_iter().collect();
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    words.extend(counted.into_iter().map(|(word, _)| word));
    let mut seen = BTreeSet::new();
    words.retain(|word| seen.insert(word.clone()));
    words.truncate(WORDS_MAX);
    words
}
