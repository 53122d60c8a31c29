//! Flows in the notations that people know: Wireshark's filters and conntrack's tuples.

use crate::finding::Finding;
use crate::net::Proto;

/// `tcp.stream eq 3`, to paste into Wireshark.
pub fn display_filter(finding: &Finding) -> String {
    format!("{}.stream eq {}", finding.proto.name(), finding.stream)
}

/// The original tuple as conntrack prints it: `tcp 6 src=… dst=… sport=… dport=…`.
pub fn conntrack(finding: &Finding) -> String {
    let number = if finding.proto == Proto::Tcp { 6 } else { 17 };
    format!(
        "{} {number} src={} dst={} sport={} dport={}",
        finding.proto.name(),
        finding.client.addr,
        finding.server.addr,
        finding.client.port,
        finding.server.port
    )
}

/// `10.0.0.1:51514 → 10.0.0.2:22`.
pub fn arrow(finding: &Finding) -> String {
    format!("{} → {}", finding.client, finding.server)
}
