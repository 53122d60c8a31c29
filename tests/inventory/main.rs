//! What the tools of real machines print, read into an inventory; and what is said about lines that are damaged.

mod bundle;
mod damage;
mod files;
mod filters;
mod mixed;
mod sockets;
mod tables;

use flowlapse::inventory::{Inventory, Kind, read, read_as};
use flowlapse::net::Sock;
use std::net::SocketAddr;

/// A fixture, as it is.
fn fixture(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/machines").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn inventory(text: &str) -> Inventory {
    let mut found = Inventory::default();
    read(text, "text", &mut found);
    found
}

fn of_fixture(name: &str) -> Inventory {
    inventory(&fixture(name))
}

fn named(kind: Kind, text: &str) -> Inventory {
    let mut found = Inventory::default();
    read_as(kind, text, "text", &mut found);
    found
}

fn sock(text: &str) -> Sock {
    let address: SocketAddr = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    Sock { addr: address.ip().into(), port: address.port() }
}

/// What could not be read: the line's number and the reason.
fn unread(found: &Inventory) -> Vec<String> {
    found.unread.iter().map(|line| format!("{}: {}", line.at.line, line.why)).collect()
}

fn nothing_unread(name: &str, found: &Inventory) {
    assert_eq!(unread(found), [""; 0], "{name}");
}
