//! Why a question is not answered, or an order not carried out.

use super::views::Unanswered;

/// The cause of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The question or order makes no sense.
    Usage,
    /// The item does not exist.
    NotFound,
    /// A rule is against it.
    Conflict,
    /// Too much to do at the moment; the same may be asked again.
    Busy,
    /// No answer came in time; an order may have been carried out.
    NoAnswer,
    /// A failure of the gate itself.
    Failed,
}

/// Why a question is not answered, or an order not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// The cause.
    pub why: Why,
    /// The reason as text.
    pub message: String,
}

impl Refused {
    fn new(why: Why, message: impl ToString) -> Refused {
        Refused { why, message: message.to_string() }
    }

    /// The question or order makes no sense.
    pub fn usage(message: impl ToString) -> Refused {
        Refused::new(Why::Usage, message)
    }

    /// The item does not exist.
    pub fn not_found(message: impl ToString) -> Refused {
        Refused::new(Why::NotFound, message)
    }

    /// A rule is against it.
    pub fn conflict(message: impl ToString) -> Refused {
        Refused::new(Why::Conflict, message)
    }

    /// Too much to do at the moment.
    pub fn busy() -> Refused {
        Refused::new(Why::Busy, "the gate is busy; ask again")
    }

    /// No answer came in time.
    pub fn no_answer(message: impl ToString) -> Refused {
        Refused::new(Why::NoAnswer, message)
    }

    /// A failure of the gate itself.
    pub fn failed(message: impl ToString) -> Refused {
        Refused::new(Why::Failed, message)
    }
}

impl From<Unanswered> for Refused {
    fn from(unanswered: Unanswered) -> Refused {
        match unanswered {
            Unanswered::Silent { .. } => Refused::no_answer(unanswered),
            Unanswered::Archive(_)
            | Unanswered::Archived { .. }
            | Unanswered::Tariff { .. }
            | Unanswered::Figures(_) => Refused::failed(unanswered),
        }
    }
}
