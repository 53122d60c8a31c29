//! Charts: whatever the data, the picture can be read, nothing runs off it, and the same data gives the same bytes.

mod data;

use flowlapse::report::chart::{Chart, Format, Mark, Survival};
use std::collections::BTreeMap;

fn svg(chart: &dyn Chart) -> String {
    String::from_utf8(chart.draw(Format::Svg).expect("drawn")).expect("UTF-8")
}

/// The records of a CSV text, read as RFC 4180 has it.
fn records(csv: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut rest = csv.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => field.extend(rest.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted => {
                assert_eq!(rest.next(), Some('\n'), "lines end in CR LF");
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            other => field.push(other),
        }
    }
    assert!(!quoted && field.is_empty() && record.is_empty(), "the last line ends as well");
    records
}

/// Writes every picture to the folder in FLOWLAPSE_CHARTS, for somebody who wants to look at them.
#[test]
fn pictures_are_written_where_somebody_wants_to_see_them() {
    let Some(folder) = std::env::var_os("FLOWLAPSE_CHARTS") else { return };
    let folder = std::path::PathBuf::from(folder);
    for (name, chart) in data::all() {
        std::fs::write(folder.join(format!("{name}.svg")), svg(chart.as_ref())).expect("written");
        std::fs::write(folder.join(format!("{name}.csv")), chart.csv()).expect("written");
        if cfg!(feature = "png") {
            std::fs::write(folder.join(format!("{name}.png")), chart.draw(Format::Png).expect("drawn")).expect("written");
        }
    }
}

#[test]
fn every_svg_is_well_formed_and_keeps_its_text() {
    for (name, chart) in data::all() {
        let text = svg(chart.as_ref());
        let document = roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let root = document.root_element();
        let (width, height) = chart.sheet().size();
        assert_eq!(root.attribute("width"), Some(width.to_string().as_str()), "{name}");
        assert_eq!(root.attribute("height"), Some(height.to_string().as_str()), "{name}");
        let ground = root.descendants().find(|n| n.has_tag_name("rect") || n.has_tag_name("polygon"));
        assert_eq!(ground.and_then(|n| n.attribute("fill")), Some("#FFFFFF"), "{name}: the ground is drawn");
        let written: Vec<&str> = root
            .children()
            .filter(|n| n.has_tag_name((root.tag_name().namespace().unwrap_or_default(), "text")))
            .filter_map(|n| n.text())
            .collect();
        let meant: Vec<String> = chart.sheet().texts().map(|(text, _)| text.to_owned()).collect();
        assert_eq!(written.iter().map(|t| t.trim()).collect::<Vec<_>>(), meant.iter().map(|t| t.trim()).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn no_text_is_cut_or_covers_another() {
    for (name, chart) in data::all() {
        let sheet = chart.sheet();
        let (width, height) = sheet.size();
        let texts: Vec<(&str, [f64; 4])> = sheet.texts().collect();
        for (index, (text, [left, top, right, bottom])) in texts.iter().enumerate() {
            let inside = *left >= 0.0 && *top >= 0.0 && *right <= f64::from(width) && *bottom <= f64::from(height);
            assert!(inside, "{name}: '{text}' at {left:.0},{top:.0} to {right:.0},{bottom:.0} leaves the sheet of {width}x{height}");
            for (other, [l, t, r, b]) in &texts[..index] {
                let touch = left + 0.5 < *r && *l + 0.5 < *right && top + 1.0 < *b && *t + 1.0 < *bottom;
                assert!(!touch, "{name}: '{text}' covers '{other}'");
            }
        }
    }
}

#[test]
fn the_same_data_gives_the_same_bytes() {
    for ((name, first), (_, second)) in data::all().into_iter().zip(data::all()) {
        assert_eq!(svg(first.as_ref()), svg(second.as_ref()), "{name}");
        assert_eq!(first.csv(), second.csv(), "{name}");
        if cfg!(feature = "png") {
            assert!(first.draw(Format::Png) == second.draw(Format::Png), "{name}: two PNG differ");
        }
    }
}

#[cfg(feature = "png")]
#[test]
fn a_png_is_twice_the_sheet_with_white_edges() {
    for (name, chart) in data::all() {
        let bytes = chart.draw(Format::Png).expect("drawn");
        assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "{name}");
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("small")];
        let frame = reader.next_frame(&mut pixels).expect("whole");
        let (width, height) = chart.sheet().size();
        assert_eq!((frame.width, frame.height), (width * 2, height * 2), "{name}");
        assert!(pixels.iter().any(|byte| *byte != 255), "{name}: nothing is drawn");
        for (index, pixel) in pixels.chunks(3).enumerate() {
            let (x, y) = (index % frame.width as usize, index / frame.width as usize);
            let edge = x < 4 || y < 4 || x >= frame.width as usize - 4 || y >= frame.height as usize - 4;
            assert!(!edge || pixel == [255; 3], "{name}: something reaches the edge at {x},{y}");
        }
    }
}

#[cfg(not(feature = "png"))]
#[test]
fn without_the_feature_png_is_one_clear_error() {
    let error = Survival::default().draw(Format::Png).expect_err("no PNG");
    assert!(error.contains("without PNG") && error.lines().count() == 1, "{error}");
}

#[test]
fn csv_holds_everything_that_is_drawn() {
    let mut rows: BTreeMap<String, usize> = BTreeMap::new();
    for (name, chart) in data::all() {
        let records = records(&chart.csv());
        assert!(records.iter().all(|record| record.len() == records[0].len()), "{name}: rows of different length");
        rows.insert(name, records.len() - 1);
    }
    for (name, chart) in data::survival() {
        assert_eq!(rows[&format!("survival-{name}")], chart.steps.len() + chart.marks.len(), "{name}");
    }
    for (name, chart) in data::gaps() {
        assert_eq!(rows[&format!("gaps-{name}")], chart.bins.len() + chart.marks.len(), "{name}");
    }
    for (name, chart) in data::occupancy() {
        let scaled = chart.total_scaled.as_ref().map_or(0, |s| s.values.len().min(chart.times.len()));
        let wanted = chart.states.len() * chart.times.len() + scaled + usize::from(chart.limit.is_some()) + chart.events.len();
        assert_eq!(rows[&format!("occupancy-{name}")], wanted, "{name}");
    }
    for (name, chart) in data::entries() {
        assert_eq!(rows[&format!("entries-{name}")], chart.lines.len() * chart.times.len(), "{name}");
    }
    for (name, chart) in data::maps() {
        assert_eq!(rows[&format!("map-{name}")], chart.across.values.len() * chart.up.values.len(), "{name}");
    }
    for (name, chart) in data::lanes() {
        let fuses: usize = chart.boxes.iter().map(|lane| lane.fuses.len()).sum();
        assert_eq!(rows[&format!("lanes-{name}")], chart.packets.len() + fuses + chart.cuts.len(), "{name}");
    }
}

#[test]
fn timers_in_force_keep_their_labels_in_a_crowd() {
    let weak = |n: u32| Mark { secs: 100.0 + f64::from(n), label: format!("preset {n}"), strong: false };
    let mut marks: Vec<Mark> = (0..200).map(weak).collect();
    marks.push(Mark { secs: 200.0, label: "conntrack: 3m20s".to_owned(), strong: true });
    let sheet = Survival { marks, ..Survival::default() }.sheet();
    assert!(sheet.texts().any(|(text, _)| text == "conntrack: 3m20s"));
    assert!(sheet.texts().any(|(text, _)| text.ends_with("marks without their labels")));
}

#[test]
fn a_life_shows_a_handshake_a_long_silence_and_the_cut() {
    let (_, life) = data::lanes().remove(0);
    let sheet = life.sheet();
    let has = |wanted: &str| assert!(sheet.texts().any(|(text, _)| text == wanted), "no '{wanted}'");
    for wanted in ["cut: ipvs forgets the flow, 15m after the last packet", "burnt out after 15m", "ESTABLISHED 5d", "1h45m", "2h"] {
        has(wanted);
    }
}

#[test]
fn a_map_is_the_same_in_characters() {
    for (name, map) in data::maps() {
        let text = map.text();
        let rows = text.lines().skip(2).take(map.up.values.len());
        assert!(rows.into_iter().all(|row| row.chars().count() == 12 + map.across.values.len()), "{name}:\n{text}");
    }
    let (_, shares) = data::maps().remove(1);
    assert!(shares.text().contains("flows cut: . none"), "{}", shares.text());
}

#[test]
fn the_ending_of_a_name_says_the_format() {
    assert_eq!(Format::of("out/flows.svg"), Ok(Format::Svg));
    assert_eq!(Format::of("FLOWS.PNG"), Ok(Format::Png));
    for name in ["flows", "flows.jpg", "", "svg"] {
        assert!(Format::of(name).is_err_and(|e| e.contains(".svg or .png")), "{name}");
    }
}
