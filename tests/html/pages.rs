//! Pages for tests, made by the program from fixtures.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const HANG: &str = "fixtures/captures/ssh-hang-firewall-established-3600-client-side.pcap";
pub(crate) const FIREWALL: &str = "conntrack:strict,established=3600";

/// Several captures with flows that are cut, dormant and alive.
pub(crate) const SEVERAL: [&str; 4] = [
    HANG,
    "fixtures/captures/ipvs-nat-keepalive-too-late-client-side.pcap",
    "fixtures/captures/ssh-survives-ipvs-nat-keepalive-600-client-side.pcap",
    "fixtures/captures/dnat-expired-picked-up-client-side.pcap",
];

/// What no text from outside may become.
pub(crate) const HOSTILE: &str = "</script><img src=x onerror=\"window.hacked=1\"><svg onload='window.hacked=2'>&lt;b&gt;\u{202e}<!--";

/// A folder of its own for each test; gone when this is.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("flowlapse-html-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        Folder(folder)
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the program; the exit code and what was said on stderr.
pub(crate) fn flowlapse(args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowlapse"));
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args).output().expect("the program starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Writes a page and returns its text.
pub(crate) fn page(args: &[&str], file: &Path) -> String {
    let name = file.display().to_string();
    let mut all = args.to_vec();
    all.extend(["--html", &name]);
    assert_eq!(flowlapse(&all), (Some(0), String::new()), "{all:?}");
    std::fs::read_to_string(file).expect("the page was written")
}

/// The page of several captures.
pub(crate) fn several(file: &Path) -> String {
    let mut args = vec!["replay"];
    args.extend(SEVERAL);
    args.extend(["--box", "ipvs:nat,tcp=900"]);
    page(&args, file)
}

/// The page of a scenario whose title and variants are hostile.
pub(crate) fn hostile(folder: &Folder, file: &Path) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/ssh-firewall.json")).expect("a scenario");
    let mut scenario: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    scenario["title"] = HOSTILE.into();
    scenario["variants"][0]["name"] = HOSTILE.into();
    let at = folder.file("<img src=x onerror=alert(1)>.json");
    std::fs::write(&at, scenario.to_string()).expect("the scenario can be written");
    page(&["run", &at.display().to_string()], file)
}

/// The page of a capture with a hostile name through a box with a hostile label.
pub(crate) fn hostile_replay(folder: &Folder, file: &Path) -> String {
    let capture = folder.file("<img src=x onerror=alert(1)>\"'&.pcap");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(HANG), &capture).expect("the capture can be copied");
    let boxes = folder.file("box.json");
    std::fs::write(&boxes, serde_json::json!([{"label": HOSTILE, "preset": "aws-nlb"}]).to_string()).expect("the box can be written");
    page(&["replay", &capture.display().to_string(), "--box", &format!("@{}", boxes.display())], file)
}
