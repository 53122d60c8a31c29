//! The inputs: whatever a person or a machine may have written freely carries [`NASTY`].

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// What may not come out as it is: a window's title, a colour exactly like the program's own, C1's CSI, a carriage return, a backspace,
/// an override of the writing direction, no width, markup, the end of a CDATA section, a table's cell, code, a command of GitHub's, a
/// formula.
pub(crate) const NASTY: &str = "\u{1b}]0;title\u{7}\u{1b}[31mforged\u{1b}[0m\u{9b}2J\r\u{8}\t\u{7f}\u{202e}\u{200b}\u{2028}\u{feff}\
</script><img src=x onerror=alert(1)>]]>|`x`[a](javascript:x)::error::y%0A=cmd|'";

/// The same as a name of a file.
fn name() -> String {
    NASTY.replace('/', "")
}

const SSH: &str = "fixtures/captures/ssh-hang-firewall-established-3600";

pub(crate) struct Inputs {
    pub(crate) folder: PathBuf,
    pub(crate) capture: String,
    pub(crate) far: String,
    pub(crate) policy: String,
    pub(crate) story: String,
    pub(crate) crowd: String,
    pub(crate) machine: String,
    pub(crate) baseline: String,
    pub(crate) recordings: String,
    pub(crate) recording: String,
}

fn boxes() -> Value {
    json!({"path": [
        {"label": format!("{NASTY}="), "conntrack": {"strict": true, "established": 600}},
        {"label": "=plain", "ipvs": {"tcp": 900}},
    ]})
}

fn story() -> Value {
    json!({
        "title": NASTY, "about": NASTY, "sources": [NASTY], "duration": "3h",
        "path": boxes()["path"],
        "client": {"keepalive": {}}, "server": {"keepalive": {}},
        "script": [
            {"at": "1s", "who": "client", "send": 48}, {"at": "2s", "who": "server", "send": 48},
            {"at": "5400s", "who": "client", "send": 48},
        ],
        "expect": {"client": {"end": "still_open"}},
        "variants": [{"name": NASTY, "about": NASTY, "set": {"seed": 2}, "expect": {"client": {"end": "still_open"}}}],
    })
}

fn crowd() -> Value {
    let mut crowd = story();
    crowd["population"] = json!({"flows": 20, "mix": [{"name": NASTY, "share": 0.5}, {"name": format!("={NASTY}"), "share": 0.5}]});
    for key in ["script", "expect", "variants"] {
        crowd.as_object_mut().expect("an object").remove(key);
    }
    crowd
}

/// What a machine shows, in lines that nobody would print; ends of lines would be ends of lines.
fn machine() -> String {
    let nasty = NASTY.replace('\r', "");
    let known = fs::read_to_string(root().join("fixtures/machines/director-6.1.bundle")).expect("the fixture is there");
    let lines = [
        format!("net.netfilter.nf_conntrack_tcp_timeout_established = {nasty}"),
        format!("net.netfilter.nf_conntrack_tcp_timeout_{nasty} = 1"),
        format!(
            "tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 {nasty}=1 use=1"
        ),
        format!("tcp      6 431999 {nasty} src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 use=1"),
        format!("ESTAB 0 0 10.0.0.1:22 10.0.0.9:50000 users:((\"{nasty}\",pid=1,fd=3)) timer:(keepalive,10min,0)"),
        format!("TCP 14:59 ESTABLISHED {nasty}:50000 10.0.0.2:80 10.0.0.3:80"),
        format!("Host {nasty}"),
        format!("ServerAliveInterval {nasty}"),
        nasty.clone(),
    ];
    known.replace("hostname=", &format!("hostname={nasty}")) + &lines.join("\n") + "\n"
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Inputs {
    pub(crate) fn new(test: &str) -> Inputs {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{test}"));
        let _ = fs::remove_dir_all(&folder);
        for sub in ["out", "recordings"] {
            fs::create_dir_all(folder.join(sub)).expect("it can be made");
        }
        let called = |ending: &str| format!("{}{ending}", name());
        let write = |name: String, text: String| {
            fs::write(folder.join(&name), text).expect("it can be written");
            name
        };
        let copy = |from: &str, to: String| {
            fs::copy(root().join(from), folder.join(&to)).expect("copied");
            to
        };
        copy("fixtures/README.md", format!("recordings/{}", called(".jsonl")));
        copy("fixtures/recordings/pressure/ipvs-drop_entry-mode-3-6.1-hz250.jsonl", format!("recordings/{}", called("r.jsonl")));
        let recording = called(".pkt");
        write(recording.clone(), format!("0 `{NASTY}`\n+0 {NASTY} > S 0:0(0)\n"));
        Inputs {
            capture: copy(&format!("{SSH}-client-side.pcap"), called(".pcap")),
            far: copy(&format!("{SSH}-server-side.pcap"), called("far.pcap")),
            policy: write(called(".policy.json"), boxes().to_string()),
            story: write(called("story.json"), story().to_string()),
            crowd: write(called("crowd.json"), crowd().to_string()),
            machine: write(called(".txt"), machine()),
            baseline: write("base.txt".to_owned(), "# flowlapse baseline 1\ngone.json: 1 flow\n".to_owned()),
            recordings: "recordings".to_owned(),
            recording,
            folder,
        }
    }

    pub(crate) fn out(name: &str) -> String {
        format!("out/{name}")
    }

    /// Files that say something wrong in words of their own: a name for each, and what it holds.
    pub(crate) fn wrong() -> Vec<(String, String)> {
        let with = |change: &dyn Fn(&mut Value)| {
            let mut value = story();
            change(&mut value);
            value.to_string()
        };
        let escaped = json!(NASTY).to_string();
        let files = [
            ("key.json", with(&|story| story[NASTY] = json!(1))),
            ("deep.json", with(&|story| story["client"][NASTY] = json!(1))),
            ("program.json", with(&|story| story["client"]["program"] = json!(NASTY))),
            ("span.json", with(&|story| story["duration"] = json!(NASTY))),
            ("box.json", with(&|story| story["path"] = json!([NASTY]))),
            ("setting.json", with(&|story| story["path"] = json!([{"conntrack": {NASTY: 1}}]))),
            ("value.json", with(&|story| story["path"] = json!([{"conntrack": {"established": NASTY}}]))),
            ("state.json", with(&|story| story["expect"] = json!({"forgotten": [{"box": 1, "state": NASTY}]}))),
            ("set.json", with(&|story| story["variants"][0]["set"] = json!({NASTY: 1}))),
            ("broken.json", format!("{{\"title\": {escaped}, {NASTY}")),
            ("boxes.policy", format!("net.netfilter.nf_conntrack_{NASTY} = 3\n{NASTY}\n")),
            ("script.pkt", format!("0 socket({NASTY}, SOCK_STREAM, IPPROTO_TCP) = 3\n+0 {NASTY}\n")),
            ("steps.jsonl", format!("{{\"format\": {escaped}, \"kernel\": {escaped}}}\n{NASTY}\n")),
            ("base.txt", format!("# flowlapse baseline 1\n{NASTY}: {NASTY}\n")),
        ];
        files.into_iter().map(|(name, text)| (format!("{}{name}", self::name().chars().take(40).collect::<String>()), text)).collect()
    }
}
