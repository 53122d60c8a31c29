//! A text as a packetdrill script, played on the conntrack of the oldest and the newest release.
use flowlapse::conform;
use flowlapse::model::conntrack::dialect::Dialect;

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if conform::recognise(&text) != Some(conform::Kind::Packetdrill) {
        return;
    }
    for dialect in Dialect::names().first().and_then(|oldest| Dialect::find(oldest)).into_iter().chain([Dialect::newest_longterm()]) {
        let once = conform::compare_as("script", &text, dialect);
        assert_eq!(format!("{once:?}"), format!("{:?}", conform::compare_as("script", &text, dialect)), "the same twice");
    }
}
