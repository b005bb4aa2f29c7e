//! The thread of the reporting database: pulls what changed, writes it, and waits.

use super::batch::Batch;
use super::fill;
use super::progress::{Found, Progress, Stage, put_place};
use super::rows;
use super::store::{self, Store, StoreError};
use crate::accounting::pages::read_entries;
use crate::api::feed::{OVERLAP, gap};
use crate::api::observed::{EntriesOfPage, EntryPlace, NewEntries, NoChanges};
use crate::api::{ReportingDatabase, ReportingStatus, Unanswered, Views};
use crate::config::reporting_url::ReportingUrl;
use crate::journal::LogPosition;
use crate::limits::{REPORTING_PAGES, REPORTING_SESSIONS};
use crate::metrics::{REPORTING_LAG, REPORTING_ROWS};
use crate::units::{Clock, PartitionId, SessionId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How long the thread waits for a new fact before it looks whether it is still wanted.
const WAIT: Duration = Duration::from_millis(500);
/// Between two transactions while facts keep coming, so that each has many of them.
const GATHER: Duration = Duration::from_millis(100);
/// The shortest and the longest pause before a database that failed is tried again.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(15);
/// After a step that has more behind it the thread rests as long as it took, and no longer than this: it takes half a core
/// at most.
const REST_MAX: Duration = Duration::from_millis(100);
/// How long an end of the gate waits for a transaction that is under way.
const END: Duration = Duration::from_secs(5);

/// A reporting database beside a running gate.
pub struct Reporting {
    shared: Arc<Shared>,
    /// Whose facts are taken in: what is behind them is known at every question, not only after a step.
    views: Arc<Views>,
    ended: Mutex<mpsc::Receiver<()>>,
}

struct Shared {
    url: ReportingUrl,
    status: Mutex<Standing>,
    wake: Condvar,
    stopping: AtomicBool,
    rebuild: AtomicBool,
}

struct Standing {
    status: ReportingStatus,
    /// When it last had every fact, since it was last made anew.
    current_at: Option<Instant>,
    /// The place in the log up to which facts are taken in.
    reached: Option<LogPosition>,
}

impl Standing {
    /// The status where the log ends here: a fact may have come since the last step.
    fn at(&self, log_end: LogPosition) -> ReportingStatus {
        let is_current = self.status.is_current && self.reached >= Some(log_end);
        let lag = self.current_at.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
        ReportingStatus { is_current, lag_ms: if is_current { Some(0) } else { lag }, ..self.status.clone() }
    }

    /// It has nothing any more: how long ago it had every fact says nothing of what it will have.
    fn begin_anew(&mut self) {
        (self.status.is_current, self.current_at) = (false, None);
    }
}

/// Why a step did not come to its end.
enum Fault {
    /// The database: it is opened again.
    Store(StoreError),
    /// The gate does not answer now.
    Gate(Unanswered),
    /// Only an operator can help.
    Stop(String),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        Fault::Store(error)
    }
}

impl From<Unanswered> for Fault {
    fn from(error: Unanswered) -> Fault {
        Fault::Gate(error)
    }
}

const REBUILD: &str = "`wattstile reporting rebuild` makes the database anew";

impl Reporting {
    /// Starts the thread. The views are those of a running gate with its feed; they tell what is durable only.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(url: ReportingUrl, views: Views, clock: Arc<dyn Clock>) -> io::Result<Reporting> {
        let shared = Arc::new(Shared::new(url));
        let (ends, ended) = mpsc::channel();
        let views = Arc::new(views.only_durable());
        let projector = Projector { shared: shared.clone(), views: views.clone(), clock, places: BTreeMap::new() };
        std::thread::Builder::new().name("reporting".to_owned()).spawn(move || {
            projector.run();
            // The gate may have ended; ignoring the send error is correct.
            let _ = ends.send(());
        })?;
        Ok(Reporting { shared, views, ended: Mutex::new(ended) })
    }

    /// Ends the thread. What it has not taken in by then it takes in after the next start.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake.notify_all();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(END);
    }
}

impl ReportingDatabase for Reporting {
    fn status(&self) -> ReportingStatus {
        self.shared.standing().at(self.views.log_end())
    }

    fn rebuild(&self) {
        self.shared.rebuild.store(true, Ordering::Release);
        self.shared.standing().begin_anew();
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn new(url: ReportingUrl) -> Shared {
        let (database, state) = (Some(url.to_string()), "connecting".to_owned());
        let status = ReportingStatus { database, state, ..ReportingStatus::off() };
        Shared {
            url,
            status: Mutex::new(Standing { status, current_at: None, reached: None }),
            wake: Condvar::new(),
            stopping: AtomicBool::new(false),
            rebuild: AtomicBool::new(false),
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits, unless the thread is to end or an order came.
    fn pause(&self, pause: Duration) {
        let standing = self.standing();
        let waits = |_: &mut Standing| !self.is_stopping() && !self.rebuild.load(Ordering::Acquire);
        drop(self.wake.wait_timeout_while(standing, pause, waits));
    }
}

/// What the thread works with.
struct Projector {
    shared: Arc<Shared>,
    views: Arc<Views>,
    /// The gate's, by which its facts are dated.
    clock: Arc<dyn Clock>,
    /// How far the entries of each partition are taken in.
    places: BTreeMap<PartitionId, EntryPlace>,
}

/// A database that is open, and how far it has come.
struct Opened {
    store: Box<dyn Store>,
    progress: Progress,
}

impl Projector {
    fn run(mut self) {
        let (mut opened, mut retry) = (None, RETRY_MIN);
        while !self.shared.is_stopping() {
            match self.turn(&mut opened) {
                Ok(()) => retry = RETRY_MIN,
                Err(Fault::Store(error)) => {
                    opened = None;
                    self.fail(Some("connecting"), &format!("{}: {error}", self.shared.url), retry == RETRY_MIN);
                    self.shared.pause(retry);
                    retry = (retry * 2).min(RETRY_MAX);
                }
                Err(Fault::Gate(error)) => {
                    self.fail(None, &error.to_string(), retry == RETRY_MIN);
                    self.shared.pause(retry);
                    retry = (retry * 2).min(RETRY_MAX);
                }
                Err(Fault::Stop(why)) => {
                    self.fail(Some("stopped"), &format!("{why}; {REBUILD}"), true);
                    while !self.shared.is_stopping() && !self.shared.rebuild.load(Ordering::Acquire) {
                        self.shared.pause(Duration::from_secs(3_600));
                    }
                }
            }
        }
    }

    fn fail(&self, state: Option<&str>, fault: &str, is_news: bool) {
        {
            let mut standing = self.shared.standing();
            if let Some(state) = state {
                standing.status.state = state.to_owned();
            }
            standing.status.fault = Some(fault.to_owned());
            standing.status.is_current = false;
        }
        self.report_lag();
        match state {
            Some("stopped") => tracing::error!(fault, "the reporting database cannot go on"),
            _ if is_news => tracing::warn!(fault, "the reporting database is behind, and is tried again"),
            _ => {}
        }
    }

    fn report_lag(&self) {
        let standing = self.shared.standing();
        let lag =
            if standing.status.is_current { Some(Duration::ZERO) } else { standing.current_at.map(|at| at.elapsed()) };
        REPORTING_LAG.gauge(&[]).set(lag.unwrap_or_default().as_secs_f64());
    }

    /// Opens the database where it is not, carries an order out, and takes the next part in.
    fn turn(&mut self, opened: &mut Option<Opened>) -> Result<(), Fault> {
        let mut current = match opened.take() {
            Some(current) => current,
            None => self.open()?,
        };
        if self.shared.rebuild.swap(false, Ordering::AcqRel) {
            tracing::info!(database = %self.shared.url, "the reporting database is made anew");
            let reset = self.reset(&mut current.store);
            if reset.is_err() {
                self.shared.rebuild.store(true, Ordering::Release);
            }
            current.progress = reset?;
        }
        let begun = Instant::now();
        let more = self.step(&mut current)?;
        self.report_lag();
        let position = current.progress.position();
        *opened = Some(current);
        if more {
            self.shared.pause(begun.elapsed().min(REST_MAX));
        } else {
            self.shared.pause(GATHER);
            if let Some(feed) = self.views.feed() {
                feed.wait_behind(position, WAIT);
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<Opened, Fault> {
        let mut store = store::open(&self.shared.url)?;
        // An order stands over whatever is there.
        let found =
            if self.shared.rebuild.load(Ordering::Acquire) { Found::Nothing } else { Progress::find(store.as_mut())? };
        let progress = match found {
            Found::Progress(progress, places) => {
                self.places = places;
                progress
            }
            Found::OtherSchema(version) => {
                return Err(Fault::Stop(format!("{} has tables of another version ({version})", self.shared.url)));
            }
            Found::Nothing => {
                let progress = self.reset(&mut store)?;
                self.shared.rebuild.store(false, Ordering::Release);
                progress
            }
        };
        tracing::info!(database = %self.shared.url, block = progress.block, "the reporting database is open");
        Ok(Opened { store, progress })
    }

    fn now(&self) -> i64 {
        self.clock.now().wall.unix_ms()
    }

    /// Empty tables, and the beginning of a filling.
    fn reset(&mut self, store: &mut Box<dyn Store>) -> Result<Progress, Fault> {
        store.reset()?;
        self.places.clear();
        let progress = Progress::filling(self.views.log_end(), self.now(), None);
        let mut batch = Batch::default();
        progress.put(&mut batch);
        store.write(&batch)?;
        Ok(progress)
    }

    /// Takes the next part in. Returns whether there may be more at once.
    fn step(&mut self, Opened { store, progress }: &mut Opened) -> Result<bool, Fault> {
        let (looked, now) = (Instant::now(), self.now());
        let mut batch = Batch::default();
        let mut next = progress.clone();
        let (mut unreadable, mut sessions) = (0, BTreeSet::new());
        let (mut more, mut is_current) = (true, false);
        // Before the entries, which then are no older than the facts.
        if progress.stage == Stage::Following {
            match self.views.changes_behind(progress.position()) {
                Ok(changes) => {
                    more = changes.more;
                    is_current = !changes.more;
                    (next.block, next.index, next.at) = (changes.next.block, changes.next.index, now);
                    sessions.extend(changes.sessions.iter().copied());
                    self.take_changes(&mut batch, changes)?;
                }
                Err(NoChanges::Trimmed) => {
                    next = Progress::filling(self.views.log_end(), now, Some(progress.at.saturating_add(OVERLAP.ms())));
                    let before = Timestamp::from_unix_ms(now);
                    rows::event(&mut batch, gap(before));
                    tracing::warn!(
                        since = %Timestamp::from_unix_ms(progress.at),
                        "the log reaches back less far than the reporting database: it is filled from what is there"
                    );
                }
                Err(NoChanges::Unanswered(error)) => return Err(error.into()),
                Err(error @ (NoChanges::Ahead { .. } | NoChanges::Unreadable { .. })) => {
                    return Err(Fault::Stop(error.to_string()));
                }
            }
        } else {
            let (stage, damaged) = fill::step(&self.views, progress, &mut batch)?;
            (next.stage, unreadable) = (stage, damaged);
        }
        let (places, posted) = self.take_entries(&mut batch)?;
        // A filling after an absence does not read old sessions, but those of which money moved.
        if progress.since.is_some() && progress.stage != Stage::Following {
            let oldest = fill::oldest(progress);
            sessions.extend(posted.into_iter().filter(|session| *session < oldest));
        }
        let sessions: Vec<SessionId> = sessions.into_iter().collect();
        for chunk in sessions.chunks(REPORTING_SESSIONS) {
            unreadable += fill::take_states(&mut batch, &self.views.whole_sessions(chunk)?);
        }
        if !batch.is_empty() || next != *progress {
            next.put(&mut batch);
            store.write(&batch)?;
            self.places.extend(places);
            REPORTING_ROWS.counter(&[]).increment(batch.len() as u64);
        }
        *progress = next;
        let mut standing = self.shared.standing();
        // What it has is thrown away with the next step, where that is ordered.
        let is_current = is_current && !self.shared.rebuild.load(Ordering::Acquire);
        if is_current {
            standing.current_at = Some(looked);
        }
        standing.reached = Some(progress.position());
        let is_filling = progress.stage != Stage::Following;
        let status = &mut standing.status;
        status.state = if is_filling { "filling" } else { "following" }.to_owned();
        status.is_current = is_current;
        status.block = Some(progress.block);
        status.transactions += 1;
        status.rows += batch.len() as u64;
        status.unreadable += unreadable;
        status.fault = None;
        Ok(more)
    }

    /// Whether every entry of the books is taken in.
    fn is_level(&self) -> Result<bool, Fault> {
        let known: Vec<(PartitionId, EntryPlace)> = self.places.iter().map(|(id, place)| (*id, *place)).collect();
        Ok(self.views.entries_behind(&known)?.is_empty())
    }

    /// Adds the rows of what facts are about, but for sessions.
    fn take_changes(&self, batch: &mut Batch, changes: crate::api::observed::Changes) -> Result<(), Fault> {
        changes.events.into_iter().for_each(|event| rows::event(batch, event));
        changes.documents.iter().for_each(|issued| rows::document(batch, issued));
        if !changes.top_ups.is_empty() {
            let found = self.views.top_ups_named(changes.top_ups.into_iter().collect())?;
            found.iter().for_each(|top_up| rows::top_up(batch, top_up));
        }
        for account in &changes.accounts {
            if let Some(summary) = self.views.account_summary(account)? {
                rows::account(batch, &summary);
            }
        }
        if !changes.chargers.is_empty() {
            let found = self.views.chargers_named(changes.chargers.into_iter().collect())?;
            found.into_iter().for_each(|charger| rows::charger(batch, charger));
        }
        if !changes.batches.is_empty() {
            let found = self.views.whole_batches(|key| changes.batches.contains(key))?;
            found.into_iter().for_each(|settled| rows::settlement(batch, settled));
        }
        if changes.processors {
            self.views.known_processors().into_iter().for_each(|processor| rows::processor(batch, processor));
        }
        Ok(())
    }

    /// Adds the entries of the books behind those that were taken in. Returns the places behind them, and whose they are.
    fn take_entries(
        &self,
        batch: &mut Batch,
    ) -> Result<(BTreeMap<PartitionId, EntryPlace>, BTreeSet<SessionId>), Fault> {
        let known: Vec<(PartitionId, EntryPlace)> = self.places.iter().map(|(id, place)| (*id, *place)).collect();
        let (mut places, mut owners) = (BTreeMap::new(), BTreeSet::new());
        let mut archived = 0;
        for NewEntries { partition, first, is_ahead, entries, .. } in self.views.entries_behind(&known)? {
            let mut place = self.places.get(&partition).copied().unwrap_or_default();
            if is_ahead {
                let why = format!(
                    "the books of partition {} end before page {}, up to which they were taken in: the data was restored, or \
                     is another gate's",
                    partition.0, place.page
                );
                return Err(Fault::Stop(why));
            }
            while place.page < first && archived < REPORTING_PAGES {
                archived += 1;
                let Some(page) = self.views.archived_entries(partition, place)? else {
                    return Err(Fault::Stop(format!(
                        "page {} of the books of partition {} is neither in memory nor in the archive",
                        place.page, partition.0
                    )));
                };
                place = write_entries(batch, partition, place, &page, &mut owners)?;
            }
            if place.page >= first {
                for page in &entries {
                    if place.page == page.end.page {
                        place = write_entries(batch, partition, place, page, &mut owners)?;
                    }
                }
            }
            if self.places.get(&partition) != Some(&place) {
                put_place(batch, partition, place);
                places.insert(partition, place);
            }
        }
        Ok((places, owners))
    }
}

/// Adds the entries of a page behind a place. Returns the place behind them.
fn write_entries(
    batch: &mut Batch,
    partition: PartitionId,
    place: EntryPlace,
    page: &EntriesOfPage,
    owners: &mut BTreeSet<SessionId>,
) -> Result<EntryPlace, Fault> {
    let (entries, rest) = read_entries(&page.bytes);
    if !rest.is_empty() || entries.len() as u64 != page.count {
        return Err(Fault::Stop(format!(
            "entry {} of page {} of the books of partition {} cannot be read",
            place.entries + entries.len() as u64,
            place.page,
            partition.0
        )));
    }
    let number = i64::try_from(page.end.page).unwrap_or(i64::MAX);
    for (place, entry) in (place.entries..).zip(&entries) {
        rows::entry(batch, (partition, number, place), entry);
        owners.insert(entry.id().cause.payment().session());
    }
    Ok(if page.is_full { EntryPlace { page: page.end.page + 1, ..EntryPlace::default() } } else { page.end })
}

/// Makes a database anew from data that no gate runs on. Returns how far it has come.
///
/// # Errors
/// The database or the data cannot be read or written.
pub fn rebuild(url: ReportingUrl, views: Views) -> Result<ReportingStatus, String> {
    let clock: Arc<dyn Clock> = Arc::new(crate::host::SystemClock::new());
    let shared = Arc::new(Shared::new(url));
    shared.rebuild.store(true, Ordering::Release);
    let mut projector = Projector { shared: shared.clone(), views: Arc::new(views), clock, places: BTreeMap::new() };
    let text = |fault: Fault| match fault {
        Fault::Store(error) => format!("{}: {error}", shared.url),
        Fault::Gate(error) => error.to_string(),
        Fault::Stop(why) => why,
    };
    let mut opened = projector.open().map_err(text)?;
    // Entries of the books may go on behind everything else.
    while projector.step(&mut opened).map_err(text)? || !projector.is_level().map_err(text)? {}
    let status = shared.standing().status.clone();
    Ok(status)
}

/// What a database says of itself, where no gate runs.
///
/// # Errors
/// It does not answer.
pub fn look(url: &ReportingUrl) -> Result<ReportingStatus, StoreError> {
    let off = ReportingStatus { database: Some(url.to_string()), ..ReportingStatus::off() };
    if let ReportingUrl::Sqlite(path) = url
        && !path.exists()
    {
        return Ok(off);
    }
    let mut store = store::open_for_reading(url)?;
    Ok(match Progress::find(store.as_mut())? {
        Found::Nothing => off,
        Found::OtherSchema(version) => ReportingStatus {
            state: "stopped".to_owned(),
            fault: Some(format!("its tables are of another version ({version}); {REBUILD}")),
            ..off
        },
        Found::Progress(progress, _) => ReportingStatus {
            state: if progress.stage == Stage::Following { "following" } else { "filling" }.to_owned(),
            block: Some(progress.block),
            ..off
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_that_of_the_question_and_not_of_the_last_step() {
        let place = |block| LogPosition { block, index: 0 };
        let shared = Shared::new(ReportingUrl::Sqlite("reporting.sqlite".into()));
        let mut standing = shared.standing();
        assert_eq!(standing.at(place(0)).lag_ms, None);
        (standing.status.is_current, standing.current_at, standing.reached) =
            (true, Some(Instant::now()), Some(place(5)));
        let status = standing.at(place(5));
        assert_eq!((status.is_current, status.lag_ms), (true, Some(0)));
        let status = standing.at(place(6));
        assert!(!status.is_current && status.lag_ms.is_some(), "a fact has come: {status:?}");
        standing.begin_anew();
        let status = standing.at(place(5));
        assert_eq!((status.is_current, status.lag_ms), (false, None));
    }
}
