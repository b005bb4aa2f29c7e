//! Invariants of the money that need the whole state, by their names in the manual's chapter on payments (L1 to L21).
//! The [`checker`](super::checker) checks the others step by step, and the [`audit`](super::audit) at the end.

use super::process::Process;
use super::settlement::{EVER, archived_session};
use super::world::World;
use super::{Faults, checker::Checker};
use crate::billing::invoice::{
    Digest, Document, InvoiceNumber, Issued, OpenSeries, Series, SeriesId, SeriesKind, verify_series,
};
use crate::node::numbering::SeriesNames;
use crate::node::shard::Shard;
use crate::session::Session;
use crate::units::rng::Rng;
use crate::units::{OpId, PartitionId};
use std::collections::BTreeMap;

/// Documents of all sessions, by series.
type Documents = BTreeMap<SeriesId, Vec<Issued>>;

/// Checks every archived session, and the series that number their documents.
pub(super) fn check(world: &mut World) {
    let mut documents = Documents::new();
    let mut wrong = Vec::new();
    let good_weather = world.settings.faults == Faults::NONE;
    each_session(world, &mut |session| {
        for issued in session.documents() {
            documents.entry(issued.number.series.clone()).or_default().push(issued.clone());
        }
        wrong.extend(documents_come_to_the_money(session));
        if good_weather {
            wrong.extend(never_costs_more_than_was_held(session));
        }
    });
    for listed in documents.values_mut() {
        listed.sort_by_key(|issued| issued.number.number);
    }
    if let Some(process) = &world.process {
        wrong.extend(series_have_no_gap(process, &documents));
    }
    wrong.extend(a_document_has_one_number(&documents));
    for (series, listed) in &documents {
        if let Some(unseen) = a_changed_bit_is_seen(listed, &mut world.rng) {
            wrong.push(format!("L20: {series}: {unseen}"));
        }
    }
    report(&mut world.checker, wrong);
}

/// Shows every session that was archived, as it was the last time.
pub(super) fn each_session(world: &World, visit: &mut dyn FnMut(&Session)) {
    let read = world.durable.archive.range(EVER.0, EVER.1, &mut |archived| {
        if let Some(session) = archived_session(&archived.archive_record) {
            visit(&session);
        }
        true
    });
    read.expect("memory does not fail");
}

/// L12: the documents of a session come to what was captured (by card or from an account) and is owed, less what was given
/// back; and the taxes in a document are no more than it.
fn documents_come_to_the_money(session: &Session) -> Option<String> {
    let payable = session.ended().filter(|ended| ended.payable.minor > 0)?.payable.minor;
    let payment = &session.payment;
    let billed: i64 = session.documents().iter().map(|issued| issued.document.total.minor).sum();
    let taken = payment.captured().minor + payment.shortfall().minor - payment.refunded().minor;
    let taxed = session.documents().iter().all(|issued| {
        let taxes: i64 = issued.document.taxes.iter().map(|(_, amount)| amount.minor).sum();
        taxes.abs() <= issued.document.total.minor.abs()
    });
    let agrees = billed == taken.min(payable) && taxed;
    (!agrees).then(|| {
        format!(
            "L12: {}: documents over {billed} of {payable}, captured {}, owed {}, given back {}, taxes fit: {taxed}",
            session.id,
            payment.captured().minor,
            payment.shortfall().minor,
            payment.refunded().minor
        )
    })
}

/// L15: where nothing goes wrong, no session costs more than was held for it.
fn never_costs_more_than_was_held(session: &Session) -> Option<String> {
    let payable = session.ended().map_or(0, |ended| ended.payable.minor);
    let authorized: i64 = session.payment.holds().iter().map(|hold| hold.authorized_minor).sum();
    (payable > authorized).then(|| format!("L15: {} costs {payable}, and {authorized} were held", session.id))
}

/// L12: every series is numbered from 1 without a gap, up to the last number of its home, and every number has
/// reached its session; L20: its chain holds.
fn series_have_no_gap(process: &Process, documents: &Documents) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut homes: BTreeMap<&SeriesId, &OpenSeries> = BTreeMap::new();
    for partition in process.shards().flat_map(Shard::partitions) {
        if !partition.requests.is_empty() {
            wrong.push(format!("L12: {} documents of partition {} wait", partition.requests.len(), partition.id));
        }
        for open in partition.series.values().filter_map(Series::opened) {
            if homes.insert(&open.id, open).is_some() {
                wrong.push(format!("L12: two partitions keep {}", open.id));
            }
        }
    }
    for (id, open) in &homes {
        let listed = documents.get(*id).map_or(&[][..], Vec::as_slice);
        match verify_series(listed) {
            Ok(summary) if summary.count == open.last && summary.head.is_none_or(|head| head == open.head) => {}
            Ok(summary) => wrong.push(format!("L12: {id} has {} documents of {}", summary.count, open.last)),
            Err(broken) => wrong.push(format!("L12: {id}: {broken}")),
        }
    }
    let homeless = documents.keys().filter(|id| !homes.contains_key(id));
    wrong.extend(homeless.map(|id| format!("L12: sessions have documents of {id}, which no partition keeps")));
    wrong
}

/// L21: a document has one number, in whatever series; one series numbers all documents of a kind, currency and year.
fn a_document_has_one_number(documents: &Documents) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut numbers: BTreeMap<OpId, &InvoiceNumber> = BTreeMap::new();
    for issued in documents.values().flatten() {
        let Document { id, total, .. } = issued.document;
        if let Some(other) = numbers.insert(id, &issued.number) {
            wrong.push(format!("L21: {id} has the numbers {other} and {}", issued.number));
        }
        let kind = if total.minor < 0 { SeriesKind::CreditNote } else { SeriesKind::Invoice };
        // The family does not depend on the partition where one series numbers all documents.
        if !SeriesNames::default().family(kind, total.currency, PartitionId(0)).has(&issued.number) {
            wrong.push(format!("L21: {} is of no series for such documents of all partitions", issued.number));
        }
    }
    wrong
}

/// A change of a numbered document: its description, and the function.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Issued));

/// L20: whatever bit of a numbered document is changed, its chain does not hold any more.
fn a_changed_bit_is_seen(listed: &[Issued], rng: &mut Rng) -> Option<String> {
    let mut changed = listed.to_vec();
    let at = usize::try_from(rng.below(listed.len() as u64)).unwrap_or(0);
    let bit = rng.below(256);
    let honest = changed.get(at)?.clone();
    let flip = |digest: &mut Digest| digest.0[usize::try_from(bit / 8).unwrap_or(0)] ^= 1 << (bit % 8);
    let changes: [Change<'_>; 6] = [
        ("its total", &|issued| issued.document.total.minor ^= 1 << (bit % 48)),
        ("its content", &|issued| flip(&mut issued.document.content)),
        ("its hash", &|issued| flip(&mut issued.hash)),
        ("the hash before it", &|issued| flip(&mut issued.previous)),
        ("its number", &|issued| issued.number.number ^= 1 << (bit % 32)),
        ("its taxes", &|issued| match issued.document.taxes.first_mut() {
            Some((_, amount)) => amount.minor ^= 1 << (bit % 48),
            None => issued.document.total.minor ^= 1,
        }),
    ];
    for (what, change) in changes {
        change(&mut changed[at]);
        if verify_series(&changed).is_ok() {
            return Some(format!("{what} can be changed in {} without being detected", honest.number));
        }
        changed[at] = honest.clone();
    }
    None
}

fn report(checker: &mut Checker, wrong: Vec<String>) {
    for what in wrong {
        checker.violated(|| what);
    }
}
