//! The actor around the [`Archiver`]: alone on its thread, because signing takes time and a sync blocks. What arrives while
//! one sync runs is archived together by the next.

use super::directory::Directory;
use crate::accounting::archive_record::Billing;
use crate::journal::{Archive, Failure};
use crate::limits;
use crate::node::archiver::{Archiver, ToArchive};
use actix::{Actor, AsyncContext, Context, Handler, Message};
use std::sync::Arc;
use std::time::Duration;

/// How often shards whose mailbox was full are tried again.
const RETRY: Duration = Duration::from_millis(20);

impl Message for ToArchive {
    type Result = ();
}

/// Write what has gathered.
struct Flush;

impl Message for Flush {
    type Result = ();
}

/// Write what has gathered, and say so: the gate stops.
pub struct Finish(pub std::sync::mpsc::Sender<()>);

impl Message for Finish {
    type Result = ();
}

/// The archiver.
pub struct ArchiverActor {
    archiver: Archiver,
    directory: Arc<Directory>,
    on_failure: Box<dyn Fn(&Failure) + Send>,
    failed: bool,
}

impl ArchiverActor {
    /// An archiver of this archive.
    pub fn new(
        archive: Arc<Archive>,
        billing: Arc<Billing>,
        directory: Arc<Directory>,
        on_failure: Box<dyn Fn(&Failure) + Send>,
    ) -> ArchiverActor {
        ArchiverActor { archiver: Archiver::new(archive, billing), directory, on_failure, failed: false }
    }

    /// Sends shards their notices; a full mailbox makes it wait.
    fn answer(&mut self) {
        let directory = &self.directory;
        let post = |input| directory.post(input).map_err(|undelivered| undelivered.input);
        self.archiver.answer(|input| directory.shard_of(input), post);
    }

    fn fail(&mut self, failure: &Failure) {
        self.failed = true;
        (self.on_failure)(failure);
    }
}

impl Actor for ArchiverActor {
    type Context = Context<ArchiverActor>;

    fn started(&mut self, context: &mut Context<ArchiverActor>) {
        context.set_mailbox_capacity(limits::ARCHIVE_MAILBOX);
        context.run_interval(RETRY, |archiver, _| archiver.answer());
    }
}

impl Handler<ToArchive> for ArchiverActor {
    type Result = ();

    fn handle(&mut self, wanted: ToArchive, context: &mut Context<ArchiverActor>) {
        match self.archiver.take(wanted) {
            Ok(None) => self.answer(),
            Ok(Some(Duration::ZERO)) => context.notify(Flush),
            Ok(Some(after)) => drop(context.notify_later(Flush, after)),
            Err(failure) => self.fail(&failure),
        }
    }
}

impl Handler<Flush> for ArchiverActor {
    type Result = ();

    fn handle(&mut self, _: Flush, _: &mut Context<ArchiverActor>) {
        if self.failed {
            return;
        }
        match self.archiver.write(&mut |_, _| {}) {
            Ok(()) => self.answer(),
            Err(failure) => self.fail(&failure),
        }
    }
}

impl Handler<Finish> for ArchiverActor {
    type Result = ();

    fn handle(&mut self, Finish(written): Finish, context: &mut Context<ArchiverActor>) {
        self.handle(Flush, context);
        // The receiver may have timed out; ignoring the send error is correct.
        let _ = written.send(());
    }
}
