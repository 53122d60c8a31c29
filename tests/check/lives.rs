//! The page has the lives of what fails, and is made only where it is asked for.

use super::{Folder, LONG, SHORT};
use serde_json::Value;

const TIMERS: &str = "gate/sysctl.d/90-conntrack.conf";

/// The gate's example with the timer of open connections at an hour, which loses sessions over lunch.
fn tightened(name: &str) -> Folder {
    let folder = Folder::new(name);
    for file in ["after-lunch.json", "office.json", "office-ssh.pcap.zst", "policy.json", "sysctl.d/90-conntrack.conf"] {
        folder.copy(&format!("fixtures/gate/{file}"), &format!("gate/{file}"));
    }
    let text = folder.read(TIMERS).replace("86400", "3600");
    folder.write(TIMERS, &text);
    folder
}

/// The JSON that the page's script reads.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"data\">").expect("the page has data");
    let (json, _) = rest.split_once("</script>").expect("the data end");
    serde_json::from_str(json).expect("the data are JSON")
}

/// The rows of a table, each by its name in links and the life that it opens.
fn lives<'d>(data: &'d Value, table: &str) -> Vec<(&'d str, &'d Value)> {
    let tables = data["tables"].as_array().expect("tables");
    let table = tables.iter().find(|one| one["id"] == table).expect("the table");
    let of = |row: &'d Value| {
        let place = row["detail"].as_u64().expect("it can be opened") as usize;
        (row["id"].as_str().expect("a name"), &data["details"][place]["life"])
    };
    table["rows"].as_array().expect("rows").iter().map(of).collect()
}

#[test]
fn what_fails_has_its_life_in_the_page() {
    let folder = tightened("lives");
    let (code, _, told) = folder.check(&["gate", "--html", "x.html", "--json", "x.json"]);
    assert_eq!((code, told.as_str()), (1, ""));
    let data = data(&folder.read("x.html"));
    let sessions = lives(&data, "sessions");
    let of = |file: &str| sessions.iter().filter(|(name, _)| name.starts_with(file)).map(|(_, life)| *life).collect::<Vec<_>>();
    let (captured, lunch, many) = (of("gate/office-ssh.pcap.zst"), of("gate/after-lunch.json"), of("gate/office.json"));
    assert_eq!(lunch.len(), 1);
    assert!(captured.len() > 1 && !many.is_empty());
    assert!(many.iter().all(|life| life.is_null()), "of a population nobody keeps a diary");
    for life in captured.iter().chain(&lunch) {
        let burnt = |one: &&Value| one[5] == 1 && one[3] == 3600.0;
        let fuses = life["boxes"][0]["fuses"].as_array().expect("the box's timers");
        assert!(fuses.iter().any(|fuse| burnt(&fuse)), "the timer runs out");
        assert!(life["packets"].as_array().is_some_and(|packets| packets.len() > 3));
    }
    // Each is that of its own flow: it ends with the packet that the finding says came too late.
    let json: Value = serde_json::from_str(&folder.read("x.json")).expect("JSON");
    let case =
        json["cases"].as_array().expect("cases").iter().find(|case| case["file"] == "gate/office-ssh.pcap.zst").expect("the capture");
    for session in case["sessions"].as_array().expect("sessions") {
        let stream = session["stream"].as_str().expect("a stream");
        let (_, life) = sessions.iter().find(|(name, _)| name.ends_with(&format!("/ {stream}"))).expect("its row");
        let last = life["packets"].as_array().and_then(|packets| packets.last()).expect("packets");
        assert_eq!(last[5], session["frames"][1], "{stream}");
    }
    let cases = lives(&data, "cases");
    let (_, life) = cases.iter().find(|(name, _)| *name == "gate/after-lunch.json").expect("the case");
    assert!(life == &lunch[0], "a case with a single session has its life");
    let page = folder.read("x.html");
    let (code, again, _) = folder.check(&["gate", "--html", "-", "--threads", "1"]);
    assert_eq!(code, 1);
    assert!(again == page, "the same page for one thread, and on standard output");
}

#[test]
fn what_is_as_it_was_has_no_life_and_what_became_better_has() {
    let folder = Folder::gateway("lives-better", SHORT);
    folder.check(&["gw", "--baseline", "gw/baseline.txt", "--update-baseline"]);
    let page = |folder: &Folder| {
        let (code, text, told) = folder.check(&["gw", "--baseline", "gw/baseline.txt", "--html", "-"]);
        assert_eq!((code, told.as_str()), (0, ""));
        data(&text)
    };
    let known = page(&folder);
    assert!(lives(&known, "sessions")[0].1.is_null(), "nobody asks for what is accepted");
    folder.policy(LONG, "");
    let better = page(&folder);
    assert_eq!(lives(&better, "sessions")[0].1["packets"].as_array().map(Vec::len), Some(24));
}
