//! Settlement in a simulated world: at the end each processor sends its payouts, with some false lines; the gate
//! matches them with the captures and refunds of its sessions and top-ups.

use super::world::{SECOND, World};
use crate::accounting::archive_record::ArchiveRecord;
use crate::accounting::settlement;
use crate::billing::reconciliation::received::Received;
use crate::billing::reconciliation::register::BatchKey;
use crate::billing::reconciliation::{Facts, Flow, Ours, Verdict};
use crate::ledger::Name;
use crate::node::input::Input;
use crate::payment::Payment;
use crate::session::Session;
use crate::units::{Currency, OpId, ProcessorId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Checks, half a minute apart, within which a batch is received and booked.
const CHECKS_MAX: u32 = 240;

/// What processors took and gave back by the gate's sessions.
pub(super) type Moved = BTreeMap<ProcessorId, BTreeMap<OpId, Ours>>;

impl World {
    /// Every processor sends its batch; each is taken in, laid beside our operations and booked. Afterwards every
    /// operation is settled and nothing is in suspense (L16, L17).
    pub(super) fn settle_up(&mut self) {
        let world = self.wall();
        for place in 0..self.processors.len() {
            let parts = self.processors[place].settle(world, self.events.now());
            self.counts.settlement_parts += parts;
            self.drive_processor(place);
        }
        let moved = moved(self);
        for _ in 0..CHECKS_MAX {
            self.run_until(self.events.now() + 30 * SECOND);
            self.book(&moved);
            let booked = self.batches().iter().all(|(_, batch)| batch.is_booked());
            let idle = self.process.as_ref().is_some_and(super::process::Process::is_idle);
            if booked && idle && self.processors.iter().all(super::simulated_processor::SimulatedProcessor::is_idle) {
                return self.compare_settled(&moved);
            }
        }
        self.checker.violated(|| "L17: settlement batches are not booked in time".to_owned());
    }

    fn batches(&self) -> Vec<(BatchKey, Received)> {
        let partitions = self.process.iter().flat_map(|process| process.shards()).flat_map(|shard| shard.partitions());
        let found = partitions.flat_map(|partition| partition.settlements.batches());
        found.map(|(key, batch)| (key.clone(), batch.clone())).collect()
    }

    /// What the reconciler of a real gate does on its own thread.
    fn book(&mut self, moved: &Moved) {
        let whole = self.batches().into_iter().filter(|(_, batch)| batch.is_whole() && !batch.is_booked());
        for (key, batch) in whole.collect::<Vec<_>>() {
            let ours = moved.get(&key.0).into_iter().flatten().map(|(_, ours)| ours.clone()).collect();
            let mut settled = BTreeSet::new();
            batch.each_booked(&mut |_, verdict| settled.extend(verdict.settles()));
            let mut bookings = Vec::new();
            Facts { ours, settled, ..Facts::default() }.book(&key, &batch, &mut |booking| bookings.push(booking));
            for booking in bookings {
                self.input(Input::Booked(Box::new(booking)));
            }
        }
    }

    /// L16: the matched amount and the amount in suspense are the lines of the batch, and its trailer. L17: every operation is in a
    /// batch, and what a processor owes is what disputes have taken.
    fn compare_settled(&mut self, moved: &Moved) {
        let mut wrong = Vec::new();
        let mut settled: BTreeSet<OpId> = BTreeSet::new();
        for (key, batch) in self.batches() {
            let (faults, sums) = batch.faults();
            let trailer = batch.batch(&key).trailer;
            if !faults.is_empty() || trailer != Some(sums) {
                wrong.push(format!("L16: {key:?}: {faults:?}, {trailer:?} and {sums:?}"));
            }
            batch.each(&mut |line, verdict| match verdict {
                Some(Verdict::Matched(operation)) => drop(settled.insert(*operation)),
                Some(Verdict::Other) => {}
                verdict => wrong.push(format!("L16: {verdict:?} is {line:?}")),
            });
        }
        for ours in moved.values().flat_map(BTreeMap::values).filter(|ours| !settled.contains(&ours.operation)) {
            wrong.push(format!("L17: taken or given back, and in no batch: {ours:?}"));
        }
        if let Some(process) = &self.process {
            let books = super::audit::books(process).books;
            for processor in &self.processors {
                let net = |name: Name| books.balance(&name, Currency::EUR).net_debit();
                let owed = net(Name::ProcessorReceivable(processor.id.clone()))
                    + net(Name::DisputeReceivable(processor.id.clone()))
                    + i128::from(processor.processor.books().charged_back());
                let suspense = net(Name::Suspense(processor.id.clone()));
                if (owed, suspense) != (0, 0) {
                    wrong.push(format!(
                        "L17: {} owes {owed} after its settlement, {suspense} is in suspense",
                        processor.id
                    ));
                }
            }
        }
        for what in wrong {
            self.checker.violated(|| what);
        }
    }
}

/// What was taken and given back at outside processors, by the sessions as they were archived, and by top-ups.
fn moved(world: &World) -> Moved {
    let mut moved = Moved::new();
    super::invariants::each_session(world, &mut |session| {
        for (processor, ours) in of_session(session) {
            moved.entry(processor).or_default().insert(ours.operation, ours);
        }
    });
    for top_up in world.process.iter().flat_map(super::process::Process::top_ups) {
        for (processor, ours) in of_payment(&top_up.payment, top_up.opened_at) {
            moved.entry(processor).or_default().insert(ours.operation, ours);
        }
    }
    moved
}

/// Disputes are in no batch here: what they have taken is compared as a sum.
fn of_session(session: &Session) -> Vec<(ProcessorId, Ours)> {
    of_payment(&session.payment, session.settled_at().unwrap_or(session.opened_at))
}

fn of_payment(payment: &Payment, at: Timestamp) -> Vec<(ProcessorId, Ours)> {
    let all = settlement::moved(payment, at).into_iter();
    all.filter(|(_, ours)| matches!(ours.kind, Flow::Capture | Flow::Refund)).collect()
}

/// The sessions of an archive record, whatever its time.
pub(super) fn archived_session(bytes: &[u8]) -> Option<Session> {
    ArchiveRecord::from_bytes(bytes).ok().map(|archive_record| archive_record.session)
}

/// From the beginning of time to its end.
pub(super) const EVER: (Timestamp, Timestamp) = (Timestamp::from_unix_ms(i64::MIN), Timestamp::from_unix_ms(i64::MAX));
