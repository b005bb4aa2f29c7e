//! Batches part by part: refused, discarded, booked and reverted ones.

use super::*;
use crate::billing::reconciliation::WhyExtra;
use crate::billing::reconciliation::received::Booked;
use crate::stored;
use crate::units::{PartitionId, PaymentId, SessionId};

fn part(number: u32, last: bool, amounts: &[i64]) -> Part {
    let lines = amounts.iter().enumerate().map(|(index, gross)| {
        let session = SessionId::new(Timestamp::from_unix_ms(1), PartitionId(1), index as u64);
        let operation = Some(session.payment().operation(2));
        Line {
            kind: LineKind::Capture,
            operation,
            reference: None,
            currency: None,
            gross: *gross,
            fee: 10,
            net: gross - 10,
        }
    });
    Part {
        processor: ProcessorId::new("acme").unwrap(),
        batch: "2026-11-21".into(),
        revision: 1,
        part: number,
        at: Timestamp::from_unix_ms(1_763_700_000_000),
        currency: Currency::EUR,
        lines: lines.collect(),
        last,
        trailer: None,
        sha256: None,
    }
}

fn trailer(count: u64, gross: i128) -> Option<Trailer> {
    let fee = i128::from(count) * 10;
    Some(Trailer { count, gross, fee, net: gross - fee })
}

fn take(register: &mut Register, part: &Part) -> Result<bool, Refusal> {
    let event = register.receive(part, Timestamp::from_unix_ms(1_763_700_000_000))?;
    if let Some(event) = &event {
        register.apply(event);
    }
    Ok(event.is_some())
}

#[test]
fn parts_come_in_any_order_and_each_counts_once() {
    let mut register = Register::default();
    let last = Part { trailer: trailer(3, 2_400), ..part(2, true, &[500]) };
    assert_eq!(take(&mut register, &last), Ok(true));
    assert_eq!(take(&mut register, &last), Ok(false), "the same again");
    assert_eq!(take(&mut register, &part(2, true, &[501])), Err(Refusal::DifferentPart));
    assert_eq!(take(&mut register, &part(3, false, &[1])), Err(Refusal::DifferentBatch));
    assert_eq!(take(&mut register, &part(1, false, &[960, 940])), Ok(true));
    let (key, received) = register.batches().next().unwrap();
    assert!(received.is_whole() && !received.is_booked());
    let batch = received.batch(key);
    assert_eq!(
        batch.lines.iter().map(|line| (line.row, line.gross.minor)).collect::<Vec<_>>(),
        [(1, 960), (2, 940), (3, 500)]
    );
}

#[test]
fn a_batch_that_does_not_add_up_is_refused_with_its_last_part() {
    let mut register = Register::default();
    assert_eq!(take(&mut register, &part(1, false, &[960])), Ok(true));
    let wrong = Part { trailer: trailer(2, 1_461), ..part(2, true, &[500]) };
    assert_eq!(take(&mut register, &wrong), Err(Refusal::Trailer));
    let right = Part { trailer: trailer(2, 1_460), ..part(2, true, &[500]) };
    assert_eq!(take(&mut register, &right), Ok(true));
}

#[test]
fn the_hash_of_a_batch_in_several_parts_is_checked_when_it_is_whole() {
    let parts = [part(1, false, &[960, 940]), part(2, false, &[300]), part(3, true, &[500])];
    let whole = hash(parts.iter().flat_map(|part| part.lines.clone()));
    for order in [[0, 1, 2], [2, 0, 1], [2, 1, 0], [1, 2, 0]] {
        for stated in [whole, [7; 32]] {
            let mut register = Register::default();
            let mut taken = Ok(true);
            for index in order {
                let last = index == 2;
                let part = parts[index].clone();
                let trailer = trailer(4, 2_700).filter(|_| last);
                taken = take(&mut register, &Part { trailer, sha256: Some(stated).filter(|_| last), ..part });
            }
            assert_eq!(taken, if stated == whole { Ok(true) } else { Err(Refusal::Trailer) }, "{order:?}");
        }
    }
}

#[test]
fn of_old_batches_the_totals_stay_and_nothing_is_settled_twice() {
    let mut register = Register::default();
    let named = |number: usize| Part { batch: format!("{number}").into(), ..part(1, true, &[960, 40]) };
    let batches = limits::SETTLEMENT_BATCHES_KEPT + 10;
    for number in 0..batches {
        let part = named(number);
        assert_eq!(take(&mut register, &part), Ok(true));
        let matched = Verdict::Matched(part.lines[0].operation.unwrap());
        let (processor, batch) = (part.processor, part.batch);
        let verdicts = vec![matched, Verdict::Extra(WhyExtra::Unknown)];
        let booking = Booking { processor, batch, revision: 1, part: 1, entries: Vec::new(), verdicts };
        let event = register.book(&booking).unwrap();
        register.apply(&event);
    }
    let first = named(0);
    assert!(register.get(&(first.processor.clone(), first.batch.clone())).is_none(), "its lines are gone");
    assert_eq!(register.batches().count() + register.older().iter().count(), batches);
    let (_, older) = register.older().iter().next().unwrap();
    assert_eq!((older.count, older.gross, older.net), (2, 1_000, 980));
    let operation = |line: usize| first.lines[line].operation.unwrap();
    assert_eq!(register.older().settled(operation(0)), Some(960));
    assert_eq!(register.older().settled(operation(1)), None, "what fitted nothing was not settled");
    assert_eq!(take(&mut register, &first), Ok(false), "the same again is known");
    let other = Part { lines: part(1, true, &[961]).lines, ..first };
    assert_eq!(take(&mut register, &other), Err(Refusal::DifferentPart));
}

#[test]
fn a_batch_without_end_is_refused() {
    let mut register = Register::default();
    for number in 1..=u32::try_from(limits::SETTLEMENT_PARTS_MAX).unwrap() {
        assert_eq!(take(&mut register, &part(number, false, &[])), Ok(true));
    }
    assert_eq!(take(&mut register, &part(1_000_000, false, &[])), Err(Refusal::TooMany));
}

#[test]
fn unfinished_batches_of_one_processor_shut_out_no_other() {
    let mut register = Register::default();
    let named = |number: usize| Part { batch: format!("{number}").into(), ..part(1, false, &[960]) };
    for number in 0..limits::SETTLEMENT_UNFINISHED_MAX {
        assert_eq!(take(&mut register, &named(number)), Ok(true));
    }
    assert_eq!(take(&mut register, &named(999)), Err(Refusal::TooMany));
    let other = Part { processor: ProcessorId::new("other").unwrap(), ..named(999) };
    assert_eq!(take(&mut register, &other), Ok(true));
}

#[test]
fn no_processor_pushes_out_the_lines_of_another() {
    let mut register = Register::default();
    let of = |processor: &str, number: usize, last: bool| Part {
        processor: ProcessorId::new(processor).unwrap(),
        batch: format!("{number}").into(),
        ..part(1, last, &[960])
    };
    let book = |register: &mut Register, part: &Part| {
        take(register, part).unwrap();
        let verdicts = vec![Verdict::Extra(WhyExtra::Unknown)];
        let (processor, batch) = (part.processor.clone(), part.batch.clone());
        let event = register.book(&Booking { processor, batch, revision: 1, part: 1, entries: Vec::new(), verdicts });
        register.apply(&event.unwrap());
    };
    book(&mut register, &of("honest", 0, true));
    for processor in ["begins-a", "begins-b"] {
        for number in 0..limits::SETTLEMENT_UNFINISHED_MAX {
            take(&mut register, &of(processor, number, false)).unwrap();
        }
    }
    for number in 0..limits::SETTLEMENT_BATCHES_KEPT + 10 {
        book(&mut register, &of("finishes", number, true));
    }
    book(&mut register, &of("honest", 1, true));
    let kept = |of: &str| register.batches().filter(|(key, batch)| key.0.as_str() == of && batch.is_booked()).count();
    assert_eq!((kept("honest"), kept("finishes")), (2, limits::SETTLEMENT_BATCHES_KEPT));
    assert_eq!(register.older().iter().count(), 10);
}

#[test]
fn a_part_is_booked_once() {
    let mut register = Register::default();
    take(&mut register, &part(1, true, &[960])).unwrap();
    let (processor, batch) = register.batches().next().unwrap().0.clone();
    let verdicts = vec![Verdict::Matched(PaymentId::new(Timestamp::from_unix_ms(1), PartitionId(1), 0).operation(2))];
    let booking = Booking { processor, batch, revision: 1, part: 1, entries: Vec::new(), verdicts };
    let event = register.book(&booking).unwrap();
    register.apply(&event);
    assert_eq!(register.book(&booking), None);
    let mut settled = 0;
    register
        .batches()
        .for_each(|(_, batch)| batch.each_booked(&mut |_, verdict| settled += i32::from(verdict.settles().is_some())));
    assert!(register.batches().all(|(_, batch)| batch.is_booked()) && settled == 1);
}

fn at(hours: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_763_700_000_000 + hours * 3_600_000)
}

fn apply(register: &mut Register, event: Option<Event>) {
    register.apply(&event.expect("something follows"));
}

/// A register with one booked batch of one part, whose first line is matched and whose second is in suspense.
fn booked() -> (Register, Part, BatchKey) {
    let (mut register, part) = (Register::default(), part(1, true, &[960, 40]));
    take(&mut register, &part).unwrap();
    let key = (part.processor.clone(), part.batch.clone());
    let paper = Paper { processor: &key.0, batch: &key.1, revision: 1, at: part.at };
    let verdicts = vec![Verdict::Matched(part.lines[0].operation.unwrap()), Verdict::Extra(WhyExtra::Unknown)];
    let (mut entries, mut index) = (Vec::new(), 0);
    register.get(&key).unwrap().each_of(1, &mut |line| {
        entries.extend(paper.entries(line, &verdicts[index]).unwrap());
        index += 1;
    });
    let (processor, batch) = key.clone();
    let event = register.book(&Booking { processor, batch, revision: 1, part: 1, entries, verdicts });
    apply(&mut register, event);
    (register, part, key)
}

#[test]
fn a_batch_that_never_becomes_whole_is_forgotten_after_a_week() {
    let mut register = Register::default();
    let first = part(1, false, &[960]);
    let event = register.receive(&first, at(0)).unwrap();
    apply(&mut register, event);
    assert_eq!(register.overdue(at(7 * 24)), None);
    // Each part that comes begins the week anew.
    let event = register.receive(&part(2, false, &[40]), at(100)).unwrap();
    apply(&mut register, event);
    assert_eq!(register.overdue(at(7 * 24 + 99)), None);
    let expired = register.overdue(at(7 * 24 + 101));
    assert_eq!(expired, Some(Event::Expired((first.processor.clone(), first.batch.clone()))));
    apply(&mut register, expired);
    assert_eq!(register.batches().count(), 0);
    assert_eq!(register.overdue(at(9_999)), None);
    assert_eq!(take(&mut register, &first), Ok(true), "sent again, it begins again");
    // A whole batch waits for the reconciler, however long.
    let (register, ..) = booked();
    assert_eq!(register.overdue(at(99_999)), None);
}

#[test]
fn unfinished_batches_of_a_processor_are_bounded_in_bytes() {
    let mut register = Register::default();
    let long = "x".repeat(40_000);
    let named = |number: usize| {
        let mut part = Part { batch: format!("{number}").into(), ..part(1, false, &[960; 16]) };
        part.lines.iter_mut().for_each(|line| line.reference = Some(long.as_str().into()));
        part
    };
    let bytes = 16 * 40_000;
    let room = limits::SETTLEMENT_UNFINISHED_BYTES / bytes;
    let mut taken = 0;
    for number in 0..limits::SETTLEMENT_UNFINISHED_MAX {
        let first = named(number);
        taken += usize::from(take(&mut register, &first) == Ok(true));
        let second = Part { part: 2, ..first };
        taken += usize::from(take(&mut register, &second) == Ok(true));
    }
    assert!(taken <= room && taken + 2 > room, "{taken} parts, room for {room}");
    let replayed: Register = stored::from_bytes(&stored::to_bytes(&register)).unwrap();
    assert_eq!(replayed.receive(&named(9_999), at(0)), Err(Refusal::TooMany), "the bound holds after a restart");
}

#[test]
fn a_batch_is_taken_back_once_and_may_come_again() {
    let (mut register, part, key) = booked();
    let booked_sums = register.get(&key).unwrap().booked();
    assert_eq!((booked_sums.settled, booked_sums.suspense, booked_sums.fees), (960, 30, 10));
    let unknown = (key.0.clone(), "other".into());
    assert_eq!(register.revert(&unknown, "no", at(1)), Err(Refusal::NoBatch));
    assert_eq!(register.unbook(&key, 1, at(1)), None, "not ordered");
    let event = register.revert(&key, "wrong map", at(1)).unwrap();
    apply(&mut register, event);
    assert_eq!(register.revert(&key, "again", at(2)), Ok(None));
    assert_eq!(register.get(&key).unwrap().state(), BatchState::Reverting);
    let event = register.unbook(&key, 1, at(2));
    let Some(Event::Reverted(reversal)) = &event else { panic!("{event:?}") };
    let mut books = crate::ledger::Books::default();
    reversal.entries.iter().for_each(|entry| books.post(entry));
    assert_eq!((books.imbalance(), reversal.entries.len()), (0, 2));
    assert!(reversal.entries.iter().all(|entry| entry.corrects().is_some()));
    apply(&mut register, event);
    assert_eq!(register.unbook(&key, 1, at(3)), None, "each part once");
    let received = register.get(&key).unwrap();
    assert_eq!((received.state(), received.booked()), (BatchState::Reverted, Booked::default()));
    let mut lines = 0;
    received.each_booked(&mut |_, _| lines += 1);
    assert_eq!(lines, 0, "its operations are open again");

    // What the processor repeats by itself does not bring it back; the next revision does.
    assert_eq!(take(&mut register, &part), Ok(false));
    let again = Part { revision: 2, lines: part.lines[..1].to_vec(), ..part.clone() };
    assert_eq!(take(&mut register, &Part { revision: 3, ..again.clone() }), Err(Refusal::DifferentBatch));
    assert_eq!(take(&mut register, &again), Ok(true));
    let received = register.get(&key).unwrap();
    assert_eq!((received.state(), received.revision()), (BatchState::Received, 2));
    assert_eq!((received.earlier().len(), &*received.earlier()[0].reason), (1, "wrong map"));
    assert_eq!(take(&mut register, &part), Ok(false), "the first one is still known");
    assert_eq!(register.batches().count(), 1);
}

#[test]
fn the_same_list_under_another_name_is_seen_until_it_is_taken_back() {
    let (mut register, part, key) = booked();
    let twin = Part { batch: "twin".into(), ..part };
    take(&mut register, &twin).unwrap();
    let twin_key = (twin.processor.clone(), twin.batch.clone());
    let content = register.get(&twin_key).unwrap().content().unwrap();
    assert_eq!(register.same_content(&twin_key, content).as_deref(), Some(&*key.1));
    assert_eq!(register.same_content(&key, content), None, "the first is no repetition");
    let event = register.revert(&key, "wrong", at(1)).unwrap();
    apply(&mut register, event);
    assert_eq!(register.same_content(&twin_key, content), None);
}
