//! User Mode Linux: a whole kernel as an ordinary process, with this machine's own files as its root.
//!
//! The guest sees the host's root read-only; only a folder of its own is writable, and there the worker's events go.

use super::{Request, Worker, hz_of, worker};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const PROGRAM: &str = "linux.uml";
/// Where Debian puts the modules.
const MODULES: &str = "/usr/lib/uml/modules";
const MEMORY: &str = "mem=256M";
/// Of dialogues, which have more than a hundred namespaces at once.
const MEMORY_OF_MANY: &str = "mem=512M";
/// What the boxes need. Built-in ones are no error.
const NEEDED: &str = "tun veth nf_conntrack nf_conntrack_netlink ip_vs ip_vs_rr iptable_filter iptable_mangle iptable_nat ip6table_filter \
ip6table_mangle ip6table_nat xt_conntrack xt_tcpudp xt_DSCP xt_MASQUERADE xt_nat";

/// A folder that is removed with this value.
pub(super) struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new() -> io::Result<Folder> {
        let path = std::env::temp_dir().join(format!("flowlapse-live-{}", std::process::id()));
        // Nobody else may have put something there; making it fails then.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder(path))
    }
}

/// Boots a guest whose first process is the worker.
///
/// # Errors
/// What this machine lacks.
pub(super) fn boot(request: &Request) -> Result<Worker, String> {
    let config = Command::new(PROGRAM).arg("--showconfig").stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("User Mode Linux is not installed (no {PROGRAM}; Debian package user-mode-linux)"),
        _ => format!("{PROGRAM} cannot be started: {error}"),
    })?;
    let hz = hz_of(&String::from_utf8_lossy(&config.stdout));
    let request = Request { hz, guest: true, ..request.clone() };
    let fail = |error: io::Error| format!("User Mode Linux cannot be prepared: {error}");
    let folder = Folder::new().map_err(fail)?;
    let script = script(&folder.0, &worker::arguments(&request)?)?;
    let init = folder.0.join("init");
    fs::write(&init, script).map_err(fail)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o700)).map_err(fail)?;
    let console = File::create(folder.0.join("console")).map_err(fail)?;
    let events = folder.0.join("events");
    File::create(&events).map_err(fail)?;
    let memory = if request.dialogues { MEMORY_OF_MANY } else { MEMORY };
    let child = Command::new(PROGRAM)
        .args([memory, "rootfstype=hostfs", "rootflags=/", "ro", "con0=null,fd:1", "con=null", "ssl=null", "quiet", "loglevel=1"])
        .arg(format!("init={}", init.display()))
        .arg(format!("uml_dir={}", folder.0.display()))
        .stdin(Stdio::null())
        .stdout(console)
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{PROGRAM} cannot be started: {error}"))?;
    let events = Growing { file: File::open(&events).map_err(fail)? };
    Ok(Worker { child, events: Box::new(events), folder: Some(folder) })
}

/// The guest's first program: it mounts what is needed, loads modules, and becomes the worker.
fn script(folder: &Path, arguments: &[String]) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
    let words: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
    Ok(format!(
        "#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/modules/lib /run/out
ln -s {MODULES} /run/modules/lib/modules
for module in {NEEDED}; do modprobe -q -d /run/modules $module; done
[ -e /dev/net/tun ] || mount -t devtmpfs devtmpfs /dev
mount -t hostfs hostfs /run/out -o {}
exec {} {} >/run/out/events 2>/run/out/errors
",
        quoted(&folder.display().to_string()),
        quoted(&program.display().to_string()),
        words.join(" ")
    ))
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Why a worker said nothing: the last line that it or its kernel left.
pub(super) fn last_words(folder: Option<&Folder>) -> String {
    let last = |name: &str| {
        let text = fs::read(folder?.0.join(name)).ok()?;
        String::from_utf8_lossy(&text).lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
    };
    match last("errors").or_else(|| last("console")) {
        Some(words) => format!("the worker ended without a word; the last thing said was: {words}"),
        None => "the worker ended without a word".to_owned(),
    }
}

/// A file that is still written: at its end, more is waited for. Whoever reads it stops at the worker's last event.
struct Growing {
    file: File,
}

impl Read for Growing {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.file.read(bytes)?;
            if count > 0 {
                return Ok(count);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
