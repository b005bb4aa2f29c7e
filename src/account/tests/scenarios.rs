//! Conversations with an account.

use super::super::{Account, Command, HoldState, MovementKind, Rejection, TopUpSource, next_deadline};
use super::*;
use crate::ledger::Name;
use crate::limits;

#[test]
fn a_session_is_paid_from_what_it_held_and_nothing_else() {
    let mut bench = Bench::with(5_000);
    assert_eq!(bench.ask(hold(1, 3_000)), Ok(3_000));
    assert_eq!(bench.available(), 2_000);
    assert_eq!(bench.ask(raise(1, 2, 4_500)), Ok(4_500));
    assert_eq!(bench.available(), 500);
    assert_eq!(bench.ask(capture(1, 3, 3_210)), Ok(3_210));
    assert_eq!(bench.available(), 1_790);

    let id = AccountId::new("fleet-north").unwrap();
    assert_eq!(bench.books.natural(&Name::Prepaid(id), Currency::EUR), 1_790);
    assert_eq!(bench.books.natural(&Name::PrepaidClearing, Currency::EUR), -3_210);
    assert_eq!(bench.books.imbalance(), 0);
}

/// F13: a public wallet forgot its holds in what was available.
#[test]
fn f13_held_money_is_not_available_to_another_session() {
    let mut bench = Bench::with(5_000);
    assert_eq!(bench.ask(hold(1, 3_000)), Ok(3_000));
    assert_eq!(bench.ask(hold(2, 2_001)), Err("no_funds".into()));
    assert_eq!(bench.ask(hold(3, 2_000)), Ok(2_000));
    assert_eq!(bench.available(), 0);
}

/// F14: a public wallet committed a hold that had been rejected.
#[test]
fn f14_a_hold_that_ended_is_not_captured() {
    let mut bench = Bench::with(5_000);
    assert_eq!(bench.ask(hold(1, 9_000)), Err("no_funds".into()));
    assert_eq!(bench.ask(capture(1, 2, 100)), Err("hold_ended".into()));
    assert_eq!(bench.ask(hold(2, 1_000)), Ok(1_000));
    assert_eq!(bench.ask(release(2, 2)), Ok(1_000));
    assert_eq!(bench.ask(capture(2, 3, 100)), Err("hold_ended".into()));
    assert_eq!(bench.ask(release(2, 4)), Err("hold_ended".into()));
    assert_eq!(bench.available(), 5_000);
}

/// F15: two partial captures of one hold passed side by side.
#[test]
fn f15_captures_of_one_hold_never_add_up_to_more_than_it() {
    let mut bench = Bench::with(5_000);
    let part = |ordinal, cents| Command::Capture {
        op: payment(1).operation(ordinal),
        hold: hold_of(1),
        amount: eur(cents),
        last: false,
    };
    assert_eq!(bench.ask(hold(1, 1_000)), Ok(1_000));
    assert_eq!(bench.ask(part(2, 600)), Ok(600));
    assert_eq!(bench.ask(part(3, 600)), Err("exceeds_hold".into()));
    assert_eq!(bench.ask(part(4, 400)), Ok(400));
    assert_eq!(bench.available(), 4_000);
}

/// F16: a leg that was not covered left a one-sided entry behind.
#[test]
fn f16_what_is_not_covered_changes_nothing_at_all() {
    let mut bench = Bench::with(1_000);
    assert_eq!(bench.ask(hold(1, 800)), Ok(800));
    let (account, entries) = (bench.account.clone(), bench.books.clone());
    assert_eq!(bench.ask(capture(1, 2, 801)), Err("exceeds_hold".into()));
    assert_eq!(bench.ask(raise(1, 3, 1_001)), Err("no_funds".into()));
    assert_eq!(bench.account.opened().unwrap().balance(), account.opened().unwrap().balance());
    assert_eq!(bench.books, entries);
}

/// F17: a flag still showed "held" after the hold had been captured.
#[test]
fn f17_nothing_is_held_after_the_hold_ended() {
    let mut bench = Bench::with(1_000);
    assert_eq!(bench.ask(hold(1, 800)), Ok(800));
    assert_eq!(bench.ask(capture(1, 2, 300)), Ok(300));
    let account = bench.account.opened().unwrap();
    assert_eq!((account.held.total(), account.open_holds), (0, 0));
    assert!(matches!(account.holds[&hold_of(1)].state, HoldState::Captured(_)));
}

/// F24: prepaid money was deducted while charging and once more at the end.
#[test]
fn f24_the_running_cost_holds_and_only_the_end_deducts() {
    let mut bench = Bench::with(5_000);
    assert_eq!(bench.ask(hold(1, 500)), Ok(500));
    for (ordinal, total) in [(2, 700), (3, 900), (4, 1_300)] {
        assert_eq!(bench.ask(raise(1, ordinal, total)), Ok(total));
        assert_eq!(bench.account.opened().unwrap().paid, 5_000);
    }
    assert_eq!(bench.ask(capture(1, 5, 1_244)), Ok(1_244));
    assert_eq!(bench.ask(capture(1, 5, 1_244)), Ok(1_244), "the repeated capture is the same capture");
    assert_eq!(bench.account.opened().unwrap().paid, 3_756);
}

/// F25: a paid top-up granted the same amount once more as free credit.
#[test]
fn f25_paid_and_promotional_money_are_apart() {
    let mut bench = Bench::with(1_000);
    let grant = Command::GrantPromotion { op: order_op(2), amount: eur(500), expires_at: None };
    assert_eq!(bench.order(grant), Ok(1_500));
    let account = bench.account.opened().unwrap();
    assert_eq!((account.posted().paid, account.posted().promotional), (1_000, 500));

    assert_eq!(bench.ask(hold(1, 800)), Ok(800));
    assert_eq!(bench.ask(capture(1, 2, 700)), Ok(700));
    let account = bench.account.opened().unwrap();
    assert_eq!((account.posted().paid, account.posted().promotional), (800, 0), "promotional money goes first");

    assert_eq!(bench.ask(refund(1, 3, 2, 300)), Ok(300));
    let account = bench.account.opened().unwrap();
    assert_eq!((account.posted().paid, account.posted().promotional), (1_000, 100), "paid money comes back first");
}

/// F32: two first-time creations of one account raced.
#[test]
fn f32_opening_twice_is_opening_once() {
    let mut bench = Bench::with(1_000);
    let open = |op, limit| Command::Open {
        op: order_op(op),
        account: AccountId::new("fleet-north").unwrap(),
        currency: Currency::EUR,
        credit_limit: eur(limit),
    };
    let log = bench.log.len();
    assert_eq!(bench.order(open(77, 0)), Ok(1_000));
    assert_eq!(bench.order(open(0, 0)), Ok(1_000));
    assert_eq!(bench.order(open(77, 5)), Err("account_differs"));
    assert_eq!(bench.log.len(), log);
}

#[test]
fn the_same_operation_again_is_answered_again_and_another_body_is_told_apart() {
    let mut bench = Bench::with(5_000);
    assert_eq!(bench.ask(hold(1, 3_000)), Ok(3_000));
    assert_eq!(bench.ask(hold(2, 100)), Ok(100));
    let (account, log) = (bench.account.clone(), bench.log.len());

    let first = bench.order_once(hold(1, 3_000));
    assert_eq!(first, bench.order_once(hold(1, 3_000)), "the answer is the same to the last bit");
    assert_eq!(bench.ask(hold(1, 3_001)), Err("different_amount".into()));
    assert_eq!(bench.ask(capture(1, 1, 3_000)), Err("different_kind".into()));
    let dollars = Amount::new(3_000, "USD".parse().unwrap());
    let in_dollars = Command::Capture { op: payment(1).operation(2), hold: hold_of(1), amount: dollars, last: true };
    assert_eq!(bench.ask(in_dollars), Err("currency_differs".into()));
    let other_session = Command::Release { op: payment(2).operation(5), hold: hold_of(1) };
    assert_eq!(bench.ask(other_session), Err("other_session".into()));
    let other_terms = Command::Hold {
        op: hold_of(1).0,
        amount: eur(3_000),
        partial_ok: true,
        credential: None,
        decide_by: Timestamp::from_unix_ms(NOON + 60_000),
        is_alone: false,
    };
    assert_eq!(bench.ask(other_terms), Err("different_terms".into()));
    let other_credential = Command::Hold {
        op: hold_of(1).0,
        amount: eur(3_000),
        partial_ok: false,
        credential: Some(fingerprint(1)),
        decide_by: Timestamp::from_unix_ms(NOON + 60_000),
        is_alone: false,
    };
    assert_eq!(bench.ask(other_credential), Err("different_cred".into()));
    assert_eq!((bench.account, bench.log.len()), (account, log), "nothing of this left a trace");
}

#[test]
fn an_operation_of_another_hold_of_the_same_session_is_told_apart() {
    let mut bench = Bench::with(5_000);
    let second = HoldId(payment(1).operation(2));
    assert_eq!(bench.ask(hold(1, 1_000)), Ok(1_000));
    let Command::Hold { amount, partial_ok, credential, decide_by, .. } = hold(1, 2_000) else { unreachable!() };
    assert_eq!(
        bench.ask(Command::Hold { op: second.0, amount, partial_ok, credential, decide_by, is_alone: false }),
        Ok(2_000)
    );
    assert_eq!(bench.ask(release(1, 3)), Ok(1_000));
    let elsewhere = Command::Release { op: payment(1).operation(3), hold: second };
    assert_eq!(bench.ask(elsewhere), Err("different_hold".into()));
    assert_eq!(bench.available(), 3_000);
}

#[test]
fn a_refused_operation_stays_refused_when_money_comes_in() {
    let mut bench = Bench::with(100);
    assert_eq!(bench.ask(hold(1, 3_000)), Err("no_funds".into()));
    let top_up = Command::TopUp { op: order_op(2), amount: eur(5_000), source: TopUpSource::Bank };
    assert_eq!(bench.order(top_up), Ok(5_100));
    assert_eq!(bench.ask(hold(1, 3_000)), Err("no_funds".into()));
    assert_eq!(bench.ask(hold(2, 3_000)), Ok(3_000));
}

#[test]
fn a_hold_that_was_reversed_before_it_came_reserves_nothing() {
    let mut bench = Bench::with(5_000);
    assert_eq!(bench.ask(release(1, 2)), Err("not found".into()));
    assert_eq!(bench.ask(hold(1, 3_000)), Err("hold_ended".into()));
    assert_eq!(bench.ask(release(1, 2)), Err("not found".into()), "the repetition hears the same");
    assert_eq!(bench.available(), 5_000);
}

#[test]
fn an_authorization_after_its_time_reserves_nothing() {
    let mut bench = Bench::with(5_000);
    bench.now_ms = NOON + 60_001;
    assert_eq!(bench.ask(hold(1, 3_000)), Err("too_late".into()));
    assert_eq!(bench.available(), 5_000);
    // Its session treats that as final. A repetition within its own deadline gets the same answer, and so does one
    // after the clock was set back: else money would be reserved without a session.
    let Command::Hold { op, amount, partial_ok, credential, .. } = hold(1, 3_000) else { unreachable!() };
    let decide_by = Timestamp::from_unix_ms(NOON + 120_000);
    assert_eq!(
        bench.ask(Command::Hold { op, amount, partial_ok, credential, decide_by, is_alone: false }),
        Err("too_late".into())
    );
    bench.now_ms = NOON;
    assert_eq!(bench.ask(hold(1, 3_000)), Err("too_late".into()));
    assert_eq!(bench.available(), 5_000);
}

#[test]
fn a_refusal_that_is_not_recorded_is_another_message_than_the_answer_that_is() {
    let account = crate::account::Account::default();
    let number = |effect: Option<crate::account::Effect>| match effect {
        Some(crate::account::Effect::Answer(answer)) => answer.callback,
        other => panic!("{other:?}"),
    };
    let now = crate::units::Now { wall: Timestamp::from_unix_ms(NOON), mono: crate::units::Mono(0) };
    // The account is not open yet.
    let refused = number(crate::account::decide(&account, hold(1, 3_000), now).effects.pop());
    let placed = number(Bench::with(5_000).order_once(hold(1, 3_000)));
    assert_ne!(refused, placed, "the session has to hear of the hold to release it");
}

#[test]
fn an_inquiry_tells_what_became_of_an_operation() {
    let mut bench = Bench::with(5_000);
    assert_eq!(bench.ask(inquire(1, 1)), Err("not found".into()));
    assert_eq!(bench.ask(hold(1, 3_000)), Ok(3_000));
    assert_eq!(bench.ask(inquire(1, 1)), Ok(3_000));
    assert_eq!(bench.ask(inquire(1, 2)), Err("not found".into()));
    assert_eq!(bench.ask(capture(1, 2, 1_000)), Ok(1_000));
    assert_eq!(bench.ask(inquire(1, 2)), Ok(1_000));
}

#[test]
fn what_may_be_forgotten_is_never_called_unknown() {
    let mut bench = Bench::with(1_000_000);
    let surplus = 10;
    let all = u64::try_from(limits::ACCOUNT_CLOSED_HOLDS).unwrap() + surplus;
    for number in 1..=all {
        assert_eq!(bench.ask(hold(number, 100)), Ok(100));
        assert_eq!(bench.ask(capture(number, 2, 100)), Ok(100));
    }
    assert_eq!(bench.ask(inquire(1, 2)), Ok(100), "young holds are all remembered");

    bench.now_ms += limits::ACCOUNT_MEMORY.ms() + 1;
    assert_eq!(bench.ask(release(5_000, 1)), Err("not found".into()));
    assert_eq!(bench.ask(inquire(1, 2)), Err("open".into()));
    assert_eq!(bench.ask(capture(1, 2, 100)), Err("op_forgotten".into()));
    assert_eq!(bench.ask(release(1, 3)), Err("op_forgotten".into()));
    assert_eq!(bench.ask(hold(1, 100)), Err("too_late".into()));
    assert_eq!(bench.ask(capture(all, 2, 100)), Ok(100), "the last ones are remembered whatever their age");
    let holds = &bench.account.opened().unwrap().holds;
    let refused = holds.values().filter(|hold| hold.state == HoldState::Declined).count();
    assert_eq!((holds.len() - refused, refused), (limits::ACCOUNT_CLOSED_HOLDS, 1));
}

#[test]
fn a_long_session_keeps_its_authorization_and_its_last_operations() {
    let mut bench = Bench::with(1_000_000);
    assert_eq!(bench.ask(hold(1, 100)), Ok(100));
    for ordinal in 2..200_u16 {
        let total = i64::from(ordinal) * 100;
        assert_eq!(bench.ask(raise(1, ordinal, total)), Ok(total));
    }
    let operations = bench.account.opened().unwrap().holds[&hold_of(1)].operations.len();
    assert_eq!(operations, limits::ACCOUNT_OPERATIONS_PER_HOLD);
    assert_eq!(bench.ask(hold(1, 100)), Ok(100));
    assert_eq!(bench.ask(raise(1, 199, 19_900)), Ok(19_900));
    assert_eq!(bench.ask(raise(1, 2, 200)), Err("op_forgotten".into()));
    assert_eq!(bench.ask(inquire(1, 2)), Err("open".into()));
}

#[test]
fn less_is_reserved_only_where_less_is_welcome() {
    let mut bench = Bench::with(1_000);
    let Command::Hold { op, amount, credential, decide_by, .. } = hold(1, 4_500) else { unreachable!() };
    let welcome = Command::Hold { op, amount, partial_ok: true, credential, decide_by, is_alone: false };
    assert_eq!(bench.ask(welcome), Ok(1_000));
    assert_eq!(bench.ask(lower(1, 2, 400)), Ok(400));
    assert_eq!(bench.available(), 600);
    assert_eq!(bench.ask(lower(1, 3, 401)), Err("wrong_direction".into()));
    assert_eq!(bench.ask(raise(1, 4, 400)), Err("same_total".into()));
}

#[test]
fn a_credit_limit_lets_paid_money_go_below_zero_and_no_further() {
    let mut bench = Bench::with(0);
    assert_eq!(bench.order(Command::SetCreditLimit { op: order_op(3), limit: eur(10_000) }), Ok(10_000));
    assert_eq!(bench.ask(hold(1, 10_001)), Err("no_funds".into()));
    assert_eq!(bench.ask(hold(2, 9_000)), Ok(9_000));
    assert_eq!(bench.order(Command::SetCreditLimit { op: order_op(4), limit: eur(8_999) }), Err("limit_in_use"));
    assert_eq!(bench.ask(capture(2, 2, 9_000)), Ok(9_000));
    assert_eq!(bench.account.opened().unwrap().paid, -9_000);
    assert_eq!(bench.order(Command::SetCreditLimit { op: order_op(5), limit: eur(8_999) }), Err("limit_in_use"));
    assert_eq!(bench.order(Command::Close { op: order_op(6) }), Err("owes_money"));
}

#[test]
fn promotional_money_lapses_except_where_a_session_holds_it() {
    let mut bench = Bench::with(0);
    let expires_at = Some(Timestamp::from_unix_ms(NOON + 1_000));
    assert_eq!(bench.order(Command::GrantPromotion { op: order_op(2), amount: eur(1_000), expires_at }), Ok(1_000));
    assert_eq!(next_deadline(&bench.account), expires_at);
    assert_eq!(bench.ask(hold(1, 300)), Ok(300));

    bench.now_ms = NOON + 1_000;
    assert_eq!(bench.ask(hold(2, 1)), Err("no_funds".into()), "money that is due cannot be reserved any more");
    assert_eq!(bench.order_once(Command::ExpirePromotions), None);
    assert_eq!(bench.account.opened().unwrap().posted().promotional, 300);
    assert_eq!(next_deadline(&bench.account), None, "a hold arms no timer");

    assert_eq!(bench.ask(capture(1, 2, 100)), Ok(100));
    assert_eq!(next_deadline(&bench.account), expires_at);
    assert_eq!(bench.order_once(Command::ExpirePromotions), None);
    assert_eq!(bench.account.opened().unwrap().posted().promotional, 0);
    assert_eq!(bench.books.natural(&Name::Breakage, Currency::EUR), 900);
    assert_eq!(bench.books.imbalance(), 0);
}

#[test]
fn only_linked_credentials_pay() {
    let mut bench = Bench::with(5_000);
    let with = |number, credential| {
        let Command::Hold { op, amount, partial_ok, decide_by, .. } = hold(number, 100) else { unreachable!() };
        Command::Hold { op, amount, partial_ok, credential, decide_by, is_alone: false }
    };
    assert_eq!(bench.ask(with(1, Some(fingerprint(1)))), Err("not_linked".into()), "nothing is linked yet");
    assert_eq!(bench.ask(with(5, None)), Ok(100), "the sender has checked the credential");
    let link = Command::LinkCredential { op: order_op(2), credential: fingerprint(1) };
    assert_eq!(bench.order(link), Ok(4_900));
    assert_eq!(bench.ask(with(2, Some(fingerprint(1)))), Ok(100));
    assert_eq!(bench.ask(with(3, Some(fingerprint(2)))), Err("not_linked".into()));
    let unlink = |op, number| Command::UnlinkCredential { op: order_op(op), credential: fingerprint(number) };
    assert_eq!(bench.order(unlink(3, 2)), Err("not_linked"));
    let second = Command::LinkCredential { op: order_op(4), credential: fingerprint(2) };
    assert_eq!(bench.order(second), Ok(4_800));
    assert_eq!(bench.order(unlink(5, 1)), Ok(4_800));
    assert_eq!(bench.ask(with(4, Some(fingerprint(1)))), Err("not_linked".into()));
    assert_eq!(bench.ask(capture(2, 2, 50)), Ok(50), "a hold outlives its credential");
}

#[test]
fn refunds_stay_within_what_was_captured() {
    let mut bench = Bench::with(5_000);
    assert_eq!(bench.ask(hold(1, 3_000)), Ok(3_000));
    assert_eq!(bench.ask(refund(1, 2, 3, 100)), Err("capture_unknown".into()));
    assert_eq!(bench.ask(capture(1, 3, 1_000)), Ok(1_000));
    assert_eq!(bench.ask(refund(1, 4, 3, 600)), Ok(600));
    assert_eq!(bench.ask(refund(1, 5, 3, 600)), Err("exceeds_capture".into()));
    assert_eq!(bench.ask(refund(1, 6, 3, 0)), Err("amount_not_pos".into()));
    assert_eq!(bench.ask(refund(1, 7, 3, -600)), Err("amount_not_pos".into()));
    assert_eq!(bench.ask(refund(1, 4, 3, 600)), Ok(600), "the repetition is the same refund");
    assert_eq!(bench.available(), 4_600);
}

#[test]
fn an_order_is_carried_out_once() {
    let mut bench = Bench::with(0);
    let top_up = |op, cents| Command::TopUp { op: order_op(op), amount: eur(cents), source: TopUpSource::Bank };
    assert_eq!(bench.order(top_up(1, 700)), Ok(700));
    assert_eq!(bench.order(top_up(1, 700)), Ok(700));
    assert_eq!(bench.order(top_up(1, 701)), Err("different_amount"));
    assert_eq!(bench.order(Command::Close { op: order_op(1) }), Err("different_kind"));
    assert_eq!(bench.order(top_up(2, limits::ACCOUNT_AMOUNT_MAX)), Err("amount_too_large"));
    assert_eq!(bench.order(top_up(3, i64::MAX)), Err("amount_too_large"));
    assert_eq!(bench.order(top_up(4, 0)), Err("amount_not_pos"));
    for op in 10..10 + u64::try_from(limits::ACCOUNT_ORDERS).unwrap() {
        assert!(bench.order(top_up(op, 1)).is_ok());
    }
    assert_eq!(bench.order(top_up(1, 700)), Err("op_forgotten"));
}

#[test]
fn a_closed_account_pays_out_and_still_answers() {
    let mut bench = Bench::with(1_000);
    let grant = Command::GrantPromotion { op: order_op(2), amount: eur(500), expires_at: None };
    assert_eq!(bench.order(grant), Ok(1_500));
    assert_eq!(bench.ask(hold(1, 100)), Ok(100));
    assert_eq!(bench.order(Command::Close { op: order_op(3) }), Err("holds_open"));
    assert_eq!(bench.ask(capture(1, 2, 100)), Ok(100));
    assert_eq!(bench.order(Command::Close { op: order_op(4) }), Ok(0));
    assert!(matches!(bench.account, Account::Closed(_)));
    assert_eq!(bench.order(Command::Close { op: order_op(4) }), Ok(0));
    assert_eq!(bench.ask(capture(1, 2, 100)), Ok(100));
    assert_eq!(bench.ask(hold(2, 100)), Err("account_closed".into()));
    assert_eq!(bench.books.natural(&Name::Breakage, Currency::EUR), 400);
    assert_eq!(bench.books.natural(&Name::Bank, Currency::EUR), 0);
    assert_eq!(bench.books.imbalance(), 0);
}

#[test]
fn the_statement_shows_every_movement_with_its_balance() {
    let mut bench = Bench::with(5_000);
    assert_eq!(bench.ask(hold(1, 3_000)), Ok(3_000));
    assert_eq!(bench.ask(capture(1, 2, 1_000)), Ok(1_000));
    assert_eq!(bench.ask(refund(1, 3, 2, 400)), Ok(400));
    let lines: Vec<(MovementKind, i64, i64)> = bench
        .account
        .opened()
        .unwrap()
        .movements
        .iter()
        .map(|line| (line.kind, line.change.total(), line.balance.total()))
        .collect();
    assert_eq!(
        lines,
        [
            (MovementKind::TopUp, 5_000, 5_000),
            (MovementKind::Capture, -1_000, 4_000),
            (MovementKind::Refund, 400, 4_400),
        ]
    );
}

#[test]
fn every_refusal_has_its_own_short_code() {
    let all = [
        Rejection::NoSuchAccount,
        Rejection::AccountClosed,
        Rejection::AccountExists,
        Rejection::CurrencyDiffers,
        Rejection::AmountNotPositive,
        Rejection::AmountTooLarge,
        Rejection::OperationOfAnotherSession,
        Rejection::OperationForgotten,
        Rejection::ExistsWithDifferentKind,
        Rejection::ExistsWithDifferentAmount,
        Rejection::ExistsWithDifferentHold,
        Rejection::ExistsWithDifferentCredential,
        Rejection::ExistsWithDifferentTerms,
        Rejection::CredentialNotLinked,
        Rejection::TooLate,
        Rejection::HoldUnknown,
        Rejection::HoldEnded,
        Rejection::SameTotal,
        Rejection::WrongDirection,
        Rejection::ExceedsHold,
        Rejection::CaptureUnknown,
        Rejection::ExceedsCapture,
        Rejection::InsufficientFunds,
        Rejection::TooManyHolds,
        Rejection::TooMany,
        Rejection::LimitInUse,
        Rejection::HoldsOpen,
        Rejection::OwesMoney,
    ];
    let codes: std::collections::BTreeSet<&str> = all.iter().map(|rejection| rejection.code()).collect();
    assert_eq!(codes.len(), all.len());
    assert!(codes.iter().all(|code| code.len() <= 16), "a decline's code has at most 16 bytes");
    assert!(all.iter().enumerate().all(|(index, rejection)| *rejection as usize == index + 1));
    let manual = include_str!("../../manual/money.md");
    for rejection in all {
        let row = format!("| `{}` | {} |", rejection.code(), rejection as u8);
        assert!(manual.contains(&row), "the manual has no row {row}");
    }
}
