//! Source of the views: the shards of a running gate, or those of a data directory that was opened for reading.
//!
//! A shard without an answer in time does not count as one that answered "not here": that is [`Unanswered`], and a
//! result is returned only as far as it does not depend on that shard.

use super::feed::Feed;
use super::kept_counts::KeptCounts;
use super::paging::{First, Page, Paged};
use super::reporting::ReportingDatabase;
use super::system::Machine;
use crate::accounting::archive_record::ArchiveRecord;
use crate::accounting::pages;
use crate::actors::Addr;
use crate::actors::directory::Directory;
use crate::actors::reply_table::Asker;
use crate::actors::shard_actor::{RunDurableQuery, RunQuery, ShardActor};
use crate::actors::snapshot_scheduler::SnapshotScheduler;
use crate::billing::BillingError;
use crate::host::wall_clock;
use crate::journal::{Archive, ById, Failure};
use crate::limits::LIST_PARTITIONS_AT_ONCE;
use crate::node::archiver::{self, Unread};
use crate::node::processor::Reach as _;
use crate::node::query::{self, Ask, Part, Rows};
use crate::node::shard::Shard;
use crate::tariff::TariffError;
use crate::units::{PartitionId, SessionId, Timestamp};
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Read access to shards and archive.
pub struct Views {
    shards: Shards,
    archive: Option<Arc<Archive>>,
    timeout: Duration,
    snapshot_scheduler: Option<Addr<SnapshotScheduler>>,
    feed: Option<Feed>,
    /// Answers have only what is durable.
    durable: bool,
    pub(super) reporting: Option<Arc<dyn ReportingDatabase>>,
    machine: Option<Machine>,
    counts: KeptCounts,
}

enum Shards {
    Running(Arc<Directory>),
    Opened(Mutex<Vec<Shard>>),
}

/// Reason why a request has no answer, or no complete one. Never that the requested item does not exist.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// A source that may have the item did not answer in time.
    #[error("{silent} of {of} {whom} did not answer in time; what they have is not known, ask again")]
    Silent {
        /// The kind of source, in the plural.
        whom: &'static str,
        /// How many did not answer.
        silent: usize,
        /// The number of sources.
        of: usize,
    },
    /// The archive cannot be read.
    #[error("the archive cannot be read: {0}")]
    Archive(#[from] Failure),
    /// The archive's entry of a session cannot be read.
    #[error("what the archive has of {session} cannot be read: {error}")]
    Archived {
        /// Which session.
        session: SessionId,
        /// The reason.
        error: Unread,
    },
    /// The tariff in it cannot be read.
    #[error("what the archive has of {session} has a tariff that cannot be read: {error}")]
    Tariff {
        /// Which session.
        session: SessionId,
        /// The reason.
        error: Box<TariffError>,
    },
    /// The figures of a session contradict each other, which is a defect.
    #[error(transparent)]
    Figures(#[from] BillingError),
}

/// Answers that were received.
#[derive(Debug)]
pub struct Gathered<T> {
    /// The answers, in the order of the sources.
    pub answers: Vec<T>,
    /// The kind of source, in the plural.
    pub whom: &'static str,
    /// The number of sources.
    pub of: usize,
}

impl Unanswered {
    /// Whether one entry of the archive is at fault, and the others can be read.
    pub(super) fn is_of_one_entry(&self) -> bool {
        matches!(self, Unanswered::Archived { error: Unread::Damaged(_) | Unread::ArchiveRecord(_), .. })
    }
}

impl<T> Gathered<T> {
    /// The answers of all; if one is missing, none.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn whole(self) -> Result<Vec<T>, Unanswered> {
        match self.silent() {
            0 => Ok(self.answers),
            silent => Err(Unanswered::Silent { whom: self.whom, silent, of: self.of }),
        }
    }

    /// How many did not answer.
    pub fn silent(&self) -> usize {
        self.of.saturating_sub(self.answers.len())
    }
}

impl<T> Gathered<Option<T>> {
    /// The item that one of them has. `None` only when all of them answered without it.
    ///
    /// # Errors
    /// A shard did not answer in time, or the archive cannot be read.
    pub fn found(mut self) -> Result<Option<T>, Unanswered> {
        match self.answers.iter_mut().find_map(Option::take) {
            Some(found) => Ok(Some(found)),
            None => self.whole().map(|_| None),
        }
    }
}

impl Views {
    /// Views of a running gate.
    pub fn running(directory: Arc<Directory>, archive: Option<Arc<Archive>>) -> Views {
        Views::of(Shards::Running(directory), archive)
    }

    /// Views of shards that were rebuilt from a data directory and run nothing.
    pub fn opened(shards: Vec<Shard>, archive: Option<Arc<Archive>>) -> Views {
        Views::of(Shards::Opened(Mutex::new(shards)), archive)
    }

    fn of(shards: Shards, archive: Option<Arc<Archive>>) -> Views {
        Views {
            shards,
            archive,
            timeout: TIMEOUT,
            snapshot_scheduler: None,
            feed: None,
            durable: false,
            reporting: None,
            machine: None,
            counts: KeptCounts::default(),
        }
    }

    /// The same, with another time-out than [`TIMEOUT`].
    pub fn with_timeout(self, timeout: Duration) -> Views {
        Views { timeout, ..self }
    }

    /// How long shards are waited for.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The same, with the scheduler that takes backups.
    pub fn backed_up_by(self, snapshot_scheduler: Addr<SnapshotScheduler>) -> Views {
        Views { snapshot_scheduler: Some(snapshot_scheduler), ..self }
    }

    /// The same, with the feed of what happens.
    pub fn followed_by(self, feed: Feed) -> Views {
        Views { feed: Some(feed), ..self }
    }

    /// The same, whose shards answer when all that they tell is durable: a copy of it is never ahead of the log.
    pub fn only_durable(self) -> Views {
        Views { durable: true, ..self }
    }

    /// The same, with a reporting database.
    pub fn reported_by(self, reporting: Option<Arc<dyn ReportingDatabase>>) -> Views {
        Views { reporting, ..self }
    }

    /// The same, with what the gate knows of itself beside its shards.
    pub fn on_machine(self, machine: Machine) -> Views {
        Views { machine: Some(machine), ..self }
    }

    /// What the gate knows of itself beside its shards; none where only data is read.
    pub(super) fn machine(&self) -> Option<&Machine> {
        self.machine.as_ref()
    }

    /// Counts that are kept.
    pub(super) fn counts(&self) -> &KeptCounts {
        &self.counts
    }

    /// The archive, to be shared with another thread; none where there is none.
    pub(super) fn shared_archive(&self) -> Option<&Arc<Archive>> {
        self.archive.as_ref()
    }

    /// The gate's time; where only data is read, the system's.
    pub(super) fn now(&self) -> Timestamp {
        self.directory().map_or_else(wall_clock, |directory| directory.now().wall)
    }

    /// The number of shards.
    pub(super) fn shard_count(&self) -> u16 {
        match &self.shards {
            Shards::Running(directory) => directory.node_config().shards,
            Shards::Opened(shards) => {
                u16::try_from(shards.lock().unwrap_or_else(PoisonError::into_inner).len()).unwrap_or(u16::MAX)
            }
        }
    }

    /// Asks one shard; none: it did not answer in time.
    pub(super) fn ask_shard<Q: Ask>(&self, index: u16, question: Q) -> Option<Q::Answer> {
        let index = usize::from(index);
        match &self.shards {
            Shards::Running(directory) => ask_these(directory, index..=index, self.wanted(), &question).pop(),
            Shards::Opened(shards) => {
                let shards = shards.lock().unwrap_or_else(PoisonError::into_inner);
                shards.get(index).map(|shard| question.answer(shard))
            }
        }
    }

    /// The feed of the running gate; none where only data is read.
    pub fn feed(&self) -> Option<&Feed> {
        self.feed.as_ref()
    }

    /// The scheduler that takes backups of the running gate.
    pub(super) fn snapshot_scheduler(&self) -> Option<&Addr<SnapshotScheduler>> {
        self.snapshot_scheduler.as_ref()
    }

    /// The archive; none where nothing is archived.
    pub(super) fn archive(&self) -> Option<&Archive> {
        self.archive.as_deref()
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> u16 {
        match &self.shards {
            Shards::Running(directory) => directory.node_config().partitions,
            Shards::Opened(shards) => {
                let shards = shards.lock().unwrap_or_else(PoisonError::into_inner);
                shards.first().map_or(0, |shard| shard.node_config().partitions)
            }
        }
    }

    /// The running gate's actors; none when only data is read.
    pub fn directory(&self) -> Option<&Arc<Directory>> {
        match &self.shards {
            Shards::Running(directory) => Some(directory),
            Shards::Opened(_) => None,
        }
    }

    /// Sends the same question to every shard.
    pub(super) fn ask<Q: Ask>(&self, question: Q) -> Gathered<Q::Answer> {
        match &self.shards {
            Shards::Running(directory) => {
                let answers = ask_these(directory, .., self.wanted(), &question);
                Gathered { answers, ..nothing_gathered(directory) }
            }
            Shards::Opened(shards) => {
                let shards = shards.lock().unwrap_or_else(PoisonError::into_inner);
                let answers = shards.iter().map(|shard| question.answer(shard)).collect();
                Gathered { answers, whom: SHARDS, of: shards.len() }
            }
        }
    }

    /// Whether each shard answers: how many do, and how many there are.
    pub fn awake(&self) -> Gathered<()> {
        self.ask(query::Alive)
    }

    /// The first of a list behind a place, from every shard: at most one item more than the page has, in order. Shards look
    /// through a few partitions at a time and do other work in between.
    pub(super) fn first<K, T, Q>(
        &self,
        page: &Page<K>,
        question: impl Fn(Part<K>) -> Q,
    ) -> Result<Vec<(K, T)>, Unanswered>
    where
        K: Ord + Clone,
        Q: Ask<Answer = Rows<K, T>>,
    {
        let mut first = First::behind(page.after.clone(), page.limit);
        let (mut from, mut all) = (0, usize::MAX);
        while from < all {
            let found = self.ask(question(Part { page: page.clone(), from }));
            all = 0;
            for Rows { partitions, rows } in found.whole()? {
                all = all.max(partitions);
                rows.into_iter().for_each(|(key, row)| first.offer(key, row));
            }
            from = from.saturating_add(LIST_PARTITIONS_AT_ONCE);
        }
        Ok(first.into_sorted())
    }

    /// A page of a list of what shards have, each item as a row.
    pub(super) fn page_of<K, T, Q, R>(
        &self,
        page: &Page<K>,
        question: impl Fn(Part<K>) -> Q,
        row: impl Fn(T) -> R,
    ) -> Result<Paged<K, R>, Unanswered>
    where
        K: Ord + Clone,
        Q: Ask<Answer = Rows<K, T>>,
    {
        let rows = self.first(page, question)?.into_iter().map(|(key, item)| (key, row(item)));
        Ok(Paged::cut(rows.collect(), page.limit, None))
    }

    /// Asks the shard that runs a partition.
    pub(super) fn ask_home<Q: Ask>(&self, partition: PartitionId, question: Q) -> Gathered<Q::Answer> {
        let Shards::Running(directory) = &self.shards else { return self.ask(question) };
        let Some(home) = directory.node_config().shard_of(partition).map(usize::from) else {
            return Gathered { answers: Vec::new(), whom: SHARDS, of: 0 };
        };
        Gathered { answers: ask_these(directory, home..=home, self.wanted(), &question), whom: SHARDS, of: 1 }
    }

    fn wanted(&self) -> Wanted {
        Wanted { timeout: self.timeout, durable: self.durable }
    }

    /// An archived session.
    pub(super) fn archived(&self, session: SessionId) -> Result<Option<ArchiveRecord>, Unanswered> {
        let Some(archive) = &self.archive else { return Ok(None) };
        archiver::read(archive, session).map_err(|error| Unanswered::Archived { session, error })
    }

    /// A page of the books in the archive.
    pub(super) fn archived_page(&self, partition: PartitionId, number: u64) -> Result<Option<pages::Page>, Unanswered> {
        let Some(archive) = &self.archive else { return Ok(None) };
        let found = archive.get(pages::Page::id(partition, number))?;
        Ok(found.and_then(|archived| pages::Page::from_bytes(&archived.archive_record)).map(|(_, page)| page))
    }

    /// The receipt of an archived session, as it was signed.
    ///
    /// # Errors
    /// The archive cannot be read.
    pub fn receipt(&self, session: SessionId) -> Result<Option<String>, Unanswered> {
        Ok(self.archived(session)?.and_then(|archived| archived.receipt))
    }

    /// The ids of archived sessions behind one of them, in this order; none without an archive.
    pub(super) fn archived_ids(
        &self,
        behind: Option<SessionId>,
        order: ById,
    ) -> impl Iterator<Item = Result<SessionId, Unanswered>> {
        let ids = self.archive.iter().flat_map(move |archive| archive.ids(behind, order));
        ids.filter(|id| !id.as_ref().is_ok_and(|id| pages::Page::is_id(*id))).map(|id| id.map_err(Unanswered::Archive))
    }

    /// Visits the archived sessions that were settled from a moment on, until the visitor returns false.
    pub(super) fn each_archived(
        &self,
        from: Timestamp,
        visit: &mut dyn FnMut(ArchiveRecord) -> bool,
    ) -> Result<(), Unanswered> {
        self.each_entry(from, &mut |entry| match entry {
            Entry::Session(archive_record) => visit(*archive_record),
            Entry::Page(..) => true,
        })
    }

    /// Shows the pages of the books that were put away.
    pub(super) fn each_page(&self, visit: &mut dyn FnMut(PartitionId, pages::Page)) -> Result<(), Unanswered> {
        self.each_entry(Timestamp::from_unix_ms(i64::MIN), &mut |entry| {
            if let Entry::Page(partition, page) = entry {
                visit(partition, *page);
            }
            true
        })
    }

    /// An entry that is neither a session nor a page of the books is an error: a list without it would only look
    /// complete.
    fn each_entry(&self, from: Timestamp, visit: &mut dyn FnMut(Entry) -> bool) -> Result<(), Unanswered> {
        let Some(archive) = &self.archive else { return Ok(()) };
        let mut unread = None;
        archive.range(from, Timestamp::from_unix_ms(i64::MAX), &mut |archived| {
            if let Some((partition, page)) = pages::Page::from_bytes(&archived.archive_record) {
                return visit(Entry::Page(partition, Box::new(page)));
            }
            match ArchiveRecord::from_bytes(&archived.archive_record) {
                Ok(archive_record) => visit(Entry::Session(Box::new(archive_record))),
                Err(error) => {
                    unread = Some(Unanswered::Archived { session: archived.session, error: error.into() });
                    false
                }
            }
        })?;
        unread.map_or(Ok(()), Err)
    }
}

/// An entry of the archive.
enum Entry {
    Session(Box<ArchiveRecord>),
    Page(PartitionId, Box<pages::Page>),
}

/// How long a question waits for the shards' answers.
pub const TIMEOUT: Duration = Duration::from_secs(30);

const SHARDS: &str = "shards";

/// Sends the same question to every shard, all at the same time.
pub fn ask_all<Q: Ask>(directory: &Directory, question: &Q) -> Gathered<Q::Answer> {
    let wanted = Wanted { timeout: TIMEOUT, durable: false };
    Gathered { answers: ask_these(directory, .., wanted, question), ..nothing_gathered(directory) }
}

/// No answers yet.
fn nothing_gathered<T>(directory: &Directory) -> Gathered<T> {
    Gathered { answers: Vec::new(), whom: SHARDS, of: usize::from(directory.node_config().shards) }
}

/// How a question is answered.
#[derive(Clone, Copy)]
struct Wanted {
    timeout: Duration,
    durable: bool,
}

/// A shard that is not open, or with a full mailbox, has not received the question, and counts as one without an answer.
fn ask_these<Q: Ask>(
    directory: &Directory,
    which: impl RangeBounds<usize>,
    wanted: Wanted,
    question: &Q,
) -> Vec<Q::Answer> {
    let places = directory.places();
    let shards = places.shards().iter().enumerate().filter(|(index, _)| which.contains(index));
    let ask = |shard: &Addr<ShardActor>| -> Option<Asker<query::Answer>> {
        let asker = directory.replies().asker(wanted.timeout).ok()?;
        let (query, to) = (question.clone().into(), asker.to());
        if wanted.durable {
            shard.try_send(RunDurableQuery(query, to)).ok()?;
        } else {
            shard.try_send(RunQuery(query, to)).ok()?;
        }
        Some(asker)
    };
    // All are asked before the first answer is waited for.
    let asked: Vec<_> = shards.filter_map(|(_, place)| ask(place.here()?)).collect();
    asked.into_iter().filter_map(|asker| asker.wait().ok().and_then(Q::of)).collect()
}
