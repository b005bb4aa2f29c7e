//! The final audit: the gate's books, its sessions, the processors' books and the chargers' receipts agree, and a
//! gate that restarts on the same disk has the same state.

use super::process::Process;
use super::world::{World, live_sessions};
use crate::account::{Account, HoldState, TopUp};
use crate::accounting::archive_record::ArchiveRecord;
use crate::accounting::pages::Page;
use crate::accounting::posting::PartitionBooks;
use crate::ledger::{Books, Debtor, Name};
use crate::node::partition::Partition;
use crate::node::shard::Shard;
use crate::payment::{Ending, Stage as HoldStage};
use crate::session::{Session, Stage};
use crate::sim::processor::HoldState as TheirState;
use crate::units::{Currency, SessionId};
use ring::digest;
use serde::Serialize;
use std::collections::BTreeMap;

/// What has to be zero in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reckoning {
    /// Holds that are open in a processor's books.
    pub orphan_holds: u64,
    /// Captures of holds that had been captured to the end.
    pub double_captures: u64,
    /// Captures of more than was authorized.
    pub over_captures: u64,
    /// All other requests that a processor should never get.
    pub other_violations: u64,
    /// Sessions without an end or a receipt, operations without an outcome, callbacks without an acknowledgement.
    pub unresolved_after_grace: u64,
    /// How far the books are from balance.
    pub books_imbalance_minor: u64,
    /// Captured less refunded by the gate's sessions against the processors' books, added up over holds.
    pub processor_books_difference_minor: u64,
    /// Acknowledged readings that the gate did not have any more.
    pub readings_lost: u64,
    /// Accepted sessions that the gate lost.
    pub sessions_lost: u64,
}

impl Reckoning {
    /// Adds another world's.
    pub fn add(&mut self, other: &Reckoning) {
        self.orphan_holds += other.orphan_holds;
        self.double_captures += other.double_captures;
        self.over_captures += other.over_captures;
        self.other_violations += other.other_violations;
        self.unresolved_after_grace += other.unresolved_after_grace;
        self.books_imbalance_minor += other.books_imbalance_minor;
        self.processor_books_difference_minor += other.processor_books_difference_minor;
        self.readings_lost += other.readings_lost;
        self.sessions_lost += other.sessions_lost;
    }
}

/// Whether everything has come to its end.
pub(super) fn is_at_rest(world: &World) -> bool {
    let Some(process) = &world.process else { return false };
    process.is_idle()
        && world.fleet.iter().flat_map(|one| &one.chargers).all(|charger| charger.open_sessions() == 0)
        && world.processors.iter().all(|processor| processor.is_idle() && open_holds(processor) == 0)
        && live_sessions(process).next().is_none()
        && process.top_ups().all(TopUp::is_over)
}

/// What has not come to its end, for the report of a violation.
pub(super) fn left_over(world: &World) -> String {
    let Some(process) = &world.process else { return "there is no gate".to_owned() };
    let of_charger = |charger: &crate::sim::charger::Charger| {
        (charger.open_sessions() > 0).then(|| format!("{} sessions at {}", charger.open_sessions(), charger.id()))
    };
    let chargers = world.fleet.iter().flat_map(|one| &one.chargers).filter_map(of_charger);
    let sessions = live_sessions(process).filter_map(|id| process.session(id)).take(3).map(story);
    let idle = if process.is_idle() { "the gate is idle" } else { "the gate is at work" };
    chargers.take(3).chain(sessions).chain([idle.to_owned()]).collect::<Vec<_>>().join("; ")
}

fn open_holds(processor: &super::simulated_processor::SimulatedProcessor) -> u64 {
    processor.processor.books().holds().filter(|(_, hold)| hold.state == TheirState::Open).count() as u64
}

/// Books of a gate: all partitions together.
pub(super) fn books(process: &Process) -> PartitionBooks {
    let mut books = PartitionBooks::default();
    for partition in process.shards().flat_map(Shard::partitions) {
        books.merge(&partition.books);
    }
    books
}

/// SHA-256 of the books and of what every session came to.
pub(super) fn ledger_hash(world: &World) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    if let Some(process) = &world.process {
        context.update(&postcard::to_stdvec(&books(process)).expect("plain data into memory"));
    }
    let closed: BTreeMap<_, _> = world.checker.closed.iter().collect();
    for (id, closed) in closed {
        context.update(&id.as_u128().to_le_bytes());
        context.update(&closed.payable.to_le_bytes());
        context.update(&closed.cost.parts().to_le_bytes());
        context.update(&closed.energy.to_le_bytes());
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Compares everything with everything, and notes what does not agree.
pub(super) fn reckon(world: &mut World) -> Reckoning {
    let mut result = Reckoning::default();
    for charger in world.fleet.iter().flat_map(|one| &one.chargers) {
        result.unresolved_after_grace += charger.open_sessions() as u64;
        result.sessions_lost += charger.tally().sessions_lost;
    }
    // Counted by the checker, per session: a charger would count a repeated refusal on a faulty connection as a loss.
    result.readings_lost = world.checker.readings_lost;
    for processor in &world.processors {
        let found = processor.processor.books().violations();
        result.orphan_holds += open_holds(processor);
        result.double_captures += found.double_captures;
        result.over_captures += found.over_captures;
        result.other_violations += found.over_refunds
            + found.after_the_end
            + found.other_bodies
            + found.wrong_amounts
            + found.double_holds
            + found.wrong_processors
            + processor.counts.believed;
        result.unresolved_after_grace += processor.pending() as u64;
        if found != crate::sim::processor::Violations::default() {
            let what = format!("{} was asked what it should never be: {found:?}", processor.id);
            world.checker.violated(|| what);
        }
        if processor.counts.believed > 0 {
            let what = format!("{} lies of {} were believed", processor.counts.believed, processor.id);
            world.checker.violated(|| what);
        }
    }
    let Some(process) = world.process.take() else {
        world.checker.violated(|| "there is no gate in the end".to_owned());
        return result;
    };
    let lost = (result.readings_lost, result.sessions_lost);
    if lost != (0, 0) {
        world
            .checker
            .violated(|| format!("{} acknowledged readings and {} accepted sessions are lost", lost.0, lost.1));
    }
    let open: Vec<String> =
        sessions_of(&process).filter(|session| !matches!(session.stage, Stage::Closed(_))).map(story).collect();
    result.unresolved_after_grace += open.len() as u64;
    for open in open {
        world.checker.violated(|| format!("without an end: {open}"));
    }
    result.books_imbalance_minor = u64::try_from(balance(world, &process)).unwrap_or(u64::MAX);
    compare_pages(world, &process);
    result.processor_books_difference_minor = compare_holds(world, &process);
    compare_receipts(world);
    compare_transactions(world);
    for processor in 0..world.processors.len() {
        let processor = &world.processors[processor];
        let (open, pending) = (open_holds(processor), processor.pending());
        let id = processor.id.clone();
        if open + pending as u64 > 0 {
            world.checker.violated(|| format!("L18: {id}: {open} holds are open, {pending} callbacks wait"));
        }
    }
    world.process = Some(process);
    result
}

/// The books as a whole; returns how far they are from balance.
fn balance(world: &mut World, process: &Process) -> u128 {
    let books = books(process).books;
    let imbalance = books.imbalance();
    if imbalance != 0 {
        world.checker.violated(|| format!("L2: the books are off by {imbalance}"));
    }
    for broken in books.broken_bounds() {
        // An account with a credit limit may owe; its own machine keeps it to the limit.
        if !matches!(broken.account, Name::Prepaid(_)) {
            world.checker.violated(|| broken.to_string());
        }
    }
    for (name, currency, balance) in books.balances() {
        let rests =
            matches!(name, Name::Held(_) | Name::HeldContra(_) | Name::PrepaidClearing | Name::RefundInFlight(_));
        if rests && balance.net_debit() != 0 {
            world.checker.violated(|| format!("L4: {name} rests at {} {currency}", balance.net_debit()));
        }
    }
    for partition in process.shards().flat_map(Shard::partitions) {
        for (_, account) in partition.accounts.iter() {
            let Account::Open(open) = account.state() else { continue };
            for (hold, placed) in open.holds.iter().filter(|(_, placed)| matches!(placed.state, HoldState::Open { .. }))
            {
                let archived = archived(world, hold.payment().session());
                let found = process.session(hold.payment().session()).or(archived.as_ref());
                let story = found.map(story).unwrap_or_default();
                let what = format!("L18: {hold} is open on account {}: {:?}: {story}", open.id, placed.operations);
                world.checker.violated(|| what);
            }
        }
    }
    compare_accounts(world, process, &books);
    imbalance.unsigned_abs()
}

/// Accounts against the books, and against the payments that were made onto them: what failed or was lost is taken back.
fn compare_accounts(world: &mut World, process: &Process, books: &Books) {
    let mut wrong = Vec::new();
    for partition in process.shards().flat_map(Shard::partitions) {
        for open in partition.accounts.iter().filter_map(|(_, account)| account.state().opened()) {
            let booked = books.natural(&Name::Prepaid(open.id.clone()), open.currency);
            if booked != i128::from(open.paid) {
                wrong.push(format!("L9: account {} has {}, the books have {booked}", open.id, open.paid));
            }
        }
    }
    for top_up in process.top_ups() {
        if let Some(due) = top_up.due() {
            wrong.push(format!("L9: top-up {} of account {}: not made up: {due:?}", top_up.id, top_up.account));
        }
        let owed = books.natural(&Name::Shortfall(Debtor::Account(top_up.account.clone())), Currency::EUR);
        if owed < 0 {
            wrong.push(format!("L9: account {} was debited without its payment: {owed}", top_up.account));
        }
    }
    for what in wrong {
        world.checker.violated(|| what);
    }
}

/// The entries of the books themselves: each is on one page, in the archive or on its way there, and together they are the
/// balances.
fn compare_pages(world: &mut World, process: &Process) {
    let mut wrong = Vec::new();
    for partition in process.shards().flat_map(Shard::partitions) {
        let (id, pages) = (partition.id, &partition.books.pages);
        let kept: BTreeMap<u64, &Page> = pages.all().map(|page| (page.number, page)).collect();
        let mut books = Books::default();
        for number in 0..=kept.keys().last().copied().unwrap_or(0) {
            let archived = || world.durable.archive.get(Page::id(id, number)).ok().flatten();
            let entries = match kept.get(&number) {
                Some(page) => page.entries(),
                None => match archived().and_then(|found| Page::from_bytes(&found.archive_record)) {
                    Some((_, page)) => page.entries(),
                    None => {
                        wrong.push(format!("L2: page {number} of the books of partition {id} is lost"));
                        continue;
                    }
                },
            };
            entries.iter().for_each(|entry| books.post(entry));
        }
        if books != partition.books.books {
            wrong.push(format!("L2: the entries of partition {id} do not add up to its balances"));
        }
    }
    for what in wrong {
        world.checker.violated(|| what);
    }
}

/// Hold by hold, the gate against its processors.
fn compare_holds(world: &mut World, process: &Process) -> u64 {
    let mut difference = 0;
    let mut wrong = Vec::new();
    for processor in &world.processors {
        for (id, hold) in processor.processor.books().holds() {
            let payment = id.payment();
            let archived = archived(world, payment.session());
            let found = process.session(payment.session()).or(archived.as_ref());
            let of_top_up = || process.top_ups().find(|top_up| top_up.id == payment).map(|top_up| &top_up.payment);
            let payment = found.map(|session| &session.payment).or_else(of_top_up);
            let ours = payment.and_then(|of| of.holds().iter().find(|hold| of.hold_id(hold.number) == *id));
            let Some(ours) = ours else {
                difference += hold.captured_minor.unsigned_abs();
                wrong.push(format!("L9: {id} is at {} and nowhere here", processor.id));
                continue;
            };
            let theirs = hold.captured_minor - hold.refunded_minor;
            let mine = ours.captured_minor - ours.refunded_minor;
            if theirs != mine || ours.captured_minor != hold.captured_minor {
                difference += theirs.abs_diff(mine);
                let story = found.map(story).unwrap_or_default();
                wrong.push(format!(
                    "L9: {id}: {} has captured {} and refunded {}, the gate {} and {}: {story}",
                    processor.id, hold.captured_minor, hold.refunded_minor, ours.captured_minor, ours.refunded_minor
                ));
            }
            let agrees = match hold.state {
                // A capture that its processor reported as refused, and had done, has another result in the end.
                TheirState::Captured => {
                    matches!(ours.stage, HoldStage::Closed(Ending::Captured | Ending::CaptureFailed))
                }
                TheirState::Voided | TheirState::Expired | TheirState::CaptureFailed => {
                    matches!(ours.stage, HoldStage::Closed(_)) && ours.captured_minor == 0
                }
                TheirState::Open => false,
            };
            if !agrees {
                let story = found.map(story).unwrap_or_default();
                wrong.push(format!(
                    "L5: {id} ended as {:?} at {}, here {:?}: {story}",
                    hold.state, processor.id, ours.stage
                ));
            }
        }
    }
    for what in wrong {
        world.checker.violated(|| what);
    }
    difference
}

/// What chargers have in their hands, against the sessions that were archived.
fn compare_receipts(world: &mut World) {
    let finished = std::mem::take(&mut world.checker.finished);
    for one in &finished {
        let Some(id) = one.id else { continue };
        let Some(closed) = world.checker.closed.get(&id).copied() else {
            world.checker.violated(|| format!("{id} has a receipt at its charger and was never put away"));
            continue;
        };
        // The wire carries a cost with twelve decimals, and so does its text. A receipt may be older than a correction.
        let got = (one.total.minor, one.cost.to_string());
        let last = (closed.payable, closed.cost.to_string());
        let given = world.checker.sent_receipts.get(&id).is_some_and(|sent| sent.contains(&got));
        if got != last && !given {
            world.checker.violated(|| format!("{id}: the charger's receipt says {got:?}, the session {closed:?}"));
        }
        // A session that ended with the charger's last reading was billed for what the charger gave.
        let whole = closed.suspects == 0 && closed.sequence == one.readings && closed.payable > 0;
        if whole && one.energy.microwatt_hours() != closed.energy {
            world.checker.violated(|| {
                format!("{id}: the charger gave {} µWh, the session has {closed:?}", one.energy.microwatt_hours())
            });
        }
    }
    world.checker.finished = finished;
}

/// What OCPP chargers have ended, against the sessions that were archived. L22: what was acknowledged is there, with the energy
/// and the total that the charger knows. L23: nothing is billed twice, whatever was repeated.
fn compare_transactions(world: &mut World) {
    let mut wrong = Vec::new();
    let checker = &world.checker;
    for (charger, ended) in checker.ended.iter().filter(|(_, ended)| ended.is_plain && !ended.is_refused) {
        let known = checker.transactions.get(&(charger.clone(), ended.name.clone()));
        let closed = || known.into_iter().flatten().filter_map(|id| Some((id, checker.closed.get(id)?)));
        let energy = ended.energy_wh.saturating_mul(1_000_000);
        if !closed().any(|(_, closed)| closed.suspects > 0 || closed.energy == energy) {
            let found: Vec<_> = known.into_iter().flatten().filter_map(|id| archived(world, *id)).collect();
            let stories: Vec<_> = found.iter().map(story).collect();
            let closed: Vec<_> = closed().collect();
            wrong.push(format!(
                "L22: {charger}: {ended:?} was acknowledged, and the sessions are {stories:?} {closed:?}"
            ));
        }
        let is_total = |total: i64| {
            closed().any(|(id, closed)| {
                let given =
                    || checker.sent_receipts.get(id).is_some_and(|sent| sent.iter().any(|(minor, _)| *minor == total));
                closed.payable == total || given()
            })
        };
        if let Some(total) = ended.total.filter(|total| !is_total(total.minor)) {
            let found: Vec<_> = closed().collect();
            wrong.push(format!(
                "L22: {charger}: {:?} cost {total} at its end, and the sessions are {found:?}",
                ended.name
            ));
        }
    }
    for controller in world.fleet.iter().filter(|controller| controller.ocpp.is_some()) {
        let Some(charger) = controller.chargers.first() else { continue };
        let of_charger = checker.transactions.iter().filter(|((of, _), _)| of == charger.id());
        let closed = || of_charger.clone().flat_map(|(_, ids)| ids).filter_map(|id| checker.closed.get(id));
        let billed: i64 = closed().map(|closed| closed.energy).sum();
        // A register is reported in whole watt hours.
        let most = charger.tally().delivered_uwh + i64::try_from(closed().count()).unwrap_or(0) * 1_000_000;
        if billed > most {
            let manners = controller.ocpp.as_ref().map(|line| *line.ocpp.manners());
            wrong.push(format!("L23: {}: {billed} µWh are billed, and {most} were given: {manners:?}", charger.id()));
        }
    }
    for what in wrong {
        world.checker.violated(|| what);
    }
}

/// A gate that is killed while nothing is in progress and begins anew is the same: state for state, entry for entry
/// (L7).
pub(super) fn compare_replay(live: &Process, again: &Process) -> Vec<String> {
    let mut wrong = Vec::new();
    for live in live.shards().flat_map(Shard::partitions) {
        match again.shards().flat_map(Shard::partitions).find(|replayed| replayed.id == live.id) {
            Some(replayed) => wrong.extend(differences(live, replayed)),
            None => wrong.push(format!("L7: partition {} is gone", live.id)),
        }
    }
    wrong
}

fn differences(live: &Partition, replayed: &Partition) -> Vec<String> {
    let mut wrong = Vec::new();
    let id = live.id;
    // Full pages that are in the archive come back in a replay, and are archived again: only what they add up to
    // counts.
    let (ours, theirs) = (&live.books, &replayed.books);
    if (&ours.books, &ours.turnover) != (&theirs.books, &theirs.turnover) {
        wrong.push(format!("L7: partition {id}: replay has other books"));
    }
    if live.tally != replayed.tally {
        wrong.push(format!("L7: partition {id}: replay counts {:?}, not {:?}", replayed.tally, live.tally));
    }
    if (&live.series, &live.requests) != (&replayed.series, &replayed.requests) {
        wrong.push(format!("L7: partition {id}: replay has other invoice series, or other documents without a number"));
    }
    for (_, session) in live.sessions.iter() {
        let found = replayed.find_session(session.state().id).and_then(|cell| replayed.sessions.get(cell));
        if found.map(|found| found.state()) != Some(session.state()) {
            wrong.push(format!("L7: {}: replay has another state", session.state().id));
        }
    }
    for (_, session) in replayed.sessions.iter() {
        let is_live = live.find_session(session.state().id).is_some();
        if !is_live && !matches!(session.state().stage, Stage::Closed(_)) {
            wrong.push(format!("L7: {}: replay has a session that is not there", session.state().id));
        }
    }
    for (_, charger) in live.chargers.iter() {
        let found = replayed.find_charger(&charger.state().id).and_then(|cell| replayed.chargers.get(cell));
        if found.map(|found| found.state()) != Some(charger.state()) {
            wrong.push(format!("L7: charger {}: replay has another state", charger.state().id));
        }
    }
    if live.top_ups.known != replayed.top_ups.known {
        wrong.push(format!("L7: partition {id}: replay has other top-ups"));
    }
    for (_, account) in live.accounts.iter() {
        let Some(name) = account.id() else { continue };
        let found = replayed.find_account(name).and_then(|cell| replayed.accounts.get(cell));
        if found.map(|found| found.state()) != Some(account.state()) {
            wrong.push(format!("L7: account {name}: replay has another state"));
        }
    }
    wrong
}

fn sessions_of(process: &Process) -> impl Iterator<Item = &Session> {
    let partitions = process.shards().flat_map(Shard::partitions);
    partitions.flat_map(|partition| partition.sessions.iter().map(|(_, session)| session.state()))
}

fn archived(world: &World, id: SessionId) -> Option<Session> {
    let found = world.durable.archive.get(id).ok()??;
    ArchiveRecord::from_bytes(&found.archive_record).ok().map(|archive_record| archive_record.session)
}

/// A session in one line, for the report of a violation.
fn story(session: &Session) -> String {
    let holds: Vec<String> = session
        .payment
        .holds()
        .iter()
        .map(|hold| {
            format!(
                "hold {} at {} {:?} {}/{}",
                hold.number,
                hold.processor(),
                hold.stage,
                hold.captured_minor,
                hold.authorized_minor
            )
        })
        .collect();
    let live: Vec<String> = session
        .payment
        .live_operations()
        .iter()
        .map(|live| format!("{} {:?} {:?} attempt {}", live.number, live.ask, live.phase, live.attempts))
        .collect();
    format!("{} {:?}; {}; {}", session.id, session.stage, holds.join(", "), live.join(", "))
}

/// Everything captured less refunded by the books, of one currency.
pub(super) fn turnover(process: &Process) -> (i128, i128) {
    let books = books(process);
    let euro = books.turnover.get(&Currency::EUR).copied().unwrap_or_default();
    (euro.captured, euro.refunded)
}
