//! UDP as conntrack times it: one timer for one direction, a longer one once both have spoken.
//!
//! Source: `nf_conntrack_udp_packet` (`net/netfilter/nf_conntrack_proto_udp.c`); the spec's conntrack.md section 6.

use super::Settings;
use super::entry::{Entry, status};
use super::rule::Rule;
use crate::model::Moment;
use crate::time::Duration;

/// How long after its first packet an entry cannot become a stream (5.0 and later).
const STREAM_DELAY: Duration = Duration::from_secs(2);

/// One datagram of an existing or just created entry: the rule that sets its timer.
pub fn packet(settings: &Settings, entry: &mut Entry, moment: &mut Moment) -> Rule {
    let d = settings.dialect;
    if d.udp_5_0 && !entry.is(status::CONFIRMED) {
        entry.stream_from = moment.now + STREAM_DELAY;
    }
    if !entry.is(status::SEEN_REPLY) {
        return Rule::UDP_UNREPLIED;
    }
    let stream = !d.udp_5_0 || moment.has_passed(entry.stream_from);
    if (stream || !d.udp_assured_stream_only) && !entry.is(status::NAT_CLASH) {
        entry.status |= status::ASSURED;
    }
    if stream { Rule::UDP_STREAM } else { Rule::UDP_UNREPLIED }
}
