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
    if settings.dialect.udp_5_0 && !entry.is(status::CONFIRMED) {
        entry.stream_from = moment.now + STREAM_DELAY;
    }
    let from = entry.stream_from;
    rule(settings, &mut entry.status, || moment.has_passed(from))
}

/// The rule, where the entry is there; `may_be_stream` says whether it is old enough, and is asked where that matters.
#[inline]
pub(super) fn rule(settings: &Settings, bits: &mut u8, may_be_stream: impl FnOnce() -> bool) -> Rule {
    let d = settings.dialect;
    if *bits & status::SEEN_REPLY == 0 {
        return Rule::UDP_UNREPLIED;
    }
    let stream = !d.udp_5_0 || may_be_stream();
    if (stream || !d.udp_assured_stream_only) && *bits & status::NAT_CLASH == 0 {
        *bits |= status::ASSURED;
    }
    if stream { Rule::UDP_STREAM } else { Rule::UDP_UNREPLIED }
}
