//! Rules about dumps: what a forecast comes to, as findings.

use super::forecast::{Class, Forecast, Table};
use super::rule::{Found, Rule, Severity};
use super::setup::{Origin, Setup, Stand};
use crate::engine::Device;
use crate::time::Duration;

impl Forecast<'_> {
    /// What the dumps show, as findings.
    pub(super) fn judge(&self, setup: &Setup<'_>, found: &mut Vec<Found>) {
        let stand = |table: Table| {
            let wanted = |stand: &Stand| {
                matches!((&stand.hop().device, table), (Device::Director(_), Table::Ipvs) | (Device::Router(_), Table::Conntrack))
            };
            setup.stands.iter().position(|stand| stand.is_machine && wanted(stand))
        };
        for table in Table::ALL {
            let mut risky = self.of(Class::AtRisk).filter(|fate| fate.table == table);
            if let Some(first) = risky.next() {
                let count = 1 + risky.count();
                let what = format!(
                    "{count} live {} of {} will be forgotten before an end says anything, the first in {}: {} → {}",
                    if count == 1 { "connection" } else { "connections" },
                    table.name(),
                    first.left.unwrap_or(Duration::ZERO).human(),
                    first.client,
                    first.server
                );
                let mut what = Found::new(Rule::FlowsAtRisk, Severity::Error, what).places([Origin::Text(first.at.clone())]);
                what.stand = stand(table);
                found.push(what);
            }
            let mut forgotten = self.of(Class::Forgotten).filter(|fate| fate.table == table);
            if let Some(first) = forgotten.next() {
                let count = 1 + forgotten.count();
                let what = format!(
                    "{count} established {} no entry in {}: {} → {}",
                    if count == 1 { "socket has" } else { "sockets have" },
                    table.name(),
                    first.client,
                    first.server
                );
                let mut what = Found::new(Rule::FlowsForgotten, Severity::Error, what).places([Origin::Text(first.at.clone())]);
                what.stand = stand(table);
                found.push(what);
            }
            let mut half = self.fates.iter().filter(|fate| {
                fate.table == table && fate.remark.starts_with("half-closed") && matches!(fate.class, Class::AtRisk | Class::Unknown)
            });
            if let Some(first) = half.next() {
                let count = 1 + half.count();
                let what = format!(
                    "{count} half-closed in {}, with live sockets: the first is forgotten in {}, in {}",
                    table.name(),
                    first.left.unwrap_or(Duration::ZERO).human(),
                    first.state
                );
                let mut what = Found::new(Rule::HalfClosed, Severity::Warning, what).places([Origin::Text(first.at.clone())]);
                what.stand = stand(table);
                found.push(what);
            }
        }
        let mut capped = self.fates.iter().filter(|fate| fate.capped);
        if let Some(first) = capped.next() {
            let count = 1 + capped.count();
            let index = stand(Table::Conntrack);
            let timers = index.and_then(|index| Some((setup.stands[index].established(), setup.stands[index].cap()?.1)));
            let (established, cap) = timers.unwrap_or((Duration::ZERO, Duration::ZERO));
            let what = format!(
                "{count} ESTABLISHED {} {} or less left, though the timer is {}: {} → {} has {}",
                if count == 1 { "entry has" } else { "entries have" },
                super::keepalive::told(cap),
                super::keepalive::told(established),
                first.client,
                first.server,
                first.left.unwrap_or(Duration::ZERO)
            );
            let mut what = Found::new(Rule::EntriesCapped, Severity::Info, what).places([Origin::Text(first.at.clone())]);
            what.stand = index;
            found.push(what);
        }
    }
}
