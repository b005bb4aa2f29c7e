//! Questions to a shard, and their answers: plain values, so that a question can be asked from any node.
//!
//! Each question is a struct with a pure function of the shard's state; [`Query`] is one of them, [`Answer`] what it gives.
//! [`Ask`] connects a question with the type of its answer.

mod books;
mod documents;
mod observed;
mod paging;
mod resources;
mod sessions;
mod settlement;

pub use books::{AccountsBehind, BalancesOf, BookKey, BooksOf, EveryBook, PagesOf, PartitionEntries, ShardBooks};
pub use documents::{DocumentNamed, Documents, DocumentsWaiting, EveryDocument, NewestDocument, OpenedSeries};
pub use observed::{
    ChargersNamed, EntriesBehind, EntriesOfPage, EntryPlace, LiveSessions, NewEntries, SessionsFrom, SessionsNamed,
    TopUps, TopUpsNamed,
};
pub use paging::{First, Page, Part, Rows};
pub use resources::{
    AccountNamed, AccountSheet, AccountSummary, Accounts, ChargerSummary, Chargers, HoldSummary, Holds, ShardFigures,
    State,
};
pub use sessions::{
    FLAGS, Filter, LiveSession, Newest, OwnedPayment, Payments, SESSION_STATES, SessionNamed, SessionSummary, Sessions,
    TopUpPayment, WholeSessions, state_name,
};
pub use settlement::{BatchWithSameContent, Due, DueBatches, KeptBatches, Moved, MovedMoney, SettlementBatches};

use super::shard::Shard;

/// A question with its kind of answer.
pub trait Ask: Clone + Into<Query> + Send + 'static {
    /// Its answer.
    type Answer: Send + 'static;

    /// Answers it from the state of a shard.
    fn answer(&self, shard: &Shard) -> Self::Answer;

    /// The answer to it among all answers; `None`: it answers another question.
    fn of(answer: Answer) -> Option<Self::Answer>;
}

macro_rules! queries {
    ($($(#[$doc:meta])* $name:ident => $answer:ty;)*) => {
        /// A question to a shard.
        #[derive(Clone, Debug)]
        pub enum Query {
            $($(#[$doc])* $name($name),)*
        }

        /// The answer of a shard.
        #[derive(Debug)]
        pub enum Answer {
            $($(#[$doc])* $name($answer),)*
        }

        impl Query {
            /// Answers it from the state of a shard.
            pub fn answer(&self, shard: &Shard) -> Answer {
                match self {
                    $(Query::$name(question) => Answer::$name(question.answer(shard)),)*
                }
            }
        }

        $(
            impl From<$name> for Query {
                fn from(question: $name) -> Query {
                    Query::$name(question)
                }
            }

            impl Ask for $name {
                type Answer = $answer;

                fn answer(&self, shard: &Shard) -> $answer {
                    self.ask(shard)
                }

                fn of(answer: Answer) -> Option<$answer> {
                    match answer {
                        Answer::$name(answer) => Some(answer),
                        _ => None,
                    }
                }
            }
        )*
    };
}

queries! {
    /// Whether the shard answers at all.
    Alive => ();
    /// The shard in figures.
    State => Box<ShardFigures>;
    /// A page of the live sessions.
    Sessions => Rows<Newest, SessionSummary>;
    /// A live session.
    SessionNamed => Option<Box<LiveSession>>;
    /// The payment of a top-up.
    TopUpPayment => Option<Box<(crate::payment::Payment, crate::units::AccountId)>>;
    /// A page of the payments.
    Payments => Rows<std::cmp::Reverse<crate::units::PaymentId>, Box<OwnedPayment>>;
    /// A page of the live sessions with their states.
    WholeSessions => Rows<crate::units::SessionId, Box<crate::session::Session>>;
    /// A page of the chargers.
    Chargers => Rows<String, ChargerSummary>;
    /// A page of the accounts.
    Accounts => Rows<String, AccountSummary>;
    /// An account.
    AccountNamed => Option<Box<AccountSheet>>;
    /// A page of the holds that have not ended.
    Holds => Rows<crate::units::OpId, HoldSummary>;
    /// A page of the documents of live sessions.
    Documents => Rows<NewestDocument, crate::billing::invoice::Issued>;
    /// A document of a live session.
    DocumentNamed => Option<Box<crate::billing::invoice::Issued>>;
    /// Every document of live sessions.
    EveryDocument => Vec<crate::billing::invoice::Issued>;
    /// Documents that wait for their numbers.
    DocumentsWaiting => Vec<(crate::billing::invoice::SeriesFamily, crate::billing::invoice::Document)>;
    /// The series that are kept here.
    OpenedSeries => Vec<crate::billing::invoice::OpenSeries>;
    /// How the books stand.
    BooksOf => ShardBooks;
    /// The balances of some accounts of the books.
    BalancesOf => Vec<(BookKey, crate::ledger::Balance)>;
    /// The first accounts of the books behind one.
    AccountsBehind => std::collections::BTreeMap<BookKey, crate::ledger::Balance>;
    /// The books of each partition with the entries that are in memory.
    EveryBook => Vec<PartitionEntries>;
    /// The pages of a partition's books that are in memory.
    PagesOf => Vec<crate::accounting::pages::Page>;
    /// The settlement batches.
    SettlementBatches => Vec<KeptBatches>;
    /// Settlement batches that are to be booked, or taken back.
    DueBatches => Vec<Due>;
    /// A settlement batch with the same lines.
    BatchWithSameContent => Option<Box<str>>;
    /// A page of the sessions and top-ups of which money moved.
    MovedMoney => Rows<crate::units::PaymentId, Moved>;
    /// Some live sessions with their states.
    SessionsNamed => Vec<LiveSession>;
    /// The live sessions of a partition from a cell on.
    SessionsFrom => Option<LiveSessions>;
    /// Some top-ups.
    TopUpsNamed => Vec<crate::account::TopUp>;
    /// A page of the top-ups.
    TopUps => Rows<crate::units::PaymentId, Box<crate::account::TopUp>>;
    /// Some chargers.
    ChargersNamed => Vec<(String, ChargerSummary)>;
    /// The entries of the books behind places.
    EntriesBehind => Vec<NewEntries>;
}

/// Whether the shard answers at all.
#[derive(Clone, Copy, Debug)]
pub struct Alive;

impl Alive {
    fn ask(&self, _: &Shard) {}
}
