//! `flowlapse check`: a policy change that cuts sessions turns a run red and says which, by which timer, and what was accepted is no
//! news; what is wrong with files, words and baselines is told in a line.

mod accepted;
mod files;
mod lives;
mod story;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The recorded session that was silent for an hour and a half.
const HANG: &str = "fixtures/captures/ssh-hang-firewall-established-3600-client-side.pcap";
/// Keeps it, and cuts it.
const LONG: u64 = 432_000;
const SHORT: u64 = 600;

/// A folder of its own, taken away when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("flowlapse-check-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    /// The folder `gw` with a capture and the policy of a firewall.
    fn gateway(name: &str, established: u64) -> Folder {
        let folder = Folder::new(name);
        folder.copy(HANG, "gw/ssh.pcap");
        folder.policy(established, "");
        folder
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.0.join(name);
        fs::create_dir_all(file.parent().expect("a parent")).expect("a folder");
        fs::write(file, text).expect("written");
    }

    fn policy(&self, established: u64, beside: &str) {
        let text = format!(
            "{{\n  \"path\": [\n    {{\"conntrack\": {{\n      \"rules\": \"strict\",\n      \"established\": {established}\n    }}}}\n  ]{beside}\n}}\n"
        );
        self.write("gw/policy.json", &text);
    }

    fn copy(&self, from: &str, to: &str) {
        let to = self.0.join(to);
        fs::create_dir_all(to.parent().expect("a parent")).expect("a folder");
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(from), to).expect("copied");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).expect("readable")
    }

    fn output(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_flowlapse")).arg("check").args(args).current_dir(&self.0).output().expect("it starts")
    }

    /// The exit code and both outputs.
    fn check(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.output(args);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        (output.status.code().expect("it ended"), text(&output.stdout), text(&output.stderr))
    }

    /// The answer for machines.
    fn json(&self, args: &[&str]) -> serde_json::Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json", "-"]).collect();
        serde_json::from_slice(&self.output(&args).stdout).expect("JSON")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A text without its line breaks, so that it can be searched for sentences.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
