//! How a simulated processor misbehaves: on demand by magic tokens and amounts, or at random by rates.

use crate::payment::{DeclineClass, OperationKind};
use crate::units::TimeSpan;
use serde::{Deserialize, Serialize};

/// One way of treating an operation other than working on it and answering once.
///
/// "Done" means that the books change: an inquiry finds that afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Misbehaviour {
    /// Declined softly (code 51 or 61): may succeed later or for less. Not done.
    DeclineSoft = 1,
    /// Declined for good (code 14). Not done.
    DeclineHard = 2,
    /// Declined on suspicion of fraud (code 59). Not done.
    DeclineFraud = 3,
    /// Declined because something is broken behind the processor (code 96). Not done.
    DeclineTechnical = 4,
    /// Lost on its way: not done, no answer.
    Timeout = 5,
    /// Done, but no answer comes.
    Silent = 6,
    /// Done; the answer comes when three quarters of the time to answer are over.
    Slow = 7,
    /// Done; the answer comes after the time to answer is over.
    Late = 8,
    /// The request is stuck somewhere: no answer in time, then it arrives and is worked on and answered.
    Delayed = 9,
    /// Done; the same message is sent twice.
    Duplicate = 10,
    /// Done; the same answer is sent in two messages with numbers of their own.
    DuplicateOther = 11,
    /// Done and answered, and a moment later a message reports that it was declined.
    ApprovedThenDeclined = 12,
    /// Done, but declined in the answer; a moment later a message reports that it was approved.
    DeclinedThenApproved = 13,
    /// "Pending" first, and the outcome a moment later. Done.
    Pending = 14,
    /// Done, but the answer is an error.
    Error = 15,
    /// Not done, and the answer is an error.
    ErrorLost = 16,
    /// The connection closes instead of an answer. Not done.
    Drop = 17,
    /// The connection closes instead of an answer. Done.
    DropDone = 18,
    /// Done; the answer names an amount one minor unit too large, and a right one follows.
    WrongAmount = 19,
    /// Done; the answer names another hold, and a right one follows.
    WrongHold = 20,
}

impl Misbehaviour {
    /// Every one, in the order of the magic amounts.
    pub const ALL: [Misbehaviour; 20] = [
        Misbehaviour::DeclineSoft,
        Misbehaviour::DeclineHard,
        Misbehaviour::DeclineFraud,
        Misbehaviour::DeclineTechnical,
        Misbehaviour::Timeout,
        Misbehaviour::Silent,
        Misbehaviour::Slow,
        Misbehaviour::Late,
        Misbehaviour::Delayed,
        Misbehaviour::Duplicate,
        Misbehaviour::DuplicateOther,
        Misbehaviour::ApprovedThenDeclined,
        Misbehaviour::DeclinedThenApproved,
        Misbehaviour::Pending,
        Misbehaviour::Error,
        Misbehaviour::ErrorLost,
        Misbehaviour::Drop,
        Misbehaviour::DropDone,
        Misbehaviour::WrongAmount,
        Misbehaviour::WrongHold,
    ];

    /// Its name in a magic token.
    pub const fn name(self) -> &'static str {
        match self {
            Misbehaviour::DeclineSoft => "decline_soft",
            Misbehaviour::DeclineHard => "decline_hard",
            Misbehaviour::DeclineFraud => "decline_fraud",
            Misbehaviour::DeclineTechnical => "decline_technical",
            Misbehaviour::Timeout => "timeout",
            Misbehaviour::Silent => "silent",
            Misbehaviour::Slow => "slow",
            Misbehaviour::Late => "late",
            Misbehaviour::Delayed => "delayed",
            Misbehaviour::Duplicate => "duplicate",
            Misbehaviour::DuplicateOther => "duplicate_other",
            Misbehaviour::ApprovedThenDeclined => "approved_then_declined",
            Misbehaviour::DeclinedThenApproved => "declined_then_approved",
            Misbehaviour::Pending => "pending",
            Misbehaviour::Error => "error",
            Misbehaviour::ErrorLost => "error_lost",
            Misbehaviour::Drop => "drop",
            Misbehaviour::DropDone => "drop_done",
            Misbehaviour::WrongAmount => "wrong_amount",
            Misbehaviour::WrongHold => "wrong_hold",
        }
    }

    /// What it does, in a line.
    pub const fn meaning(self) -> &'static str {
        match self {
            Misbehaviour::DeclineSoft => "declined softly (51; an increment 61)",
            Misbehaviour::DeclineHard => "declined for good (14)",
            Misbehaviour::DeclineFraud => "declined on suspicion of fraud (59)",
            Misbehaviour::DeclineTechnical => "declined for a technical reason (96)",
            Misbehaviour::Timeout => "lost on its way: not done, no answer",
            Misbehaviour::Silent => "done, no answer",
            Misbehaviour::Slow => "done, answered late but in time",
            Misbehaviour::Late => "done, answered too late",
            Misbehaviour::Delayed => "stuck until it is too late, then done and answered",
            Misbehaviour::Duplicate => "done, the same message comes twice",
            Misbehaviour::DuplicateOther => "done, the same answer comes in two messages",
            Misbehaviour::ApprovedThenDeclined => "done and approved, then declined",
            Misbehaviour::DeclinedThenApproved => "done, but declined (91), then approved",
            Misbehaviour::Pending => "done, first answered \"pending\"",
            Misbehaviour::Error => "done, but answered with an error",
            Misbehaviour::ErrorLost => "not done, answered with an error",
            Misbehaviour::Drop => "not done, the connection closes",
            Misbehaviour::DropDone => "done, the connection closes",
            Misbehaviour::WrongAmount => "done, answered with a wrong amount, then rightly",
            Misbehaviour::WrongHold => "done, answered for another hold, then rightly",
        }
    }

    /// The refusal it stands for, if it is one.
    pub(super) const fn decline(self) -> Option<(DeclineClass, &'static str)> {
        match self {
            Misbehaviour::DeclineSoft => Some((DeclineClass::Soft, "51")),
            Misbehaviour::DeclineHard => Some((DeclineClass::Hard, "14")),
            Misbehaviour::DeclineFraud => Some((DeclineClass::Fraud, "59")),
            Misbehaviour::DeclineTechnical => Some((DeclineClass::Technical, "96")),
            Misbehaviour::Timeout
            | Misbehaviour::Silent
            | Misbehaviour::Slow
            | Misbehaviour::Late
            | Misbehaviour::Delayed
            | Misbehaviour::Duplicate
            | Misbehaviour::DuplicateOther
            | Misbehaviour::ApprovedThenDeclined
            | Misbehaviour::DeclinedThenApproved
            | Misbehaviour::Pending
            | Misbehaviour::Error
            | Misbehaviour::ErrorLost
            | Misbehaviour::Drop
            | Misbehaviour::DropDone
            | Misbehaviour::WrongAmount
            | Misbehaviour::WrongHold => None,
        }
    }

    /// Whether it is rolled at random for this kind of operation. Refusals are rolled only where a refusal is an
    /// everyday answer; an inquiry has no outcome of its own that could be contradicted.
    pub(super) const fn rolled_for(self, kind: OperationKind) -> bool {
        use OperationKind::{Authorize, Capture, Decrement, Increment, Inquire, Refund, Void};
        match self {
            Misbehaviour::DeclineSoft
            | Misbehaviour::DeclineHard
            | Misbehaviour::DeclineFraud
            | Misbehaviour::DeclineTechnical => matches!(kind, Authorize | Increment),
            Misbehaviour::ApprovedThenDeclined | Misbehaviour::DeclinedThenApproved => {
                matches!(kind, Authorize | Increment | Capture | Refund)
            }
            Misbehaviour::Pending | Misbehaviour::WrongAmount | Misbehaviour::WrongHold | Misbehaviour::Delayed => {
                matches!(kind, Authorize | Increment | Decrement | Capture | Void | Refund)
            }
            Misbehaviour::Timeout
            | Misbehaviour::Silent
            | Misbehaviour::Slow
            | Misbehaviour::Late
            | Misbehaviour::Duplicate
            | Misbehaviour::DuplicateOther
            | Misbehaviour::Error
            | Misbehaviour::ErrorLost
            | Misbehaviour::Drop
            | Misbehaviour::DropDone => {
                matches!(kind, Authorize | Increment | Decrement | Capture | Void | Refund | Inquire)
            }
        }
    }
}

/// The approved part of the requested amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Share {
    /// Half of it, rounded up.
    Half,
    /// At most this many minor units.
    Minor(i64),
}

impl Share {
    pub(super) fn of(self, minor: i64) -> i64 {
        match self {
            Share::Half => minor - minor / 2,
            Share::Minor(most) => minor.min(most),
        }
    }
}

/// What a processor reports on its own some time after a capture or refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Aftermath {
    CaptureFailed,
    RefundFailed,
    Dispute,
    DisputeWon,
    DisputeLost,
}

/// What the credential or the amount of an authorization calls for, kept with the hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Script {
    /// Treat the first operation of this kind so.
    pub misbehave: Option<(OperationKind, Misbehaviour)>,
    /// Approve no more than this.
    pub approve_at_most: Option<Share>,
    /// What the credential can spend, instead of the configured balance.
    pub balance_minor: Option<i64>,
    /// Validity of the hold, instead of the declared one.
    pub validity: Option<TimeSpan>,
    /// What happens after the money was taken.
    pub aftermath: Option<Aftermath>,
}

/// Magic tokens that are no misbehaviours, with their effects.
pub const MAGIC_WORDS: &[(&str, &str)] = &[
    ("balance_N", "the credential can spend N minor units"),
    ("partial_half", "half of what is asked for is approved"),
    ("partial_small", "at most 100 minor units are approved"),
    ("expires", "the hold lapses after a minute"),
    ("capture_fails_later", "captured, and two seconds later it turns out to have failed"),
    ("refund_fails_later", "refunded, and two seconds later it turns out to have failed"),
    ("dispute", "captured, and two seconds later disputed"),
    ("dispute_won", "the same, and won two seconds later"),
    ("dispute_lost", "the same, and lost two seconds later"),
];

/// What every magic token starts with.
const PREFIX: &str = "tok_";
/// The amount (in minor units) above which the magic amounts lie: + 1 is the first misbehaviour, and so on.
pub const MAGIC_AMOUNT_MINOR: i64 = 6_660_000;

impl Script {
    /// The script of an authorization: by its token, else by its amount, else none.
    ///
    /// A magic token is `tok_`, optionally a kind of operation and `_`, a keyword, and optionally a dot and anything:
    /// `tok_decline_soft`, `tok_capture_silent`, `tok_balance_1234.driver-7`.
    pub(super) fn of(token: &[u8], minor: i64) -> Script {
        let by_token = std::str::from_utf8(token).ok().and_then(Script::of_token);
        by_token.or_else(|| Script::of_amount(minor)).unwrap_or_default()
    }

    fn of_token(token: &str) -> Option<Script> {
        let words = token.strip_prefix(PREFIX)?;
        let words = words.split_once('.').map_or(words, |(words, _)| words);
        let script = Script::default();
        if let Some(digits) = words.strip_prefix("balance_") {
            return Some(Script { balance_minor: Some(digits.parse().ok()?), ..script });
        }
        match words {
            "partial_half" => return Some(Script { approve_at_most: Some(Share::Half), ..script }),
            "partial_small" => return Some(Script { approve_at_most: Some(Share::Minor(100)), ..script }),
            "expires" => return Some(Script { validity: Some(TimeSpan::from_secs(60)), ..script }),
            "capture_fails_later" => return Some(Script { aftermath: Some(Aftermath::CaptureFailed), ..script }),
            "refund_fails_later" => return Some(Script { aftermath: Some(Aftermath::RefundFailed), ..script }),
            "dispute" => return Some(Script { aftermath: Some(Aftermath::Dispute), ..script }),
            "dispute_won" => return Some(Script { aftermath: Some(Aftermath::DisputeWon), ..script }),
            "dispute_lost" => return Some(Script { aftermath: Some(Aftermath::DisputeLost), ..script }),
            _ => {}
        }
        let kinds = [
            ("authorize_", OperationKind::Authorize),
            ("increment_", OperationKind::Increment),
            ("decrement_", OperationKind::Decrement),
            ("capture_", OperationKind::Capture),
            ("void_", OperationKind::Void),
            ("refund_", OperationKind::Refund),
        ];
        let (kind, word) = kinds
            .iter()
            .find_map(|(prefix, kind)| words.strip_prefix(prefix).map(|word| (*kind, word)))
            .unwrap_or((OperationKind::Authorize, words));
        let misbehaviour = Misbehaviour::ALL.into_iter().find(|misbehaviour| misbehaviour.name() == word)?;
        Some(Script { misbehave: Some((kind, misbehaviour)), ..script })
    }

    fn of_amount(minor: i64) -> Option<Script> {
        let place = usize::try_from(minor.checked_sub(MAGIC_AMOUNT_MINOR)?.checked_sub(1)?).ok()?;
        let misbehaviour = *Misbehaviour::ALL.get(place)?;
        Some(Script { misbehave: Some((OperationKind::Authorize, misbehaviour)), ..Script::default() })
    }
}

/// How often each misbehaviour is rolled, in ten thousandths of the operations it can befall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Per ten thousand; rolled in this order, the first that hits counts.
    pub per_ten_thousand: Vec<(Misbehaviour, u16)>,
    /// An operation is treated well from this attempt on, so that everything comes to an end. 0: always.
    pub well_from_attempt: u16,
}

impl Rates {
    /// Nothing but the everyday: a few percent of declined authorizations, some slow answers.
    pub fn everyday() -> Rates {
        let per_ten_thousand =
            vec![(Misbehaviour::DeclineSoft, 150), (Misbehaviour::DeclineHard, 30), (Misbehaviour::Slow, 20)];
        Rates { per_ten_thousand, well_from_attempt: 4 }
    }

    /// Every misbehaviour, `percent` of the operations in all.
    pub fn hostile(percent: u8) -> Rates {
        let count = u16::try_from(Misbehaviour::ALL.len()).unwrap_or(u16::MAX);
        let each = (u16::from(percent.min(100)) * 100 / count).max(1);
        let per_ten_thousand = Misbehaviour::ALL.into_iter().map(|misbehaviour| (misbehaviour, each)).collect();
        Rates { per_ten_thousand, well_from_attempt: 4 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_a_kind_and_a_misbehaviour() {
        let of = |token: &str| Script::of(token.as_bytes(), 4_500).misbehave;
        assert_eq!(of("tok_decline_hard"), Some((OperationKind::Authorize, Misbehaviour::DeclineHard)));
        assert_eq!(of("tok_capture_silent.driver-7"), Some((OperationKind::Capture, Misbehaviour::Silent)));
        assert_eq!(of("tok_void_drop_done"), Some((OperationKind::Void, Misbehaviour::DropDone)));
        assert_eq!(of("tok_visa_4711"), None);
        assert_eq!(of("decline_hard"), None);
        assert_eq!(Script::of(b"tok_balance_1234", 1).balance_minor, Some(1_234));
        assert_eq!(Script::of(b"tok_\xff", 1), Script::default());
    }

    #[test]
    fn every_listed_word_is_understood() {
        for (word, _) in MAGIC_WORDS {
            let token = format!("tok_{}", word.replace("_N", "_7"));
            assert_ne!(Script::of(token.as_bytes(), 1), Script::default(), "{token}");
        }
    }

    #[test]
    fn amounts_stand_for_misbehaviours_in_order() {
        let of = |minor| Script::of(b"anything", minor).misbehave.map(|(_, misbehaviour)| misbehaviour);
        assert_eq!(of(6_660_001), Some(Misbehaviour::DeclineSoft));
        assert_eq!(of(6_660_020), Some(Misbehaviour::WrongHold));
        assert_eq!((of(6_660_000), of(6_660_021), of(i64::MIN)), (None, None, None));
    }

    #[test]
    fn every_name_is_its_own() {
        let names: std::collections::BTreeSet<&str> = Misbehaviour::ALL.iter().map(|m| m.name()).collect();
        assert_eq!(names.len(), Misbehaviour::ALL.len());
    }
}
