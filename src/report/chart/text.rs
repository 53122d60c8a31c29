//! Text before it is drawn: how wide it is, what is shortened, what may not stand in a picture.
//!
//! Widths are those of the embedded font (DejaVu Sans), which is wider than most that a viewer puts in its place. Nothing here
//! knows what is drawn.

use crate::report::printable;

/// Units of the font in one em.
const EM: f64 = 2048.0;

/// Widths of U+0020 to U+007E.
const ASCII: [u16; 95] = [
    651, 821, 942, 1716, 1303, 1946, 1597, 563, 799, 799, 1024, 1716, 651, 739, 651, 690, 1303, 1303, 1303, 1303, 1303, 1303, 1303, 1303,
    1303, 1303, 690, 690, 1716, 1716, 1716, 1087, 2048, 1401, 1405, 1430, 1577, 1294, 1178, 1587, 1540, 604, 604, 1343, 1141, 1767, 1532,
    1612, 1235, 1612, 1423, 1300, 1251, 1499, 1401, 2025, 1403, 1251, 1403, 799, 690, 799, 1716, 1024, 1024, 1255, 1300, 1126, 1300, 1260,
    721, 1300, 1298, 569, 569, 1186, 569, 1995, 1298, 1253, 1300, 1300, 842, 1067, 803, 1298, 1212, 1675, 1212, 1212, 1075, 1303, 690,
    1303, 1716,
];

/// Widths of U+00A0 to U+00FF.
const LATIN: [u16; 96] = [
    651, 821, 1303, 1303, 1303, 1303, 690, 1024, 1024, 2048, 965, 1253, 1716, 739, 2048, 1024, 1024, 1716, 821, 821, 1024, 1303, 1303, 651,
    1024, 821, 965, 1253, 1985, 1985, 1985, 1087, 1401, 1401, 1401, 1401, 1401, 1401, 1995, 1430, 1294, 1294, 1294, 1294, 604, 604, 604,
    604, 1587, 1532, 1612, 1612, 1612, 1612, 1612, 1716, 1612, 1499, 1499, 1499, 1499, 1251, 1239, 1290, 1255, 1255, 1255, 1255, 1255,
    1255, 2011, 1126, 1260, 1260, 1260, 1260, 569, 569, 569, 569, 1253, 1298, 1253, 1253, 1253, 1253, 1253, 1716, 1253, 1298, 1298, 1298,
    1298, 1212, 1300, 1212,
];

fn advance(c: char) -> u16 {
    match c {
        ' '..='~' => ASCII[c as usize - 0x20],
        '\u{a0}'..='\u{ff}' => LATIN[c as usize - 0xa0],
        '\u{394}' => 1401,
        '\u{3b1}' => 1350,
        '\u{3b2}' => 1307,
        '\u{3bc}' | '\u{2012}' | '\u{20ac}' => 1303,
        '\u{3c4}' => 1233,
        '\u{2010}' | '\u{2011}' => 739,
        '\u{2013}' => 1024,
        '\u{2014}' | '\u{2026}' => 2048,
        '\u{2018}' | '\u{2019}' => 651,
        '\u{201c}' | '\u{201d}' | '\u{201e}' => 1061,
        '\u{2022}' => 1208,
        '\u{2190}' | '\u{2191}' | '\u{2192}' | '\u{2193}' | '\u{2194}' | '\u{2212}' | '\u{2248}' | '\u{2260}' | '\u{2264}' | '\u{2265}'
        | '\u{2715}' => 1716,
        '\u{2206}' => 1370,
        '\u{2215}' => 690,
        '\u{221e}' => 1706,
        // Not in the font: as wide as the widest letters of other scripts.
        _ => 2100,
    }
}

/// How wide a line of text is, in pixels, at a size of `size` pixels an em.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(|c| f64::from(advance(c))).sum::<f64>() * size / EM
}

/// Text that may stand in a picture: what XML forbids and what could reorder a line is made visible.
pub(super) fn clean(text: &str) -> String {
    let kept = |c: char| if c as u32 & 0xfffe == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&c) { '\u{fffd}' } else { c };
    printable(text).chars().map(kept).collect()
}

/// Clean text that is at most `room` pixels wide; what is too long ends in an ellipsis. Empty where not even that fits.
pub(super) fn fit(text: &str, size: f64, room: f64) -> String {
    let text = clean(text);
    if width(&text, size) <= room {
        return text;
    }
    let mut used = width("…", size);
    if used > room {
        return String::new();
    }
    let mut out = String::new();
    for c in text.chars() {
        used += f64::from(advance(c)) * size / EM;
        if used > room {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_its_room() {
        assert_eq!(fit("ipvs", 12.0, 100.0), "ipvs");
        let short = fit(&"x".repeat(80), 12.0, 100.0);
        assert!(short.ends_with('…') && short.len() > 10 && width(&short, 12.0) <= 100.0, "{short}");
        assert_eq!(fit("ipvs", 12.0, 3.0), "");
    }

    #[test]
    fn what_xml_forbids_is_made_visible() {
        assert_eq!(clean("a\u{0}b\u{ffff}\u{202e}\n"), "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(clean("<&>\"'"), "<&>\"'");
    }
}
