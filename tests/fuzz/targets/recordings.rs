//! A text as a recording of a kernel, and the models held to it: the same comparison twice.
use flowlapse::conform::{self, Kind};

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let once = conform::compare("recording", &text);
    if let Ok(result) = &once {
        assert!(result.disagreements.len() <= result.disagree, "what is told is counted");
    }
    // A recording of pressure is held to hundreds of runs of a model: once is enough.
    if conform::recognise(&text) != Some(Kind::Pressure) {
        assert_eq!(format!("{once:?}"), format!("{:?}", conform::compare("recording", &text)), "the same twice");
    }
}
