//! The archiver: makes and signs the receipts of closed sessions, and writes them and the full pages of the books to the
//! archive. When they are safe there their shards are notified, and only then do these forget them.
//!
//! To archive the same thing again changes nothing, so a restart may repeat it. An archived session that is damaged is named
//! in the log, and matters to nothing but a question for it: such a question gets no answer, and is repeated until the archive is
//! mended.
//!
//! ```text
//!   shard ──Session, Page──▶ gathered ── receipt ── put ── sync ──Archived, PageArchived──▶ shard (lets go of it)
//!   shard ──LoadArchived─────────▶ get ──Restored, NotArchived──▶ shard (a processor still speaks of it)
//!   shard ──Receipt────────▶ get ──Notify──▶ shard (a charger is back without its receipt)
//! ```

use super::input::Input;
use super::reference::ChargerRef;
use crate::accounting::archive_record::{self, ArchiveRecord, ArchiveRecordError, Billing};
use crate::accounting::pages::Page;
use crate::journal::{Archive, Damage, Failure};
use crate::message::{ReceiptNotice, ToCharger};
use crate::session::Session;
use crate::tariff::Tariff;
use crate::units::{PartitionId, SessionId, SessionKey};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How long closed sessions gather before they are written: nothing waits for the archive, and its syncs would compete with
/// those of the log.
const GATHER: Duration = Duration::from_millis(200);

/// So many are written at once, however early.
const GATHERED_MAX: usize = 1_024;

/// Something for the archiver.
#[derive(Debug)]
pub enum ToArchive {
    /// A closed session.
    Session {
        /// Its last state.
        session: Box<Session>,
        /// What priced it.
        tariff: Arc<Tariff>,
    },
    /// A full page of the books.
    Page {
        /// Of which partition.
        partition: PartitionId,
        /// The page.
        page: Box<Page>,
    },
    /// A processor spoke of a session that is not live: is it in the archive?
    LoadArchived {
        /// Which session.
        session: SessionId,
        /// The input that waits for it.
        waiting_input: Box<Input>,
    },
    /// A charger is to get the receipt of an archived session again.
    Receipt {
        /// To whom.
        charger: ChargerRef,
        /// The charger's number for the session.
        key: SessionKey,
        /// The session.
        session: SessionId,
    },
}

/// The archiver of a gate.
pub struct Archiver {
    archive: Arc<Archive>,
    billing: Arc<Billing>,
    /// No more than [`GATHERED_MAX`] and what one sync lets pile up in front of it.
    sessions: Vec<(Box<Session>, Arc<Tariff>)>,
    pages: Vec<(PartitionId, Box<Page>)>,
    /// Notices for shards.
    answers: VecDeque<Input>,
}

/// Why it is not known what the archive has of a session.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// Its bytes are not what was written.
    #[error(transparent)]
    Damaged(Box<Damage>),
    /// Its bytes are what was written, and are no archive record that this program reads.
    #[error(transparent)]
    ArchiveRecord(#[from] ArchiveRecordError),
    /// The archive as a whole cannot be read.
    #[error(transparent)]
    Failure(Failure),
}

/// What the archive has of a session.
///
/// # Errors
/// See [`Unread`].
pub fn read(archive: &Archive, session: SessionId) -> Result<Option<ArchiveRecord>, Unread> {
    match archive.get(session) {
        Ok(None) => Ok(None),
        Ok(Some(archived)) => Ok(Some(ArchiveRecord::from_bytes(&archived.archive_record)?)),
        Err(Failure::Damaged(damage)) => Err(Unread::Damaged(damage)),
        Err(failure) => Err(Unread::Failure(failure)),
    }
}

impl Archiver {
    /// The archiver of this archive.
    pub fn new(archive: Arc<Archive>, billing: Arc<Billing>) -> Archiver {
        Archiver { archive, billing, sessions: Vec::new(), pages: Vec::new(), answers: VecDeque::new() }
    }

    /// Takes what a shard hands over. Returns after how long [`Archiver::write`] is to be called, when it is to be.
    ///
    /// # Errors
    /// The archive cannot be read.
    pub fn take(&mut self, wanted: ToArchive) -> Result<Option<Duration>, Failure> {
        match wanted {
            ToArchive::Session { session, tariff } => {
                self.sessions.push((session, tariff));
                Ok(match self.sessions.len() {
                    1 => Some(GATHER),
                    full if full % GATHERED_MAX == 0 => Some(Duration::ZERO),
                    _ => None,
                })
            }
            ToArchive::Page { partition, page } => {
                self.pages.push((partition, page));
                Ok((self.pages.len() == 1).then_some(GATHER))
            }
            ToArchive::LoadArchived { session, waiting_input } => {
                if let Some(found) = self.look_up(session)? {
                    self.answers.push_back(match found {
                        Some(archive_record) => Input::Restored(
                            Box::new(archive_record.session),
                            archive_record.tariff.into(),
                            waiting_input,
                        ),
                        None => Input::NotArchived(waiting_input),
                    });
                }
                Ok(None)
            }
            ToArchive::Receipt { charger, key, session } => {
                let notice =
                    self.look_up(session)?.flatten().and_then(|archive_record| self.notice(key, &archive_record));
                if let Some(notice) = notice {
                    self.answers.push_back(Input::Notify(session, charger, Box::new(ToCharger::Receipt(notice))));
                }
                Ok(None)
            }
        }
    }

    /// Whether something waits to be written.
    pub fn has_gathered(&self) -> bool {
        !self.sessions.is_empty() || !self.pages.is_empty()
    }

    /// Whether nothing waits, neither a record to write nor a notice.
    pub fn is_idle(&self) -> bool {
        !self.has_gathered() && self.answers.is_empty()
    }

    /// Writes what has gathered, durably; each session is shown to `written` with its bytes. Its shards are notified next.
    ///
    /// # Errors
    /// The archive cannot be written. Nothing of this call is reported to any shard.
    pub fn write(&mut self, written: &mut dyn FnMut(&ArchiveRecord, &[u8])) -> Result<(), Failure> {
        if !self.has_gathered() {
            return Ok(());
        }
        let mut archived = Vec::with_capacity(self.sessions.len() + self.pages.len());
        for (session, tariff) in self.sessions.drain(..) {
            let (id, at) = (session.id, archive_record::settled_at(&session));
            let archive_record = ArchiveRecord::new(*session, &tariff, &self.billing);
            let bytes = archive_record.to_bytes();
            self.archive.put(id, at, &bytes)?;
            written(&archive_record, &bytes);
            archived.push(Input::Archived(Box::new(archive_record.session)));
        }
        for (partition, page) in self.pages.drain(..) {
            let id = Page::id(partition, page.number);
            self.archive.put(id, page.last_at, &page.to_bytes(partition))?;
            archived.push(Input::PageArchived(partition, page.number));
        }
        self.archive.sync()?;
        self.answers.extend(archived);
        Ok(())
    }

    /// Sends shards their notices, until one has no room.
    pub fn answer(
        &mut self,
        shard_of: impl Fn(&Input) -> Option<u16>,
        mut post: impl FnMut(Input) -> Result<(), Input>,
    ) {
        // One shard without room keeps no other one waiting, and gets its answers in their order.
        let mut full: Vec<Option<u16>> = Vec::new();
        for _ in 0..self.answers.len() {
            let Some(input) = self.answers.pop_front() else { return };
            let shard = shard_of(&input);
            if full.contains(&shard) {
                self.answers.push_back(input);
            } else if let Err(input) = post(input) {
                full.push(shard);
                self.answers.push_back(input);
            }
        }
    }

    /// The archive's record of a session; `None` when the archive cannot be read now.
    fn look_up(&self, session: SessionId) -> Result<Option<Option<ArchiveRecord>>, Failure> {
        match read(&self.archive, session) {
            Ok(found) => Ok(Some(found)),
            Err(Unread::Failure(failure)) => Err(failure),
            Err(error @ (Unread::Damaged(_) | Unread::ArchiveRecord(_))) => {
                tracing::error!(%session, %error, "an archived session cannot be read: it is in no answer");
                Ok(None)
            }
        }
    }

    /// The receipt of an archived session for its charger, if it has one.
    fn notice(&self, key: SessionKey, archive_record: &ArchiveRecord) -> Option<ReceiptNotice> {
        let session = &archive_record.session;
        let ended = session.ended().filter(|ended| ended.admitted)?;
        let url = match self.billing.receipt_base.as_str() {
            "" => Box::default(),
            base => format!("{base}{}", session.id).into(),
        };
        let receipt = session.id.to_string().into();
        Some(ReceiptNotice { session: key, total: ended.payable, cost: ended.cost, receipt, url })
    }
}
