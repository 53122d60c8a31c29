//! A text as boxes, in every form that there is; and what is printed of them reads back as the same.
use flowlapse::check::policy::CasePolicy;
use flowlapse::check::{discover, lint};
use flowlapse::engine::{Clock, Path};
use flowlapse::policy::{self, Axis, BoxSpec, axis, dump, json};

fn reads_back(specs: &[BoxSpec]) {
    for spec in specs {
        let words = spec.policy.describe();
        let again = policy::parse_short(&words).unwrap_or_else(|error| panic!("{words}: {error}"));
        assert_eq!(again.policy, spec.policy, "{words}");
        assert_eq!(again.policy.describe(), words);
        let object = spec.policy.to_json().to_string();
        let again = json::parse(&object, "printed").unwrap_or_else(|error| panic!("{object}: {error}"));
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].policy, spec.policy, "{object}");
    }
    let _ = Path::build(specs, Clock::Ideal);
    for one in ["conntrack.established=300..7200:log5", "1.tcp=900,30m", "keepalive=60..7200:lin4"] {
        if let Ok(one) = axis::parse(one, specs) {
            let axes: [Axis; 1] = [one];
            let grid = axis::grid(&axes).expect("a small grid");
            for combination in &grid {
                let _ = axis::apply(specs, &axes, combination);
            }
        }
    }
}

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = |name: &str| if name == "file" { Ok(text.to_string()) } else { Err(format!("{name} is not to be read")) };
    if let Ok(spec) = policy::parse_short(&text) {
        reads_back(&[spec]);
    }
    for specs in [policy::parse(&text, &read), policy::parse("@file", &read), json::parse(&text, "file")].into_iter().flatten() {
        reads_back(&specs);
    }
    if let Ok(dump) = dump::read(&text, "file") {
        reads_back(&dump.boxes("file"));
    }
    if let Ok(case) = CasePolicy::read("file", &text, &read) {
        let _ = case.path();
        reads_back(&case.boxes);
        let _ = lint::boxes("file", &case.boxes);
    }
    let _ = lint::text("file", &text);
    let _ = (discover::json(&text), discover::text(&text, "file"));
    // A line as an axis of a sweep through boxes of each kind.
    let boxes = ["conntrack", "ipvs:nat", "idle:established=350"].map(|text| policy::parse_short(text).expect("a box"));
    if let Some(Ok(one)) = text.lines().next().map(|line| axis::parse(line, &boxes))
        && let Ok(grid) = axis::grid(std::slice::from_ref(&one))
    {
        for combination in grid.iter().take(50) {
            let _ = axis::apply(&boxes, std::slice::from_ref(&one), combination);
        }
    }
}
