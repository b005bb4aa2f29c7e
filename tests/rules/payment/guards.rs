//! Every guard on a command: what it refuses has a type and a number of its own, and changes nothing.

use super::harness::{Harness, captured, eur, processor, token};
use wattstile::payment::{
    Command, Credential, CredentialKind, DeclineClass, Extent, HoldCapabilities, OperationKind, Ordinal, Rejection,
    VoidReason,
};
use wattstile::units::Amount;

/// A situation, and the command that is refused in it.
type Case = (Harness, Command);

fn authorize(token: &[u8]) -> Command {
    Command::Authorize {
        processor: processor("acme"),
        capabilities: HoldCapabilities::of(&super::harness::everything()),
        credential: Credential { kind: CredentialKind::CardToken, token: token.into() },
        amount: eur(1_000),
        partial_ok: true,
    }
}

fn interim(minor: i64) -> Command {
    Command::Capture { owed: eur(minor), extent: Extent::Interim }
}

/// A bench after this command.
fn after(mut harness: Harness, first: Command) -> Harness {
    harness.order(first);
    harness
}

fn refused_increment(class: DeclineClass) -> Harness {
    let mut harness = after(Harness::open(4_500), Command::IncreaseTo(eur(6_000)));
    let increment = harness.next();
    harness.decline(&increment, class, "51");
    harness
}

fn cases() -> Vec<(u16, Case)> {
    let open = || Harness::open(4_500);
    let more = Command::IncreaseTo(eur(6_000));
    let token = token().token;
    let mut four = Harness::new();
    for _ in 0..4 {
        four.authorize(100);
        let asked = four.next();
        four.approve(&asked, 100);
    }
    let mut many = Harness::open(4_500);
    for total in (4_500 - 254..4_500).rev() {
        many.order(Command::DecreaseTo(eur(total)));
        let asked = many.next();
        many.approve(&asked, total);
    }
    let mut reversing = Harness::new();
    reversing.authorize(1_000);
    reversing.wait_s(13);
    let once = |change: fn(&mut wattstile::payment::Capabilities)| Harness::with(change).opened(4_500);
    let mut raised = once(|can| can.increments_max = 1);
    raised.order(Command::IncreaseTo(eur(5_000)));
    let asked = raised.next();
    raised.approve(&asked, 5_000);
    let dollars = Amount::new(6_000, "USD".parse().expect("a currency"));
    let floor = eur(open().policy.floor_limit_minor + 1);
    let stand_in = Command::StandIn {
        processor: processor("acme"),
        capabilities: HoldCapabilities::of(&super::harness::everything()),
        credential: Credential { kind: CredentialKind::CardToken, token: token.clone() },
        amount: eur(1_000_000),
        floor,
    };
    let mut stand_in_desk = Harness::new();
    stand_in_desk.policy.total_max_minor = 10_000_000;
    let release = || Command::ReleaseByOperator { hold: Ordinal(1) };
    vec![
        (1, (captured(4_500), Command::Refund(eur(0)))),
        (1, (captured(4_500), Command::Refund(eur(-100)))),
        (2, (open(), Command::IncreaseTo(dollars))),
        (3, (open(), Command::IncreaseTo(eur(i64::MAX)))),
        (4, (Harness::new(), authorize(b"4111 1111 1111 1111"))),
        (5, (Harness::new(), authorize(b""))),
        (5, (Harness::new(), authorize(&[b'x'; 129]))),
        (6, (after(open(), Command::Release(VoidReason::NoStart)), more.clone())),
        (7, (four, authorize(&token))),
        (8, (many, Command::DecreaseTo(eur(1_000)))),
        (9, (after(Harness::new(), authorize(&token)), authorize(&token))),
        (10, (reversing, authorize(&token))),
        (11, (once(|can| can.kinds.retain(|kind| *kind != OperationKind::Increment)), more.clone())),
        (12, (stand_in_desk, stand_in)),
        (13, (open(), Command::ReleaseByOperator { hold: Ordinal(9) })),
        (14, (Harness::new(), more.clone())),
        (15, (after(open(), release()), release())),
        (16, (after(open(), interim(300)), Command::Release(VoidReason::NoStart))),
        (17, (after(open(), more.clone()), Command::IncreaseTo(eur(7_000)))),
        (18, (open(), Command::IncreaseTo(eur(4_500)))),
        (19, (open(), Command::IncreaseTo(eur(4_000)))),
        (19, (open(), Command::DecreaseTo(eur(5_000)))),
        (20, (raised, Command::IncreaseTo(eur(7_000)))),
        (21, (after(open(), interim(300)), interim(200))),
        (22, (captured(4_500), Command::Refund(eur(4_501)))),
        (22, (open(), Command::Refund(eur(1)))),
        (23, (refused_increment(DeclineClass::Soft), Command::IncreaseTo(eur(5_000)))),
        (24, (refused_increment(DeclineClass::Hard), Command::IncreaseTo(eur(5_000)))),
    ]
}

#[test]
fn each_guard_refuses_with_its_number_and_changes_nothing() {
    let mut seen = Vec::new();
    for (number, (mut harness, command)) in cases() {
        let (before, sent) = (harness.payment.clone(), harness.sent.len());
        let shown = format!("{number}: {command:?}");
        assert!(harness.order(command.clone()).is_empty(), "{shown}");
        let rejection = *harness.refused.last().unwrap_or_else(|| panic!("{shown} is refused"));
        assert_eq!(rejection.number(), number, "{shown}: {rejection}");
        assert!(harness.payment == before && harness.sent.len() == sent, "{shown} changed something");
        // HistoryKind again it is refused again, for the same reason.
        harness.order(command);
        assert_eq!(harness.refused[harness.refused.len() - 2], rejection, "{shown}");
        seen.push(number);
    }
    seen.dedup();
    assert_eq!(seen, (1..=24).collect::<Vec<u16>>(), "every number, in order");
}

#[test]
fn where_several_guards_are_hurt_the_lowest_number_is_told() {
    let mut harness = Harness::open(4_500);
    harness.release();
    let refused = |harness: &mut Harness, amount: Amount| {
        harness.order(Command::IncreaseTo(amount));
        *harness.refused.last().expect("it is refused")
    };
    let dollars = |minor| Amount::new(minor, "USD".parse().expect("a currency"));
    assert_eq!(refused(&mut harness, dollars(-1)), Rejection::AmountNotPositive);
    assert!(matches!(refused(&mut harness, dollars(i64::MAX)), Rejection::CurrencyDiffers { .. }));
    assert!(matches!(refused(&mut harness, eur(i64::MAX)), Rejection::AmountTooLarge { .. }));
    assert_eq!(refused(&mut harness, eur(4_500)), Rejection::Ending, "and not that the total is the same");
}
