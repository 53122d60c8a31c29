//! "Did you mean …?": the nearest of a list of known words.
//!
//! Nothing here knows what the words stand for.

/// Names are shorter; of a whole text that stands where a name should nobody asks which one was meant.
const LETTERS_MAX: usize = 200;

/// The candidate that `word` was most probably meant to be, if one is close enough that offering it helps.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    // One slip in three letters is still recognisable; more is a different word.
    let limit = (word.len() / 3).clamp(1, 4);
    let letters = word.chars().count();
    if letters > LETTERS_MAX {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (plain(candidate), candidate))
        // As many letters more or fewer are as many slips.
        .filter(|(plain, _)| plain.chars().count().abs_diff(letters) <= limit)
        .map(|(plain, candidate)| (distance(&word, &plain), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Lower case with `-` for `_`, so that spelling habits do not count as slips.
pub(crate) fn plain(word: &str) -> String {
    word.trim().to_ascii_lowercase().replace('_', "-")
}

/// How many letters must be changed, added, dropped, or swapped with their neighbour (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let mut best = (above[column] + usize::from(letter != other)).min(above[column + 1] + 1).min(line[column] + 1);
            if row > 0 && column > 0 && *letter == right[column - 1] && left[row - 1] == *other {
                best = best.min(before[column - 1] + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut above, line);
    }
    above[right.len()]
}

/// `a, b or c`, for sentences that list what would be right.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_find_their_word_and_other_words_do_not() {
        let known = ["established", "syn_sent", "time_wait", "close"];
        for (typed, meant) in [
            ("establishd", Some("established")),
            ("ESTABLISHED", Some("established")),
            ("syn-sent", Some("syn_sent")),
            ("tiem_wait", Some("time_wait")),
            ("closed", Some("close")),
            ("banana", None),
            ("closeclose", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }

    /// Each letter of one would be held against each letter of the other.
    #[test]
    fn a_text_of_megabytes_is_no_word() {
        let text = "established ".repeat(1 << 18);
        assert_eq!(nearest(&text, [&text[1..], "established"]), None);
    }

    #[test]
    fn distances_count_single_edits_and_swaps() {
        for (left, right, edits) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("kitten", "sitting", 3), ("", "xy", 2)]
        {
            assert_eq!(distance(left, right), edits, "{left} {right}");
        }
    }

    #[test]
    fn lists_read_as_a_sentence() {
        assert_eq!(listed(["nat", "dr", "tun"]), "nat, dr or tun");
        assert_eq!(listed(["nat"]), "nat");
        assert_eq!(listed([]), "");
    }
}
