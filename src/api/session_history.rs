//! What a session left in the books, and the events that observers got of it.
//!
//! The entries of a partition stand on pages in the order of time, most of them in the archive. A session's own history has the
//! times at which its money moved, so the pages with its entries are found without reading the others.

use super::feed::{Event, told_by_session};
use super::paging::{Page, Paged};
use super::views::{Unanswered, Views};
use crate::accounting::pages;
use crate::ledger::{Entry, Side};
use crate::node::query;
use crate::session::Session;
use crate::units::shape::described;
use crate::units::{PartitionId, SessionId, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

described! {
/// An entry of the books. Money in major units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRow {
    /// Its id.
    pub id: String,
    /// When, by its fact.
    pub at: String,
    /// What it books.
    pub kind: String,
    /// Its lines, of which debits equal credits.
    pub legs: Vec<LegRow>,
}
}

described! {
/// A line of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegRow {
    /// The account of the books.
    pub account: String,
    /// What is debited.
    pub debit: Option<Decimal>,
    /// What is credited.
    pub credit: Option<Decimal>,
    /// The currency.
    pub currency: String,
}
}

impl Views {
    /// The entries that follow from a session's facts, in the order of time; none: there is no such session. What follows from
    /// facts of an account or of settlement is not among them.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn session_entries(&self, id: SessionId, page: &Page<u64>) -> Result<Option<Paged<u64, EntryRow>>, Unanswered> {
        let Some(session) = self.state(id)? else { return Ok(None) };
        let entries = self.entries_of(&session)?;
        let rows = (0..).zip(&entries).filter(|(place, _)| page.after.is_none_or(|after| *place > after));
        let rows = rows.take(page.limit.saturating_add(1)).map(|(place, entry)| (place, row(entry)));
        Ok(Some(Paged::cut(rows.collect(), page.limit, None)))
    }

    /// The events of a session that its state still tells, in the order of time, under the ids with which they were sent; none:
    /// there is no such session.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn session_events(&self, id: SessionId, page: &Page<u64>) -> Result<Option<Paged<u64, Event>>, Unanswered> {
        let Some(session) = self.state(id)? else { return Ok(None) };
        let mut events = told_by_session(&session, Timestamp::from_unix_ms(i64::MIN));
        events.sort_by(|a, b| a.at.cmp(&b.at));
        let rows = (0..).zip(events).filter(|(place, _)| page.after.is_none_or(|after| *place > after));
        Ok(Some(Paged::cut(rows.take(page.limit.saturating_add(1)).collect(), page.limit, None)))
    }

    fn entries_of(&self, session: &Session) -> Result<Vec<Entry>, Unanswered> {
        let partition = session.id.partition();
        let mut pages: BTreeMap<u64, pages::Page> = BTreeMap::new();
        // Those in memory first: one that is archived meanwhile is then seen twice, and never not at all.
        for live in self.ask_home(partition, query::PagesOf(partition)).whole()?.into_iter().flatten() {
            pages.insert(live.number, live);
        }
        let archived = pages.keys().next().copied().unwrap_or_default();
        let mut numbers = BTreeSet::new();
        for at in moments(session) {
            let place = self.page_at(partition, at, archived)?;
            // Dates of neighbours overlap a little: facts of several peers come in any order.
            numbers.extend(place.saturating_sub(1)..=place.saturating_add(1));
        }
        for number in numbers.into_iter().filter(|number| *number < archived) {
            pages.extend(self.archived_page(partition, number)?.map(|page| (number, page)));
        }
        let entries = pages.values().flat_map(pages::Page::entries);
        Ok(entries.filter(|entry| entry.id().cause.payment() == session.id.payment()).collect())
    }

    /// The first of so many archived pages that reaches to a moment.
    fn page_at(&self, partition: PartitionId, at: Timestamp, count: u64) -> Result<u64, Unanswered> {
        let (mut from, mut to) = (0, count);
        while from < to {
            let middle = from + (to - from) / 2;
            match self.archived_page(partition, middle)? {
                Some(page) if page.last_at >= at => to = middle,
                _ => from = middle + 1,
            }
        }
        Ok(from)
    }
}

/// When something of a session's money moved.
fn moments(session: &Session) -> BTreeSet<Timestamp> {
    let history = session.payment.history().map(|entry| entry.at);
    let ended = session.ended().map(|ended| ended.known_at);
    history.chain(ended).chain(session.settled_at()).collect()
}

fn row(entry: &Entry) -> EntryRow {
    let leg = |leg: &crate::ledger::Leg| {
        let amount = Some(leg.amount.major());
        let (debit, credit) = if leg.side == Side::Debit { (amount, None) } else { (None, amount) };
        LegRow { account: leg.account.to_string(), debit, credit, currency: leg.amount.currency.code().to_owned() }
    };
    EntryRow {
        id: entry.id().to_string(),
        at: entry.at().to_string(),
        kind: entry.kind().to_string(),
        legs: entry.legs().iter().map(leg).collect(),
    }
}
