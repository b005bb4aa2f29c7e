//! Certificates that expire soon: a fact for each of them when it has 30, 14, 7 and 1 days left, and when it has expired.
//!
//! The certificates are the gate's own, its authorities, revocation lists, and those of connected peers. A partition remembers of
//! which it has warned, by name and end, so that no warning comes twice and none is missing after a restart.

use super::delivery::Delivery;
use super::partition::Partition;
use crate::journal::RecordKind;
use crate::limits::CERTIFICATES_EXPIRING;
use crate::stored::{Stored, stored};
use crate::units::{TimeSpan, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Days before the end of a certificate at which a fact is recorded; 0: it has expired.
const DAYS: [u16; 5] = [0, 1, 7, 14, 30];
const DAY_MS: i64 = 86_400_000;

/// A certificate that ends soon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndsSoon {
    /// What it is, or whose.
    pub name: Box<str>,
    /// When it expires.
    pub not_after: Timestamp,
    /// It has no more than so many days left: one of 30, 14, 7, 1 and 0.
    pub days: u16,
}

impl EndsSoon {
    /// A certificate at a moment, if its end is near then: it has few days left, and less than half of its life. The end of
    /// something without a beginning is near on its last day.
    pub fn at(now: Timestamp, name: &str, not_before: Option<Timestamp>, not_after: Timestamp) -> Option<EndsSoon> {
        let left = not_after.since(now).ms();
        let near = not_before.map_or(DAY_MS, |not_before| not_after.since(not_before).ms() / 2);
        let days = DAYS.into_iter().find(|days| left <= i64::from(*days) * DAY_MS && left <= near)?;
        Some(EndsSoon { name: name.into(), not_after, days })
    }
}

/// Certificates that end before this time end soon.
pub fn first_mark(now: Timestamp) -> Timestamp {
    now.saturating_add(TimeSpan::from_ms(i64::from(DAYS[DAYS.len() - 1]) * DAY_MS))
}

/// A fact about a certificate. The numbers below are stored, and no other fact ever gets one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It has no more than so many days left.
    Expiring {
        /// What it is, or whose.
        name: Box<str>,
        /// When it expires.
        not_after: Timestamp,
        /// The days; 0: it has expired.
        days: u16,
        /// When that was noted.
        at: Timestamp,
    },
}

stored!(enum Event { 0: Expiring { 0: name, 1: not_after, 2: days, 3: at } });

/// Certificates of which a partition has recorded that they expire soon: by name and end, how many days were left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expiring(BTreeMap<(Box<str>, Timestamp), u16>);

stored!(struct Expiring(value));

impl Expiring {
    /// Decides whether the end of a certificate is to be recorded now.
    pub fn decide(&self, soon: &EndsSoon, at: Timestamp) -> Option<Event> {
        let EndsSoon { name, not_after, days } = soon;
        let is_known = self.0.get(&(name.clone(), *not_after)).is_some_and(|recorded| recorded <= days);
        (!is_known).then(|| Event::Expiring { name: name.clone(), not_after: *not_after, days: *days, at })
    }

    /// Applies a fact. Of too many certificates the one is forgotten that ends first.
    pub fn apply(&mut self, event: &Event) {
        let Event::Expiring { name, not_after, days, at: _ } = event;
        let key = (name.clone(), *not_after);
        if self.0.len() >= CERTIFICATES_EXPIRING
            && !self.0.contains_key(&key)
            && let Some(first) = self.0.keys().min_by_key(|(_, not_after)| *not_after).cloned()
        {
            self.0.remove(&first);
        }
        self.0.insert(key, *days);
    }
}

/// A certificate in use ends soon.
pub(super) fn seen(delivery: &mut Delivery<'_>, partition: &mut Partition, soon: &EndsSoon) {
    if let Some(event) = partition.expiring.decide(soon, delivery.now.wall) {
        let EndsSoon { name, not_after, days } = soon;
        tracing::warn!(certificate = %name, %not_after, days, "a certificate expires soon: renew it");
        delivery.permit.append(partition.id, RecordKind::CertificateEvent, |bytes| event.store(bytes));
        partition.expiring.apply(&event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: i64) -> Timestamp {
        Timestamp::default().saturating_add(TimeSpan::from_secs(number * 86_400))
    }

    #[test]
    fn each_mark_is_recorded_once_and_a_renewal_begins_anew() {
        let mut known = Expiring::default();
        let mut days = |ends: i64, today: i64| {
            let soon = EndsSoon::at(day(today), "charger/AMS-0007", Some(day(ends - 90)), day(ends))?;
            known.decide(&soon, day(today)).map(|event| {
                known.apply(&event);
                let Event::Expiring { days, .. } = event;
                days
            })
        };
        assert_eq!(days(100, 69), None);
        assert_eq!([70, 71, 86, 86].map(|today| days(100, today)), [Some(30), None, Some(14), None]);
        assert_eq!(days(100, 99), Some(1), "a mark that passed while the gate was away is not caught up with");
        assert_eq!([101, 102].map(|today| days(100, today)), [Some(0), None]);
        assert_eq!([102, 171].map(|today| days(200, today)), [None, Some(30)]);
        assert_eq!(days(100, 171), None, "the old one is still known beside it");
    }

    #[test]
    fn what_is_renewed_often_is_not_always_near_its_end() {
        let days = |begins: Option<i64>, today: i64| {
            EndsSoon::at(day(today), "list", begins.map(day), day(30)).map(|soon| soon.days)
        };
        assert_eq!([0, 14, 15, 16, 29].map(|today| days(Some(0), today)), [None, None, Some(30), Some(14), Some(1)]);
        assert_eq!([16, 28, 29, 31].map(|today| days(None, today)), [None, None, Some(1), Some(0)]);
    }

    #[test]
    fn their_number_is_bounded() {
        let mut known = Expiring::default();
        for number in 0..i64::try_from(CERTIFICATES_EXPIRING).unwrap() + 10 {
            let soon = EndsSoon::at(day(number), &format!("charger/{number}"), None, day(number)).unwrap();
            known.apply(&known.decide(&soon, day(number)).unwrap());
        }
        assert_eq!(known.0.len(), CERTIFICATES_EXPIRING);
        assert!(!known.0.contains_key(&("charger/3".into(), day(3))));
    }
}
