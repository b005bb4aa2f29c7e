//! The askers of this node that wait for replies, by number.
//!
//! Each request travels as a plain value with the asker's number; the reply comes back with it. An asker leaves the table
//! when it has its reply, when its time is over, or when it is dropped: a later reply is then ignored.

use crate::limits;
use crate::node::reply::{Expected, NodeNumber, Reply, ReplyTo};
use hashbrown::HashMap;
use std::marker::PhantomData;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The askers of one node.
pub struct ReplyTable {
    node: NodeNumber,
    most: usize,
    askers: Mutex<Askers>,
}

#[derive(Default)]
struct Askers {
    /// The last number that was given. Numbers are never given twice.
    last: u64,
    waiting: HashMap<u64, Waiting>,
    is_closed: bool,
}

struct Waiting {
    reply: SyncSender<Reply>,
    until: Instant,
}

/// As many askers wait as may: ask again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests wait for their replies")]
pub struct TableFull;

/// Why an asker has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReply {
    /// Its time is over; what it asked for may still happen.
    #[error("no reply in time")]
    Late,
    /// The node ends.
    #[error("the gate stops")]
    Closed,
    /// The reply is of another kind, which is a defect.
    #[error("the reply is of another kind than the request")]
    OtherKind,
}

impl ReplyTable {
    /// A table without askers, for [`limits::REPLIES_WAITING_MAX`] of them.
    pub fn new(node: NodeNumber) -> Arc<ReplyTable> {
        ReplyTable::at_most(node, limits::REPLIES_WAITING_MAX)
    }

    fn at_most(node: NodeNumber, most: usize) -> Arc<ReplyTable> {
        Arc::new(ReplyTable { node, most, askers: Mutex::default() })
    }

    /// Enters an asker that waits for so long.
    ///
    /// # Errors
    /// [`TableFull`]: nothing may be asked now.
    pub fn asker<T: Expected>(self: &Arc<Self>, timeout: Duration) -> Result<Asker<T>, TableFull> {
        let until = Instant::now() + timeout;
        let (reply, replied) = mpsc::sync_channel(1);
        let mut askers = self.lock();
        if askers.waiting.len() >= self.most {
            let now = Instant::now();
            askers.waiting.retain(|_, waiting| waiting.until > now);
            if askers.waiting.len() >= self.most {
                return Err(TableFull);
            }
        }
        askers.last += 1;
        let number = askers.last;
        if !askers.is_closed {
            askers.waiting.insert(number, Waiting { reply, until });
        }
        drop(askers);
        let to = ReplyTo { node: self.node, number };
        Ok(Asker { table: Arc::clone(self), to, replied, until, expected: PhantomData })
    }

    /// Hands a reply to its asker. One whose asker has left is ignored.
    pub fn reply(&self, to: ReplyTo, reply: Reply) {
        debug_assert_eq!(to.node, self.node, "a reply for another node");
        let waiting = self.lock().waiting.remove(&to.number);
        if let Some(waiting) = waiting {
            // The asker may have left; ignoring the send error is correct.
            let _ = waiting.reply.try_send(reply);
        }
    }

    /// How many askers wait.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The node ends: no reply comes any more, and no asker waits any longer.
    pub fn close(&self) {
        let mut askers = self.lock();
        askers.is_closed = true;
        askers.waiting.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Askers> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits for a reply.
pub struct Asker<T> {
    table: Arc<ReplyTable>,
    to: ReplyTo,
    replied: Receiver<Reply>,
    until: Instant,
    expected: PhantomData<fn() -> T>,
}

impl<T> Asker<T> {
    /// Where its reply goes.
    pub fn to(&self) -> ReplyTo {
        self.to
    }
}

impl<T: Expected> Asker<T> {
    /// Waits for the reply.
    ///
    /// # Errors
    /// [`NoReply`]: there is none.
    pub fn wait(self) -> Result<T, NoReply> {
        match self.replied.recv_timeout(self.until.saturating_duration_since(Instant::now())) {
            Ok(reply) => T::of(reply).ok_or(NoReply::OtherKind),
            Err(RecvTimeoutError::Timeout) => Err(NoReply::Late),
            Err(RecvTimeoutError::Disconnected) => Err(NoReply::Closed),
        }
    }

    /// The reply, if it is there. Once it was returned there is no other.
    pub fn poll(&self) -> Option<T> {
        self.replied.try_recv().ok().and_then(T::of)
    }
}

/// Leaves the table.
impl<T> Drop for Asker<T> {
    fn drop(&mut self) {
        self.table.lock().waiting.remove(&self.to.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::processor::Tested;
    use crate::node::reply::Ordered;

    const MOMENT: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(30);

    fn table(most: usize) -> Arc<ReplyTable> {
        ReplyTable::at_most(NodeNumber(3), most)
    }

    #[test]
    fn each_reply_reaches_its_own_asker() {
        let table = table(8);
        let askers: Vec<Asker<Tested>> = (0..8).map(|_| table.asker(LONG).unwrap()).collect();
        let took = |number: u64| Tested::Answered(crate::units::TimeSpan::from_secs(number.cast_signed()));
        for asker in askers.iter().rev() {
            assert_eq!(asker.to().node, NodeNumber(3));
            table.reply(asker.to(), Reply::Tested(took(asker.to().number)));
        }
        for asker in askers {
            let expected = took(asker.to().number);
            assert_eq!(asker.wait(), Ok(expected));
        }
        assert!(table.is_empty());
    }

    #[test]
    fn a_full_table_refuses_until_an_asker_leaves() {
        let table = table(2);
        let first: Asker<Tested> = table.asker(LONG).unwrap();
        let second: Asker<Tested> = table.asker(LONG).unwrap();
        assert_eq!(table.asker::<Tested>(LONG).err(), Some(TableFull));
        table.reply(first.to(), Reply::Tested(Tested::Silent));
        let third: Asker<Tested> = table.asker(LONG).expect("the first has its reply");
        assert_eq!(first.wait(), Ok(Tested::Silent));
        drop(second);
        assert_eq!(table.len(), 1);
        let _fourth: Asker<Tested> = table.asker(LONG).expect("the second was dropped");
        drop(third);
    }

    #[test]
    fn an_asker_whose_time_is_over_makes_room_and_ignores_its_reply() {
        let table = table(1);
        let late: Asker<Tested> = table.asker(Duration::ZERO).unwrap();
        let next: Asker<Tested> = table.asker(LONG).expect("the first is late");
        table.reply(late.to(), Reply::Tested(Tested::Silent));
        assert!(late.wait().is_err());
        table.reply(next.to(), Reply::Tested(Tested::NotSent));
        table.reply(next.to(), Reply::Tested(Tested::Silent));
        assert_eq!(next.wait(), Ok(Tested::NotSent), "the first reply counts");
        let lonely: Asker<Tested> = table.asker(MOMENT).unwrap();
        assert_eq!(lonely.wait(), Err(NoReply::Late));
        assert!(table.is_empty());
    }

    #[test]
    fn a_reply_of_another_kind_is_none() {
        let table = table(1);
        let asker: Asker<Tested> = table.asker(LONG).unwrap();
        table.reply(asker.to(), Reply::Ordered(Ordered::Noted));
        assert_eq!(asker.wait(), Err(NoReply::OtherKind));
        table.reply(ReplyTo { node: NodeNumber(3), number: 0 }, Reply::Tested(Tested::Silent));
    }

    #[test]
    fn a_node_that_ends_lets_its_askers_go() {
        let table = table(4);
        let before: Asker<Tested> = table.asker(LONG).unwrap();
        table.close();
        let after: Asker<Tested> = table.asker(LONG).unwrap();
        assert_eq!((before.wait(), after.wait()), (Err(NoReply::Closed), Err(NoReply::Closed)));
    }
}
