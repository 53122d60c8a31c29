//! A text as a recording of a kernel, and the models held to it: the same comparison twice.
use flowlapse::conform::{self, Kind};

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // A dialogue is run with every phase of a counter: a few seconds where nothing explains it. One of them is enough.
    let is_dialogues = conform::recognise(&text) == Some(Kind::Dialogues);
    let text = if is_dialogues { text.lines().take(1).collect() } else { text };
    let once = conform::compare("recording", &text);
    if let Ok(result) = &once {
        assert!(result.disagreements.len() <= result.disagree, "what is told is counted");
    }
    // A recording of pressure is held to hundreds of runs of a model: once is enough.
    if !is_dialogues && conform::recognise(&text) != Some(Kind::Pressure) {
        assert_eq!(format!("{once:?}"), format!("{:?}", conform::compare("recording", &text)), "the same twice");
    }
}
