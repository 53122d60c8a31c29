//! The program itself, where the fixtures are, in an environment that says nothing of colours or widths.

use std::process::{Command, Stdio};

pub(crate) const SSH: &str = "fixtures/captures/ssh-hang-firewall-established-3600-client-side.pcap";
pub(crate) const STRICT: &str = "conntrack:strict,established=3600";

/// What a command came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The program with no input and with outputs that are to be read.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowlapse"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "TERM", "CI"] {
        command.env_remove(variable);
    }
    command
}
