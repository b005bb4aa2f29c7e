//! The actor that puts closed sessions away: their receipts are made and signed, and when they are safe in the archive the
//! shard forgets them.
//!
//! It lives alone on its thread, because signing takes time and a sync blocks. Sessions that arrive while one sync runs are
//! put away together by the next. To put the same session away again changes nothing, so a restart may repeat it.
//!
//! An archived session that is damaged is named in the log, and concerns nobody but whoever asks for it. Who asks is not told
//! that it is not there: there is no answer, and who needs one asks again until the archive is mended.
//!
//! ```text
//!   shard ──PutAway──▶ archivist ── receipt ── put ── sync ──Input::Archived──▶ shard (the cell is vacated)
//!   shard ──Recall───▶ archivist ── get ──Input::Revived, Input::NotArchived──▶ shard (a processor still spoke of it)
//! ```

use super::directory::Directory;
use crate::accounting::dossier::{self, Billing, Dossier, DossierError};
use crate::accounting::pages::Page;
use crate::journal::{Archive, Damage, Failure};
use crate::limits;
use crate::message::{ReceiptNotice, ToCharger};
use crate::node::output::ChargerRef;
use crate::node::shard::Input;
use crate::session::Session;
use crate::tariff::Tariff;
use crate::units::{PartitionId, SessionId, SessionKey};
use actix::{Actor, AsyncContext, Context, Handler, Message};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How long closed sessions gather before they are written: nobody waits for the archive, and its syncs would compete with
/// those of the log.
const GATHER: Duration = Duration::from_millis(200);

/// So many are written at once, however early.
const GATHERED_MAX: usize = 1_024;

/// How often shards whose mailbox was full are tried again.
const RETRY: Duration = Duration::from_millis(20);

/// A closed session.
pub struct PutAway {
    /// Its last state.
    pub session: Box<Session>,
    /// What priced it.
    pub tariff: Arc<Tariff>,
}

/// A full page of the books.
pub struct PutPage {
    /// Whose.
    pub partition: PartitionId,
    /// The page.
    pub page: Box<Page>,
}

/// A processor said something about a session that is not live: is it in the archive?
pub struct Recall {
    /// Which session.
    pub session: SessionId,
    /// What was said.
    pub said: Box<Input>,
}

/// A charger is to get the receipt of an archived session again.
pub struct SendReceipt {
    /// To whom.
    pub charger: ChargerRef,
    /// The charger's number for the session.
    pub key: SessionKey,
    /// The session.
    pub session: SessionId,
}

/// Write what has gathered.
struct Flush;

/// Write what has gathered, and say so: the gate stops.
pub struct Finish(pub std::sync::mpsc::Sender<()>);

macro_rules! messages {
    ($($name:ident),*) => { $(impl Message for $name { type Result = (); })* };
}
messages!(PutAway, PutPage, Recall, SendReceipt, Flush, Finish);

/// The archivist.
pub struct Archivist {
    archive: Arc<Archive>,
    billing: Arc<Billing>,
    directory: Arc<Directory>,
    on_failure: Box<dyn Fn(&Failure) + Send>,
    /// No more than [`GATHERED_MAX`] and what one sync lets pile up in the mailbox.
    gathered: Vec<PutAway>,
    pages: Vec<PutPage>,
    /// What shards are to be told; a full mailbox makes it wait.
    told: VecDeque<Input>,
    failed: bool,
}

/// Why it is not known what the archive has of a session.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// Its bytes are not what was written.
    #[error(transparent)]
    Damaged(Box<Damage>),
    /// Its bytes are what was written, and are no dossier that this program reads.
    #[error(transparent)]
    Dossier(#[from] DossierError),
    /// The archive as a whole cannot be read.
    #[error(transparent)]
    Failure(Failure),
}

/// What the archive has of a session.
pub fn read(archive: &Archive, session: SessionId) -> Result<Option<Dossier>, Unread> {
    match archive.get(session) {
        Ok(None) => Ok(None),
        Ok(Some(archived)) => Ok(Some(Dossier::from_bytes(&archived.dossier)?)),
        Err(Failure::Damaged(damage)) => Err(Unread::Damaged(damage)),
        Err(failure) => Err(Unread::Failure(failure)),
    }
}

impl Archivist {
    /// An archivist of this archive.
    pub fn new(
        archive: Arc<Archive>,
        billing: Arc<Billing>,
        directory: Arc<Directory>,
        on_failure: Box<dyn Fn(&Failure) + Send>,
    ) -> Archivist {
        let (gathered, pages, told) = (Vec::new(), Vec::new(), VecDeque::new());
        Archivist { archive, billing, directory, on_failure, gathered, pages, told, failed: false }
    }

    fn write(&mut self) -> Result<(), Failure> {
        let mut written = Vec::with_capacity(self.gathered.len());
        for PutAway { session, tariff } in self.gathered.drain(..) {
            let (id, at) = (session.id, dossier::settled_at(&session));
            let dossier = Dossier::new(*session, &tariff, &self.billing);
            self.archive.put(id, at, &dossier.to_bytes())?;
            written.push(Input::Archived(Box::new(dossier.session)));
        }
        for PutPage { partition, page } in self.pages.drain(..) {
            let id = Page::id(partition, page.number);
            self.archive.put(id, page.last_at, &page.to_bytes(partition))?;
            written.push(Input::PageArchived(partition, page.number));
        }
        self.archive.sync()?;
        self.told.extend(written);
        Ok(())
    }

    fn look_up<T>(&mut self, session: SessionId, found: impl FnOnce(&mut Archivist, Option<Dossier>) -> T) {
        match read(&self.archive, session) {
            Ok(dossier) => {
                found(self, dossier);
                self.tell();
            }
            Err(Unread::Failure(failure)) => self.fail(&failure),
            Err(error @ (Unread::Damaged(_) | Unread::Dossier(_))) => {
                tracing::error!(%session, %error, "an archived session cannot be read: it is in no answer");
            }
        }
    }

    fn tell(&mut self) {
        while let Some(input) = self.told.pop_front() {
            if let Err(input) = self.directory.post(input) {
                self.told.push_front(input);
                return;
            }
        }
    }

    fn fail(&mut self, failure: &Failure) {
        self.failed = true;
        (self.on_failure)(failure);
    }
}

impl Actor for Archivist {
    type Context = Context<Archivist>;

    fn started(&mut self, context: &mut Context<Archivist>) {
        context.set_mailbox_capacity(limits::ARCHIVE_MAILBOX);
        context.run_interval(RETRY, |archivist, _| archivist.tell());
    }
}

impl Handler<PutAway> for Archivist {
    type Result = ();

    fn handle(&mut self, closed: PutAway, context: &mut Context<Archivist>) {
        self.gathered.push(closed);
        match self.gathered.len() {
            1 => {
                context.notify_later(Flush, GATHER);
            }
            full if full % GATHERED_MAX == 0 => context.notify(Flush),
            _ => {}
        }
    }
}

impl Handler<PutPage> for Archivist {
    type Result = ();

    fn handle(&mut self, full: PutPage, context: &mut Context<Archivist>) {
        self.pages.push(full);
        if self.pages.len() == 1 {
            context.notify_later(Flush, GATHER);
        }
    }
}

impl Handler<Flush> for Archivist {
    type Result = ();

    fn handle(&mut self, _: Flush, _: &mut Context<Archivist>) {
        if self.failed || (self.gathered.is_empty() && self.pages.is_empty()) {
            return;
        }
        match self.write() {
            Ok(()) => self.tell(),
            Err(failure) => self.fail(&failure),
        }
    }
}

impl Handler<Finish> for Archivist {
    type Result = ();

    fn handle(&mut self, Finish(written): Finish, context: &mut Context<Archivist>) {
        self.handle(Flush, context);
        // Whoever asked may have lost patience.
        let _ = written.send(());
    }
}

impl Handler<Recall> for Archivist {
    type Result = ();

    fn handle(&mut self, Recall { session, said }: Recall, _: &mut Context<Archivist>) {
        self.look_up(session, |archivist, found| {
            archivist.told.push_back(match found {
                Some(dossier) => Input::Revived(Box::new(dossier.session), dossier.tariff.into(), said),
                None => Input::NotArchived(said),
            });
        });
    }
}

impl Handler<SendReceipt> for Archivist {
    type Result = ();

    fn handle(&mut self, wanted: SendReceipt, _: &mut Context<Archivist>) {
        let SendReceipt { charger, key, session } = wanted;
        self.look_up(session, |archivist, found| {
            let Some(dossier) = found else { return };
            let Some(ended) = dossier.session.ended().filter(|ended| ended.admitted) else { return };
            let url = match archivist.billing.receipt_base.as_str() {
                "" => Box::default(),
                base => format!("{base}{session}").into(),
            };
            let receipt = session.to_string().into();
            let notice = ReceiptNotice { session: key, total: ended.payable, cost: ended.cost, receipt, url };
            archivist.told.push_back(Input::Tell(session, charger, Box::new(ToCharger::Receipt(notice))));
        });
    }
}
