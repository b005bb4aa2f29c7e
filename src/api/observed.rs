//! What an observer that keeps a copy of the gate's facts reads: what has changed behind a place of the log, the whole states of
//! what changed, and the entries of the books.
//!
//! Events alone lack rates, exact costs and postings, and the log forgets. So a copy is made of states, which are read again
//! after each fact about them, and of the books' entries, whose pages are kept for good. Both are answered only when they are
//! durable ([`Views::only_durable`]).

use super::batches::{LineRow, batch_row, line_row, older_row};
use super::feed::{Event, Facts, events_of};
use super::paging::{Page, Paged};
use super::resources::{ChargerRow, charger};
use super::settled::BatchRow;
use super::views::{Unanswered, Views};
use crate::account::TopUp;
use crate::accounting::archive_record::ArchiveRecord;
use crate::accounting::pages;
use crate::billing::invoice::{self, Issued};
use crate::billing::reconciliation::register::{self, BatchKey};
use crate::journal::{ById, LogPosition};
use crate::limits::REPORTING_ENTRY_BYTES;
use crate::node::fact::Fact;
use crate::node::query::{self, AccountSummary, EntriesBehind, KeptBatches, SessionsFrom};
use crate::session::Session;
use crate::tariff::Tariff;
use crate::units::{AccountId, ChargerId, PartitionId, PaymentId, SessionId};
use std::collections::BTreeSet;
use std::sync::Arc;

pub use crate::node::query::{EntriesOfPage, EntryPlace, NewEntries};

/// What facts are about.
#[derive(Debug, Default)]
pub struct Changes {
    /// Sessions.
    pub sessions: BTreeSet<SessionId>,
    /// Top-ups.
    pub top_ups: BTreeSet<PaymentId>,
    /// Accounts.
    pub accounts: BTreeSet<AccountId>,
    /// Chargers.
    pub chargers: BTreeSet<ChargerId>,
    /// Settlement batches.
    pub batches: BTreeSet<BatchKey>,
    /// Whether any fact is about a processor.
    pub processors: bool,
    /// Documents that got their numbers.
    pub documents: Vec<Issued>,
    /// The events of these facts.
    pub events: Vec<Event>,
    /// Behind the last fact.
    pub next: LogPosition,
    /// Whether there may be more at once.
    pub more: bool,
}

/// Why the changes behind a place are not known.
#[derive(Debug, thiserror::Error)]
pub enum NoChanges {
    /// The log begins later than this place.
    #[error("the log begins later")]
    Trimmed,
    /// The log ends before this place: it is a place of another one, or of this one before a restore.
    #[error("the log ends at block {}, before block {}, up to which facts were taken in: the data was restored, or is another gate's", .end.block, .after.block)]
    Ahead {
        /// The place.
        after: LogPosition,
        /// Behind the last fact.
        end: LogPosition,
    },
    /// A fact cannot be read.
    #[error("the fact {sequence} of partition {partition} (block {}) cannot be read: {error}", .at.block)]
    Unreadable {
        /// Where it stands.
        at: LogPosition,
        /// Its partition.
        partition: u16,
        /// Its place there.
        sequence: u64,
        /// The reason.
        error: String,
    },
    /// It cannot be read now.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// A session, live or archived, with the tariff that prices it.
#[derive(Debug)]
pub struct WholeSession {
    /// Its state.
    pub session: Session,
    /// The tariff.
    pub tariff: Arc<Tariff>,
}

/// Sessions that were read, and those that cannot be.
#[derive(Debug, Default)]
pub struct WholeSessions {
    /// The sessions.
    pub sessions: Vec<WholeSession>,
    /// Archived ones whose entries cannot be read, with the reason.
    pub unreadable: Vec<(SessionId, String)>,
}

/// A settlement batch with its lines; of an older one only the totals.
#[derive(Clone, Debug)]
pub struct WholeBatch {
    /// The totals.
    pub row: BatchRow,
    /// Every line that is kept.
    pub lines: Vec<LineRow>,
}

/// A processor as its facts have it.
#[derive(Clone, Debug)]
pub struct KnownProcessor {
    /// Its id.
    pub id: String,
    /// Whether an operator gives it no new holds.
    pub is_drained: bool,
    /// Currencies that it declared, with spaces between.
    pub currencies: String,
}

impl Views {
    /// Where the newest fact stands; the beginning where no gate runs.
    pub fn log_end(&self) -> LogPosition {
        self.feed().map_or(LogPosition::default(), super::feed::Feed::log_end)
    }

    /// What the facts behind a place are about, of some thousand of them.
    ///
    /// # Errors
    /// [`NoChanges`].
    pub fn changes_behind(&self, after: LogPosition) -> Result<Changes, NoChanges> {
        let Some(feed) = self.feed() else { return Ok(Changes { next: after, ..Changes::default() }) };
        let end = feed.log_end();
        if after > end {
            return Err(NoChanges::Ahead { after, end });
        }
        let Facts::Some { facts, next, more } = feed.facts(after)? else { return Err(NoChanges::Trimmed) };
        let mut changes = Changes { next, more, ..Changes::default() };
        for kept in &facts {
            let fact = Fact::read(kept.record()).map_err(|error| NoChanges::Unreadable {
                at: kept.at,
                partition: kept.partition.0,
                sequence: kept.sequence.0,
                error: error.to_string(),
            })?;
            changes.events.extend(events_of(self, kept, &fact)?);
            changes.take(&fact);
        }
        Ok(changes)
    }

    /// These sessions, wherever they are.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn whole_sessions(&self, wanted: &[SessionId]) -> Result<WholeSessions, Unanswered> {
        let live = self.ask(query::SessionsNamed(wanted.to_vec()));
        let live = live.whole()?.into_iter().flatten();
        let sessions: Vec<WholeSession> =
            live.map(|live| WholeSession { session: live.session, tariff: live.tariff }).collect();
        let known: BTreeSet<SessionId> = sessions.iter().map(|whole| whole.session.id).collect();
        let mut found = WholeSessions { sessions, unreadable: Vec::new() };
        for id in wanted.iter().filter(|id| !known.contains(id)) {
            self.read_archived(*id, &mut found)?;
        }
        Ok(found)
    }

    /// The live sessions in some cells of a partition, and where the next ones begin.
    ///
    /// # Errors
    /// A shard did not answer in time.
    pub fn sessions_from(&self, from: SessionsFrom) -> Result<(Vec<WholeSession>, Option<u32>), Unanswered> {
        let Some(found) = self.ask_home(from.partition, from).found()? else { return Ok((Vec::new(), None)) };
        let sessions = found.sessions.into_iter();
        Ok((sessions.map(|live| WholeSession { session: live.session, tariff: live.tariff }).collect(), found.next))
    }

    /// The first archived sessions behind one, in the order of ids, and the last of them; none: there are no more.
    ///
    /// # Errors
    /// The archive cannot be read.
    pub fn archived_behind(
        &self,
        last: SessionId,
        most: usize,
    ) -> Result<(WholeSessions, Option<SessionId>), Unanswered> {
        let (mut found, mut reached) = (WholeSessions::default(), None);
        for id in self.archived_ids(Some(last), ById::OldestFirst).take(most) {
            let id = id?;
            self.read_archived(id, &mut found)?;
            reached = Some(id);
        }
        Ok((found, reached))
    }

    /// A session whose entry is damaged is named; the archive as a whole has to be readable.
    fn read_archived(&self, id: SessionId, found: &mut WholeSessions) -> Result<(), Unanswered> {
        let archived = match self.archived(id) {
            Ok(Some(archived)) => archived,
            Ok(None) => return Ok(()),
            Err(error @ Unanswered::Archived { .. }) if error.is_of_one_entry() => {
                found.unreadable.push((id, error.to_string()));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let ArchiveRecord { session, tariff, .. } = archived;
        match Tariff::parse_pinned(&tariff) {
            Ok(tariff) => found.sessions.push(WholeSession { session, tariff: Arc::new(tariff) }),
            Err(error) => found.unreadable.push((id, error.to_string())),
        }
        Ok(())
    }

    /// These top-ups, as far as they are kept.
    ///
    /// # Errors
    /// A shard did not answer in time.
    pub fn top_ups_named(&self, wanted: Vec<PaymentId>) -> Result<Vec<TopUp>, Unanswered> {
        Ok(self.ask(query::TopUpsNamed(wanted)).whole()?.into_iter().flatten().collect())
    }

    /// Top-ups in the order of their ids.
    ///
    /// # Errors
    /// A shard did not answer in time.
    pub fn top_ups(&self, page: &Page<PaymentId>) -> Result<Paged<PaymentId, TopUp>, Unanswered> {
        self.page_of(page, |part| query::TopUps { part }, |top_up| *top_up)
    }

    /// How an account stands.
    ///
    /// # Errors
    /// A shard did not answer in time.
    pub fn account_summary(&self, id: &AccountId) -> Result<Option<AccountSummary>, Unanswered> {
        let found = self.ask(query::AccountNamed(id.clone())).found()?;
        Ok(found.map(|sheet| sheet.summary))
    }

    /// How accounts stand, in the order of their ids.
    ///
    /// # Errors
    /// A shard did not answer in time.
    pub fn account_summaries(&self, page: &Page<String>) -> Result<Paged<String, AccountSummary>, Unanswered> {
        self.page_of(page, |part| query::Accounts { part }, |account| account)
    }

    /// These chargers, as far as they are known.
    ///
    /// # Errors
    /// A shard did not answer in time.
    pub fn chargers_named(&self, wanted: Vec<ChargerId>) -> Result<Vec<ChargerRow>, Unanswered> {
        let found = self.ask(query::ChargersNamed(wanted)).whole()?;
        Ok(found.into_iter().flatten().map(|(id, summary)| charger(&id, &summary)).collect())
    }

    /// Settlement batches that are wanted, with their lines.
    ///
    /// # Errors
    /// A shard did not answer in time.
    pub fn whole_batches(&self, wanted: impl Fn(&BatchKey) -> bool) -> Result<Vec<WholeBatch>, Unanswered> {
        let mut batches = Vec::new();
        for KeptBatches { older, kept } in self.ask(query::SettlementBatches).whole()?.into_iter().flatten() {
            let older = older.iter().filter(|(key, _)| wanted(key));
            batches.extend(older.map(|(key, older)| WholeBatch { row: older_row(key, older), lines: Vec::new() }));
            for (key, received, same_as) in kept.iter().filter(|(key, ..)| wanted(key)) {
                let mut lines = Vec::new();
                received.each(&mut |line, verdict| lines.push(line_row(line, verdict)));
                batches.push(WholeBatch { row: batch_row(key, received, same_as.as_deref()), lines });
            }
        }
        Ok(batches)
    }

    /// The processors that ever connected; none where no gate runs.
    pub fn known_processors(&self) -> Vec<KnownProcessor> {
        let Some(directory) = self.directory() else { return Vec::new() };
        let routes = directory.node_config().routing.routes();
        let known = routes.registry.processors.iter().map(|(id, known)| {
            let currencies = known.capabilities.currencies.iter().map(|currency| currency.code());
            KnownProcessor {
                id: id.to_string(),
                is_drained: routes.registry.drained.contains(id),
                currencies: currencies.collect::<Vec<_>>().join(" "),
            }
        });
        known.collect()
    }

    /// Documents whose numbers are given and not recorded by their sessions yet.
    ///
    /// # Errors
    /// A shard did not answer in time.
    pub fn unrecorded_documents(&self) -> Result<Vec<Issued>, Unanswered> {
        self.waiting(&self.given(|_| true)?)
    }

    /// The entries of each partition's books behind these places, as far as they are in memory.
    ///
    /// # Errors
    /// A shard did not answer in time.
    pub fn entries_behind(&self, places: &[(PartitionId, EntryPlace)]) -> Result<Vec<NewEntries>, Unanswered> {
        let asked = self.ask(EntriesBehind { places: places.to_vec(), bytes: REPORTING_ENTRY_BYTES });
        Ok(asked.whole()?.into_iter().flatten().collect())
    }

    /// The entries of an archived page of the books behind so many bytes of them.
    ///
    /// # Errors
    /// The archive cannot be read.
    pub fn archived_entries(
        &self,
        partition: PartitionId,
        place: EntryPlace,
    ) -> Result<Option<EntriesOfPage>, Unanswered> {
        let Some(archive) = self.archive() else { return Ok(None) };
        let Some(archived) = archive.get(pages::Page::id(partition, place.page))? else { return Ok(None) };
        let Some((_, page)) = pages::Page::from_bytes(&archived.archive_record) else { return Ok(None) };
        let end = EntryPlace { page: page.number, entries: page.entries, bytes: page.len() as u64 };
        let count = page.entries.saturating_sub(place.entries);
        Ok(Some(EntriesOfPage { end, count, is_full: true, bytes: page.behind(place.bytes).to_vec() }))
    }
}

impl Changes {
    fn take(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Session(id, _) => {
                self.sessions.insert(*id);
            }
            Fact::Charger(id, _) => {
                self.chargers.insert(id.clone());
            }
            Fact::Account(id, _) => {
                self.accounts.insert(id.clone());
            }
            Fact::TopUp(id, _) => {
                self.top_ups.insert(*id);
            }
            Fact::Billing(_, invoice::Event::Finalized { issued, .. }) => {
                self.sessions.insert(issued.document.id.payment().session());
                self.documents.push(Issued::clone(issued));
            }
            Fact::Settlement(event) => {
                self.batches.insert(match event {
                    register::Event::Received(part, _) => (part.processor.clone(), part.batch.clone()),
                    register::Event::Booked(booking) => (booking.processor.clone(), booking.batch.clone()),
                    register::Event::Expired(key) => key.clone(),
                    register::Event::RevertOrdered(order) => (order.processor.clone(), order.batch.clone()),
                    register::Event::Reverted(reversal) => (reversal.processor.clone(), reversal.batch.clone()),
                });
            }
            Fact::Processor(_) => self.processors = true,
            Fact::Billing(..) | Fact::TariffPinned(..) | Fact::Document(_) | Fact::Certificate(_) => {}
        }
    }
}
