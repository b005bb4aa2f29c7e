//! The connections of one processor, with the operations in flight on each.

use super::charger::ConnectionId;
use super::processor::ProcessorOutlet;
use crate::payment::OperationKind;
use crate::units::{Mono, OpId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Connections by their numbers.
#[derive(Default)]
pub struct ProcessorConnections {
    lines: BTreeMap<ConnectionId, ProcessorConnection>,
}

/// A connection.
pub struct ProcessorConnection {
    /// The way back.
    pub outlet: Arc<dyn ProcessorOutlet>,
    /// Most unanswered operations on it.
    pub credit: u32,
    /// No new holds on it.
    pub draining: bool,
    in_flight: BTreeMap<OpId, Sent>,
}

/// An operation that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Which sending.
    pub attempt: u16,
    /// Its kind.
    pub kind: OperationKind,
    /// When it was sent.
    pub since: Mono,
    /// End of the wait for its answer; then an inquiry follows, and it does not count as unanswered any more.
    pub until: Mono,
}

impl ProcessorConnection {
    /// A connection with nothing on it.
    pub fn new(outlet: Arc<dyn ProcessorOutlet>, credit: u32) -> ProcessorConnection {
        ProcessorConnection { outlet, credit, draining: false, in_flight: BTreeMap::new() }
    }

    /// Notes what was sent on it.
    pub fn sent(&mut self, operation: OpId, sent: Sent) {
        self.in_flight.insert(operation, sent);
    }

    fn has_room(&self, kind: OperationKind) -> bool {
        self.in_flight.len() < self.room(kind)
    }

    /// Most operations that may be unanswered when one of this kind is to be sent. Requests for more money leave the
    /// last eighth to operations that end a hold: captures and voids do not wait for new holds.
    fn room(&self, kind: OperationKind) -> usize {
        let credit = self.credit as usize;
        match kind {
            OperationKind::Authorize | OperationKind::Increment => credit - credit / 8,
            OperationKind::Decrement
            | OperationKind::Capture
            | OperationKind::Void
            | OperationKind::Refund
            | OperationKind::Inquire => credit,
        }
    }
}

impl ProcessorConnections {
    /// Adds a connection after its Hello.
    pub fn insert(&mut self, connection: ConnectionId, line: ProcessorConnection) {
        self.lines.insert(connection, line);
    }

    /// Removes a connection, and returns the operations in flight on it.
    pub fn remove(&mut self, connection: ConnectionId) -> Option<BTreeMap<OpId, Sent>> {
        self.lines.remove(&connection).map(|line| line.in_flight)
    }

    /// A connection.
    pub fn get(&self, connection: ConnectionId) -> Option<&ProcessorConnection> {
        self.lines.get(&connection)
    }

    /// A connection.
    pub fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut ProcessorConnection> {
        self.lines.get_mut(&connection)
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether all of them are draining.
    pub fn all_draining(&self) -> bool {
        self.lines.values().all(|line| line.draining)
    }

    /// Operations without an answer.
    pub fn in_flight(&self) -> usize {
        self.lines.values().map(|line| line.in_flight.len()).sum()
    }

    /// Number of further operations that may be unanswered, over all connections, when a new hold is to be requested.
    pub fn room_for_holds(&self) -> usize {
        self.lines.values().map(|line| line.room(OperationKind::Authorize)).sum()
    }

    /// The connection for an operation: the one with the fewest unanswered ones that has room. A draining connection takes
    /// no new hold, and everything else only when there is no other.
    pub fn pick(&mut self, kind: OperationKind) -> Option<&mut ProcessorConnection> {
        let takes =
            |line: &ProcessorConnection| line.has_room(kind) && (!line.draining || kind != OperationKind::Authorize);
        let lines = self.lines.values_mut().filter(|line| takes(line));
        lines.min_by_key(|line| (line.draining, line.in_flight.len()))
    }

    /// Finds and removes the operation of an answer, on any connection.
    pub fn answered(&mut self, operation: OpId) -> Option<Sent> {
        let mut found = None;
        for line in self.lines.values_mut() {
            found = line.in_flight.remove(&operation).or(found);
        }
        found
    }

    /// Removes and returns the operations that are overdue.
    pub fn overdue(&mut self, now: Mono) -> Vec<(OpId, Sent)> {
        let mut overdue = Vec::new();
        for line in self.lines.values_mut() {
            line.in_flight.retain(|operation, sent| {
                let waits = sent.until > now;
                if !waits {
                    overdue.push((*operation, *sent));
                }
                waits
            });
        }
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ToProcessor;
    use crate::units::{PartitionId, PaymentId, Timestamp};

    struct Nowhere;

    impl ProcessorOutlet for Nowhere {
        fn send(&self, _: &ToProcessor) -> bool {
            true
        }

        fn resume(&self) {}
    }

    fn operation(number: u16) -> OpId {
        PaymentId::new(Timestamp::default(), PartitionId(0), 7).operation(number)
    }

    fn sent(kind: OperationKind, until: u64) -> Sent {
        Sent { attempt: 1, kind, since: Mono(0), until: Mono(until) }
    }

    fn two() -> ProcessorConnections {
        let mut lines = ProcessorConnections::default();
        lines.insert(ConnectionId(1), ProcessorConnection::new(Arc::new(Nowhere), 2));
        lines.insert(ConnectionId(2), ProcessorConnection::new(Arc::new(Nowhere), 1));
        lines
    }

    #[test]
    fn work_is_spread_and_credits_are_kept() {
        let mut lines = two();
        for number in 1..=3 {
            lines.pick(OperationKind::Authorize).unwrap().sent(operation(number), sent(OperationKind::Authorize, 10));
        }
        assert!(lines.pick(OperationKind::Capture).is_none(), "three may be unanswered");
        assert_eq!(lines.answered(operation(2)), Some(sent(OperationKind::Authorize, 10)));
        assert_eq!(lines.answered(operation(2)), None);
        assert!(lines.pick(OperationKind::Capture).is_some());
    }

    #[test]
    fn new_holds_leave_room_for_what_ends_holds() {
        let mut lines = ProcessorConnections::default();
        lines.insert(ConnectionId(1), ProcessorConnection::new(Arc::new(Nowhere), 16));
        assert_eq!(lines.room_for_holds(), 14);
        for number in 1..=14 {
            lines.pick(OperationKind::Authorize).unwrap().sent(operation(number), sent(OperationKind::Authorize, 10));
        }
        assert!(lines.pick(OperationKind::Authorize).is_none() && lines.pick(OperationKind::Increment).is_none());
        for (number, kind) in [(15, OperationKind::Capture), (16, OperationKind::Void)] {
            lines.pick(kind).expect("the last ones are for these").sent(operation(number), sent(kind, 10));
        }
        assert!(lines.pick(OperationKind::Capture).is_none());
    }

    #[test]
    fn what_is_never_answered_does_not_stop_up_the_line() {
        let mut lines = two();
        for number in 1..=3 {
            lines.pick(OperationKind::Void).unwrap().sent(operation(number), sent(OperationKind::Void, 10));
        }
        assert_eq!(lines.overdue(Mono(9)), []);
        assert_eq!(lines.overdue(Mono(10)).len(), 3);
        assert_eq!(lines.in_flight(), 0);
    }

    #[test]
    fn a_draining_line_takes_no_new_hold_and_finishes_the_rest() {
        let mut lines = two();
        for connection in [1, 2] {
            lines.get_mut(ConnectionId(connection)).unwrap().draining = true;
        }
        assert!(lines.all_draining());
        assert!(lines.pick(OperationKind::Authorize).is_none());
        assert!(lines.pick(OperationKind::Capture).is_some());
    }
}
