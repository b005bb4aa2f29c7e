//! Every command in every state: the answers, and that a refusal changes nothing.

use super::super::{Account, Command, TopUpSource};
use super::*;

/// The states of hold 1 (and of the account) with the name that the table gives them.
fn states() -> Vec<(&'static str, Bench)> {
    let mut all = vec![("no account", unopened()), ("no hold", Bench::with(5_000))];
    let mut state = |name, steps: Vec<Command>| {
        let mut bench = Bench::with(5_000);
        for step in steps {
            bench.order_once(step);
        }
        all.push((name, bench));
    };
    let partly = Command::Capture { op: payment(1).operation(2), hold: hold_of(1), amount: eur(400), last: false };
    state("open", vec![hold(1, 1_000)]);
    state("partly captured", vec![hold(1, 1_000), partly]);
    state("captured", vec![hold(1, 1_000), capture(1, 2, 400)]);
    state("released", vec![hold(1, 1_000), release(1, 2)]);
    state("declined", vec![hold(1, 9_000)]);
    state("reversed", vec![release(1, 2)]);
    state("account closed", vec![hold(1, 1_000), capture(1, 2, 400), Command::Close { op: order_op(90) }]);
    all
}

fn unopened() -> Bench {
    Bench { account: Account::default(), log: Vec::new(), books: Default::default(), now_ms: NOON }
}

/// The answer to every command in every state. New operations have the number 7, so that none is a repetition.
#[test]
fn every_command_in_every_state() {
    let columns = ["hold", "raise", "lower", "capture", "release", "refund", "inquire", "top-up", "close"];
    let expected = [
        (
            "no account",
            "no_account no_account no_account no_account no_account no_account not-found no_account no_account",
        ),
        ("no hold", "1000 hold_unknown hold_unknown hold_unknown not-found hold_unknown not-found ok ok"),
        ("open", "different_amount 1500 800 300 1000 capture_unknown 1000 ok holds_open"),
        ("partly captured", "different_amount 1500 800 300 600 300 1000 ok holds_open"),
        ("captured", "different_amount hold_ended hold_ended hold_ended hold_ended 300 1000 ok ok"),
        ("released", "different_amount hold_ended hold_ended hold_ended hold_ended capture_unknown 1000 ok ok"),
        ("declined", "different_amount hold_ended hold_ended hold_ended hold_ended capture_unknown no_funds ok ok"),
        ("reversed", "hold_ended hold_ended hold_ended hold_ended hold_ended capture_unknown not-found ok ok"),
        (
            "account closed",
            "different_amount account_closed account_closed account_closed account_closed account_closed 1000 \
             account_closed account_closed",
        ),
    ];
    let mut table = Vec::new();
    for (name, _) in states() {
        let row = columns.map(|column| {
            let (_, mut bench) = states().into_iter().find(|(other, _)| *other == name).unwrap();
            let (before, log) = (bench.account.clone(), bench.log.len());
            let answer = ask(&mut bench, name, column);
            let refused = answer.contains('_') || answer == "not-found";
            if refused && bench.log.len() == log {
                assert_eq!(bench.account, before, "{name}: a refused {column} changes nothing");
            }
            answer
        });
        table.push((name, row.join(" ")));
    }
    let expected: Vec<(&str, String)> = expected.into_iter().map(|(name, row)| (name, row.to_owned())).collect();
    assert_eq!(table, expected);
}

fn ask(bench: &mut Bench, state: &str, column: &str) -> String {
    let by_session = match column {
        "hold" if state == "no hold" || state == "no account" => hold(1, 1_000),
        "hold" => hold(1, 1_001),
        "raise" => raise(1, 7, 1_500),
        "lower" => lower(1, 7, 800),
        "capture" => capture(1, 7, 300),
        "release" => release(1, 7),
        "refund" => refund(1, 7, 2, 300),
        "inquire" => inquire(1, 1),
        "top-up" => {
            let top_up = Command::TopUp { op: order_op(91), amount: eur(1), source: TopUpSource::Bank };
            return bench.order(top_up).map_or_else(str::to_owned, |_| "ok".to_owned());
        }
        "close" => {
            return bench.order(Command::Close { op: order_op(92) }).map_or_else(str::to_owned, |_| "ok".to_owned());
        }
        other => panic!("no such column: {other}"),
    };
    bench.ask(by_session).map_or_else(|code| code.replace(' ', "-"), |minor| minor.to_string())
}

/// Amounts that no operation may have, in every place where one stands.
#[test]
fn zero_negative_overflowing_and_foreign_amounts_change_nothing() {
    let dollars = Currency::from_numeric(840).unwrap();
    let cases = [
        (eur(0), "amount_not_pos"),
        (eur(-1), "amount_not_pos"),
        (eur(i64::MIN), "amount_not_pos"),
        (eur(i64::MAX), "amount_too_large"),
        (Amount::new(5, dollars), "currency_differs"),
    ];
    for (amount, code) in cases {
        let mut bench = Bench::with(5_000);
        bench.order_once(hold(1, 1_000));
        bench.order_once(capture(2, 2, 1));
        let (before, log) = (bench.account.clone(), bench.log.len());
        let (op, hold) = (payment(1).operation(7), hold_of(1));
        let decide_by = Timestamp::from_unix_ms(NOON + 60_000);
        let first = HoldId(payment(3).operation(1));
        for command in [
            Command::Hold { op: first.0, amount, partial_ok: true, credential: None, decide_by, is_alone: false },
            Command::Adjust { op, hold, direction: super::super::Direction::Up, new_total: amount },
            Command::Adjust { op, hold, direction: super::super::Direction::Down, new_total: amount },
            Command::Capture { op, hold, amount, last: true },
            Command::Refund { op, hold, capture: op, amount },
        ] {
            assert_eq!(bench.ask(command), Err(code.into()));
        }
        let order = order_op(95);
        assert_eq!(bench.order(Command::TopUp { op: order, amount, source: TopUpSource::Bank }), Err(code));
        assert_eq!(bench.order(Command::GrantPromotion { op: order, amount, expires_at: None }), Err(code));
        assert_eq!((&bench.account, bench.log.len()), (&before, log));
    }
}
