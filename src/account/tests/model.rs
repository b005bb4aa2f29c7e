//! Random conversations against a naive account, with everything that a network does to messages.

use super::super::{Account, Command, Event, HoldState, Parts, TopUpSource, apply, next_deadline};
use super::*;
use crate::ledger::Name;
use crate::stored;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One step of a scenario. Numbers are small on purpose, so that steps collide.
#[derive(Clone, Debug)]
enum Step {
    Hold {
        session: u64,
        cents: i64,
        partial_ok: bool,
    },
    Raise {
        session: u64,
        ordinal: u16,
        cents: i64,
    },
    Lower {
        session: u64,
        ordinal: u16,
        cents: i64,
    },
    Capture {
        session: u64,
        ordinal: u16,
        cents: i64,
        last: bool,
    },
    Release {
        session: u64,
        ordinal: u16,
    },
    Refund {
        session: u64,
        ordinal: u16,
        capture: u16,
        cents: i64,
    },
    Inquire {
        session: u64,
        target: u16,
    },
    TopUp {
        order: u64,
        cents: i64,
    },
    Grant {
        order: u64,
        cents: i64,
        life_s: Option<i64>,
    },
    Limit {
        order: u64,
        cents: i64,
    },
    Time {
        seconds: i64,
    },
    /// The message number so many back comes once more.
    Repeat {
        back: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let session = 1_u64..6;
    let ordinal = 2_u16..12;
    let cents = -20_i64..2_000;
    let step = prop_oneof![
        4 => (session.clone(), cents.clone(), any::<bool>())
            .prop_map(|(session, cents, partial_ok)| Step::Hold { session, cents, partial_ok }),
        3 => (session.clone(), ordinal.clone(), cents.clone())
            .prop_map(|(session, ordinal, cents)| Step::Raise { session, ordinal, cents }),
        1 => (session.clone(), ordinal.clone(), cents.clone())
            .prop_map(|(session, ordinal, cents)| Step::Lower { session, ordinal, cents }),
        3 => (session.clone(), ordinal.clone(), cents.clone(), any::<bool>())
            .prop_map(|(session, ordinal, cents, last)| Step::Capture { session, ordinal, cents, last }),
        1 => (session.clone(), ordinal.clone()).prop_map(|(session, ordinal)| Step::Release { session, ordinal }),
        2 => (session.clone(), ordinal.clone(), ordinal.clone(), cents.clone())
            .prop_map(|(session, ordinal, capture, cents)| Step::Refund { session, ordinal, capture, cents }),
        1 => (session, ordinal).prop_map(|(session, target)| Step::Inquire { session, target }),
        2 => (2_u64..9, cents.clone()).prop_map(|(order, cents)| Step::TopUp { order, cents }),
        1 => (10_u64..14, cents.clone(), proptest::option::of(1_i64..50))
            .prop_map(|(order, cents, life_s)| Step::Grant { order, cents, life_s }),
        1 => (20_u64..24, cents).prop_map(|(order, cents)| Step::Limit { order, cents }),
        1 => (1_i64..20).prop_map(|seconds| Step::Time { seconds }),
        4 => (0_usize..12).prop_map(|back| Step::Repeat { back }),
    ];
    proptest::collection::vec(step, 0..80)
}

fn command(step: &Step, now_ms: i64) -> Command {
    match *step {
        Step::Hold { session, cents, partial_ok } => {
            let Command::Hold { op, amount, credential, decide_by, .. } = hold(session, cents) else { unreachable!() };
            Command::Hold { op, amount, partial_ok, credential, decide_by, is_alone: false }
        }
        Step::Raise { session, ordinal, cents } => raise(session, ordinal, cents),
        Step::Lower { session, ordinal, cents } => lower(session, ordinal, cents),
        Step::Capture { session: number, ordinal, cents, last } => {
            let (op, hold) = (payment(number).operation(ordinal), hold_of(number));
            Command::Capture { op, hold, amount: eur(cents), last }
        }
        Step::Release { session, ordinal } => release(session, ordinal),
        Step::Refund { session, ordinal, capture, cents } => refund(session, ordinal, capture, cents),
        Step::Inquire { session, target } => inquire(session, target),
        Step::TopUp { order, cents } => {
            Command::TopUp { op: order_op(order), amount: eur(cents), source: TopUpSource::Bank }
        }
        Step::Grant { order, cents, life_s } => {
            let expires_at = life_s.map(|seconds| Timestamp::from_unix_ms(now_ms + seconds * 1_000));
            Command::GrantPromotion { op: order_op(order), amount: eur(cents), expires_at }
        }
        Step::Limit { order, cents } => Command::SetCreditLimit { op: order_op(order), limit: eur(cents) },
        Step::Time { .. } | Step::Repeat { .. } => Command::ExpirePromotions,
    }
}

/// A naive model of the account: one number per kind, from the events alone.
#[derive(Default)]
struct Pencil {
    paid: i64,
    promotional: i64,
    limit: i64,
    reserved: BTreeMap<HoldId, Parts>,
    ended: BTreeMap<HoldId, u32>,
    captured: BTreeMap<HoldId, i64>,
    refunded: BTreeMap<HoldId, i64>,
}

impl Pencil {
    fn note(&mut self, event: &Event) {
        match event {
            Event::HoldPlaced { op, reserved, .. } => {
                assert!(self.reserved.insert(HoldId(*op), *reserved).is_none(), "a hold is placed once");
                assert!(!self.ended.contains_key(&HoldId(*op)), "an ended hold does not come back");
            }
            Event::HoldAdjusted { hold, reserved, .. } => {
                assert!(self.reserved.insert(*hold, *reserved).is_some(), "only an open hold is adjusted");
            }
            Event::Captured { hold, taken, last, .. } => {
                let reserved = self.reserved.get_mut(hold).expect("only an open hold is captured");
                *reserved =
                    Parts { paid: reserved.paid - taken.paid, promotional: reserved.promotional - taken.promotional };
                assert!(reserved.paid >= 0 && reserved.promotional >= 0, "F15: never more than the hold");
                self.paid -= taken.paid;
                self.promotional -= taken.promotional;
                *self.captured.entry(*hold).or_default() += taken.total();
                if *last {
                    self.end(*hold);
                }
            }
            Event::Released { hold, .. } => self.end(*hold),
            Event::Reversed { hold, .. } => {
                *self.ended.entry(*hold).or_default() += 1;
            }
            Event::Refused { hold, asked: super::super::Asked::Hold { .. }, .. } => {
                *self.ended.entry(*hold).or_default() += 1;
            }
            Event::Refunded { hold, returned, .. } => {
                self.paid += returned.paid;
                self.promotional += returned.promotional;
                *self.refunded.entry(*hold).or_default() += returned.total();
            }
            Event::ToppedUp { amount, .. } => self.paid += amount.minor,
            Event::Debited { amount, .. } => self.paid -= amount.minor,
            Event::PromotionGranted { amount, .. } => self.promotional += amount.minor,
            Event::PromotionExpired { amount, .. } => self.promotional -= amount.minor,
            Event::CreditLimitSet { limit, .. } => self.limit = limit.minor,
            Event::Opened { .. }
            | Event::Refused { .. }
            | Event::CredentialLinked { .. }
            | Event::CredentialUnlinked { .. }
            | Event::Closed { .. } => {}
        }
    }

    fn end(&mut self, hold: HoldId) {
        self.reserved.remove(&hold).expect("only an open hold ends");
        *self.ended.entry(hold).or_default() += 1;
    }

    fn held(&self) -> Parts {
        self.reserved.values().fold(Parts::default(), |sum, parts| Parts {
            paid: sum.paid + parts.paid,
            promotional: sum.promotional + parts.promotional,
        })
    }

    /// L3, L4, L5, L6 and the account's own invariants.
    fn agree(&self, bench: &Bench) {
        let account = bench.account.opened().unwrap();
        let balance = account.balance();
        assert_eq!((balance.posted.paid, balance.posted.promotional), (self.paid, self.promotional));
        assert_eq!(balance.held, self.held(), "L4: held is the sum of the open holds");
        let held = self.held();
        assert!(self.paid - held.paid >= -self.limit, "L3: paid money within its limit");
        assert!(self.promotional >= held.promotional, "L3: promotional money above zero");
        assert!(balance.available() >= 0);
        assert!(self.ended.values().all(|times| *times == 1), "L5: a hold ends once");
        let refunded = |hold| self.refunded.get(hold).copied().unwrap_or(0);
        assert!(self.captured.iter().all(|(hold, captured)| refunded(hold) <= *captured), "L6");
        let open = account.holds.values().filter(|hold| matches!(hold.state, HoldState::Open { .. })).count();
        assert_eq!((open, account.open_holds as usize), (self.reserved.len(), self.reserved.len()), "F17");

        let books = &bench.books;
        assert_eq!(books.imbalance(), 0);
        let natural = |name: &Name| books.natural(name, Currency::EUR);
        assert_eq!(natural(&Name::Prepaid(account.id.clone())), i128::from(self.paid));
        assert_eq!(natural(&Name::Promotional(account.id.clone())), i128::from(self.promotional));
        let taken: i64 = self.captured.values().sum::<i64>() - self.refunded.values().sum::<i64>();
        assert_eq!(
            natural(&Name::PrepaidClearing),
            -i128::from(taken),
            "L13: what left the account waits to be booked"
        );
    }
}

/// Runs the steps; every event is written down, read again and applied to a second account beside the first.
fn converse(steps: &[Step]) -> Bench {
    let mut bench = Bench::with(0);
    let mut replayed = Account::default();
    let mut pencil = Pencil::default();
    let mut sent: Vec<Command> = Vec::new();
    let mut answers: BTreeMap<OpId, (Command, Option<super::super::Effect>)> = BTreeMap::new();
    let mut seen = 0;
    for step in steps {
        if let Step::Time { seconds } = step {
            bench.now_ms += seconds * 1_000;
        }
        let answered = match step {
            Step::Repeat { back } if *back < sent.len() => sent[sent.len() - 1 - back].clone(),
            step => command(step, bench.now_ms),
        };
        sent.push(answered.clone());
        let log = bench.log.len();
        let effect = bench.order_once(answered.clone());

        // L11: one answer per operation; a repetition writes nothing.
        if let Some(op) = key(&answered) {
            match answers.get(&op) {
                Some((first, answer)) if *first == answered && is_settled(answer) => {
                    assert_eq!(&effect, answer, "the same operation is answered the same: {answered:?}");
                    assert_eq!(bench.log.len(), log, "a repetition writes nothing: {answered:?}");
                }
                Some((first, answer)) if *first != answered && is_settled(answer) => {
                    assert_eq!(bench.log.len(), log, "another body under a known id writes nothing: {answered:?}");
                }
                _ => {
                    answers.insert(op, (answered, effect));
                }
            }
        }
        for event in &bench.log[seen..] {
            apply(&mut replayed, &stored::from_bytes(&stored::to_bytes(event)).unwrap());
            pencil.note(event);
        }
        seen = bench.log.len();
        assert_eq!(replayed, bench.account, "L7, F12: what was written down is all there is");
        pencil.agree(&bench);
        if let Some(deadline) = next_deadline(&bench.account) {
            assert!(deadline.unix_ms() > 0);
        }
    }
    bench
}

/// The idempotency key of what changes something.
fn key(command: &Command) -> Option<OpId> {
    match command {
        Command::Hold { op, .. }
        | Command::Adjust { op, .. }
        | Command::Capture { op, .. }
        | Command::Release { op, .. }
        | Command::Refund { op, .. } => Some(*op),
        Command::Open { .. }
        | Command::Inquire { .. }
        | Command::TopUp { .. }
        | Command::Credit { .. }
        | Command::Debit { .. }
        | Command::GrantPromotion { .. }
        | Command::ExpirePromotions
        | Command::SetCreditLimit { .. }
        | Command::LinkCredential { .. }
        | Command::UnlinkCredential { .. }
        | Command::Close { .. } => None,
    }
}

/// Whether an answer was recorded. What was refused for the command's own figures or for want of a hold is not
/// recorded: the hold may come later, and then the operation is a new one.
fn is_settled(answer: &Option<super::super::Effect>) -> bool {
    use crate::payment::Outcome;
    let Some(super::super::Effect::Answer(answer)) = answer else { return false };
    match &answer.outcome {
        Outcome::Approved { .. } | Outcome::NotFound => true,
        Outcome::Declined(decline) => !matches!(
            &*decline.code,
            "amount_not_pos"
                | "hold_unknown"
                | "hold_ended"
                | "different_kind"
                | "different_amount"
                | "different_terms"
                | "different_hold"
        ),
        Outcome::Pending { .. } | Outcome::Error => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    /// F12-F17, F24, F25: no conversation makes the account, its books and a pencil disagree.
    #[test]
    fn f12_to_f17_no_conversation_breaks_an_account(steps in steps()) {
        converse(&steps);
    }

    /// L10: repetitions anywhere in between change nothing: with or without them, the account is the same.
    #[test]
    fn l10_repetitions_leave_no_trace(steps in steps()) {
        let without: Vec<Step> =
            steps.iter().filter(|step| !matches!(step, Step::Repeat { .. })).cloned().collect();
        let doubled: Vec<Step> =
            without.iter().flat_map(|step| match step {
                Step::Time { .. } => vec![step.clone()],
                step => vec![step.clone(), step.clone(), Step::Repeat { back: 0 }],
            }).collect();
        prop_assert_eq!(converse(&doubled).account, converse(&without).account);
    }
}
