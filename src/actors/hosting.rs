//! Opens and closes the shards of a process, each as a whole.
//!
//! ```text
//!   open:  state ─▶ shard actor: what was in flight is asked again ─▶ routing table: here
//!   close: routing table: not open ─▶ shard actor: takes nothing more, settles with the log, ends its connections ─▶ state
//! ```
//!
//! While a shard is not open its senders keep what is for it ([`NotTaken::NotHere`](crate::node::input::NotTaken)), and its
//! chargers are sent away and come back. So nothing is lost when it is opened again, here or elsewhere.

use super::directory::{Directory, Place};
use super::shard_actor::{Close, Open, ShardActor};
use crate::node::driver::Driver;
use actix::Addr;
use actix::prelude::SendError;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// The actors in which the shards of a process are opened, each on its thread.
pub struct Hosting {
    directory: Arc<Directory>,
    actors: Vec<Addr<ShardActor>>,
}

/// A shard that was not opened.
pub struct NotOpened {
    /// Its state.
    pub shard: Box<Driver>,
    /// Why.
    pub why: HostingError,
}

/// Why a shard is not opened or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostingError {
    /// There is no such shard.
    #[error("there is no such shard")]
    NoShard,
    /// It is open.
    #[error("the shard is open")]
    IsOpen,
    /// It is not open.
    #[error("the shard is not open")]
    IsNotOpen,
    /// Its actor has no room now; try again.
    #[error("the shard's actor is busy")]
    Busy,
    /// It has not settled in time, and is open as before.
    #[error("the shard has not settled in time; it stays open")]
    Late,
}

impl Hosting {
    /// Of these actors, in the order of their shards; none of the shards is open.
    pub fn new(directory: Arc<Directory>, actors: Vec<Addr<ShardActor>>) -> Hosting {
        directory.set_actors(&actors);
        Hosting { directory, actors }
    }

    /// Opens a shard: one that was rebuilt from its records, or one that was closed.
    ///
    /// # Errors
    /// [`NotOpened`]: the shard's state, and why.
    pub fn open(&self, shard: Box<Driver>) -> Result<(), NotOpened> {
        let index = shard.shard().index();
        let Some(actor) = self.actors.get(usize::from(index)) else {
            return Err(NotOpened { shard, why: HostingError::NoShard });
        };
        if self.directory.places().shard(index).is_some() {
            return Err(NotOpened { shard, why: HostingError::IsOpen });
        }
        match actor.try_send(Open(shard)) {
            Ok(()) => {}
            Err(SendError::Full(Open(shard)) | SendError::Closed(Open(shard))) => {
                return Err(NotOpened { shard, why: HostingError::Busy });
            }
        }
        // Messages sent to it from now on come behind its opening.
        self.directory.set_place(index, &Place::Here(actor.clone()));
        Ok(())
    }

    /// Closes a shard, and returns its state. Blocks until everything that it decided is durable and has left.
    ///
    /// # Errors
    /// [`HostingError`]: the shard is as it was before.
    pub fn close(&self, index: u16, timeout: Duration) -> Result<Box<Driver>, HostingError> {
        let actor = self.actors.get(usize::from(index)).ok_or(HostingError::NoShard)?;
        if self.directory.places().shard(index).is_none() {
            return Err(HostingError::IsNotOpen);
        }
        self.directory.set_place(index, &Place::NotOpen);
        // Without a place in it: a state that is not waited for any more stays with the actor.
        let (closed, state) = mpsc::sync_channel(0);
        let until = std::time::Instant::now() + timeout;
        if actor.try_send(Close { closed, until }).is_err() {
            self.directory.set_place(index, &Place::Here(actor.clone()));
            return Err(HostingError::Busy);
        }
        match state.recv() {
            Ok(shard) => Ok(shard),
            Err(_) => {
                self.directory.set_place(index, &Place::Here(actor.clone()));
                Err(HostingError::Late)
            }
        }
    }
}
