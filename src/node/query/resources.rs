//! Chargers, accounts and holds; and a shard in figures.

use super::paging::{First, Part, Rows};
use crate::account::{Account, Balance, Movement, OpenAccount};
use crate::accounting::posting::PartitionBooks;
use crate::message::ConnectorState;
use crate::node::charger::HostedCharger;
use crate::node::partition::Tally;
use crate::node::shard::Shard;
use crate::payment::{Hold, Payment};
use crate::units::{AccountId, ConnectorId, Currency, Fingerprint, OpId, PaymentId, Power, SessionKey};
use std::collections::BTreeMap;

/// A page of every charger that ever sent a Hello, in the order of ids; those whose id begins so.
#[derive(Clone, Debug)]
pub struct Chargers {
    /// The beginning of the id.
    pub start: String,
    /// The page.
    pub part: Part<String>,
}

/// What a list shows of a charger.
#[derive(Clone, Debug)]
pub struct ChargerSummary {
    /// Whether it is connected now.
    pub online: bool,
    /// Its connectors, with their power and the state that each reported.
    pub connectors: Vec<(ConnectorId, Power, Option<ConnectorState>)>,
    /// Its firmware.
    pub firmware: Box<str>,
    /// Its numbers for the sessions that are open.
    pub sessions: Vec<SessionKey>,
    /// The registered key of its meter, in DER.
    pub meter_key: Option<Box<[u8]>>,
}

impl Chargers {
    pub(super) fn ask(&self, shard: &Shard) -> Rows<String, ChargerSummary> {
        self.part.of(shard, |partitions, page| {
            let mut first = First::behind(page.after.as_deref(), page.limit);
            for (_, hosted) in partitions.iter().flat_map(|partition| partition.chargers.iter()) {
                let id = hosted.state().id.as_str();
                if id.starts_with(&self.start) {
                    first.offer(id, hosted);
                }
            }
            first.rows(|id, hosted| (id.to_owned(), ChargerSummary::of(hosted)))
        })
    }
}

impl ChargerSummary {
    pub(super) fn of(hosted: &HostedCharger) -> ChargerSummary {
        let state = hosted.state();
        let connectors = state.described.connectors.iter().map(|connector| {
            let status = hosted.statuses().iter().find(|(id, _)| *id == connector.id);
            (connector.id, connector.power_max, status.map(|(_, state)| *state))
        });
        ChargerSummary {
            online: hosted.link().is_some(),
            connectors: connectors.collect(),
            firmware: state.described.firmware.clone(),
            sessions: hosted.sessions().map(|(key, _)| key).collect(),
            meter_key: state.meter_key().map(Box::from),
        }
    }
}

/// A page of every account, in the order of names.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// The page.
    pub part: Part<String>,
}

/// What a list shows of an account.
#[derive(Clone, Debug)]
pub struct AccountSummary {
    /// Its name.
    pub id: AccountId,
    /// Whether it is closed.
    pub is_closed: bool,
    /// Its balance, with its currency and credit limit.
    pub balance: Balance,
    /// Holds that are open.
    pub open_holds: u32,
}

impl AccountSummary {
    fn of(account: &Account, open: &OpenAccount) -> AccountSummary {
        AccountSummary {
            id: open.id.clone(),
            is_closed: matches!(account, Account::Closed(_)),
            balance: open.balance(),
            open_holds: open.open_holds,
        }
    }
}

impl Accounts {
    pub(super) fn ask(&self, shard: &Shard) -> Rows<String, AccountSummary> {
        self.part.of(shard, |partitions, page| {
            let mut first = First::behind(page.after.as_deref(), page.limit);
            for (_, hosted) in partitions.iter().flat_map(|partition| partition.accounts.iter()) {
                if let Some(open) = hosted.state().opened() {
                    first.offer(open.id.as_str(), (hosted.state(), open));
                }
            }
            first.rows(|id, (account, open)| (id.to_owned(), AccountSummary::of(account, open)))
        })
    }
}

/// An account.
#[derive(Clone, Debug)]
pub struct AccountNamed(pub AccountId);

/// An account in full.
#[derive(Clone, Debug)]
pub struct AccountSheet {
    /// What a list shows.
    pub summary: AccountSummary,
    /// The last movements, oldest first.
    pub movements: Vec<Movement>,
    /// The credentials that may use it.
    pub credentials: Vec<Fingerprint>,
    /// The credit limit with which it was opened, in minor units.
    pub first_credit_limit_minor: i64,
}

impl AccountNamed {
    pub(super) fn ask(&self, shard: &Shard) -> Option<Box<AccountSheet>> {
        shard.partitions().iter().find_map(|partition| {
            let hosted = partition.accounts.get(partition.find_account(&self.0)?)?;
            let open = hosted.state().opened()?;
            Some(Box::new(AccountSheet {
                summary: AccountSummary::of(hosted.state(), open),
                movements: open.movements.iter().cloned().collect(),
                credentials: open.credentials.iter().copied().collect(),
                first_credit_limit_minor: open.first_credit_limit,
            }))
        })
    }
}

/// A page of the holds that have not ended, in the order of ids.
#[derive(Clone, Debug)]
pub struct Holds {
    /// The page.
    pub part: Part<OpId>,
}

/// A hold with what its payment says of it.
#[derive(Clone, Debug)]
pub struct HoldSummary {
    /// Its id: that of its authorization.
    pub id: OpId,
    /// The session, or the top-up.
    pub payment: PaymentId,
    /// The currency.
    pub currency: Currency,
    /// The hold.
    pub hold: Hold,
}

impl HoldSummary {
    /// Of a payment's hold.
    pub fn of(payment: &Payment, hold: &Hold) -> HoldSummary {
        HoldSummary {
            id: payment.operation_id(hold.number),
            payment: payment.id(),
            currency: payment.currency(),
            hold: hold.clone(),
        }
    }
}

impl Holds {
    pub(super) fn ask(&self, shard: &Shard) -> Rows<OpId, HoldSummary> {
        self.part.of(shard, |partitions, page| {
            let mut first = First::behind(page.after, page.limit);
            let sessions = partitions.iter().flat_map(|partition| partition.sessions.iter());
            let top_ups = partitions.iter().flat_map(|partition| partition.top_ups.known.values());
            let payments = sessions.map(|(_, hosted)| &hosted.state().payment);
            for payment in payments.chain(top_ups.map(|top_up| &top_up.payment)) {
                for hold in payment.holds().iter().filter(|hold| !hold.is_over()) {
                    first.offer(payment.operation_id(hold.number), (payment, hold));
                }
            }
            first.rows(|id, (payment, hold)| (id, HoldSummary::of(payment, hold)))
        })
    }
}

/// The shard in figures.
#[derive(Clone, Copy, Debug)]
pub struct State;

/// Sums over the partitions of a shard.
#[derive(Clone, Debug, Default)]
pub struct ShardFigures {
    /// Chargers with a connection.
    pub chargers_online: u64,
    /// Sessions that wait for an authorization.
    pub sessions_authorizing: u64,
    /// Sessions in which energy may flow.
    pub sessions_charging: u64,
    /// Sessions whose hold is being captured or released.
    pub sessions_settling: u64,
    /// Sessions whose every hold has ended.
    pub sessions_settled: u64,
    /// Sessions whose credential was refused.
    pub sessions_refused: u64,
    /// Operations with an unknown outcome.
    pub operations_in_doubt: u64,
    /// Readings recorded.
    pub readings: u64,
    /// Energy delivered, in whole Wh.
    pub energy_wh: i64,
    /// The books.
    pub books: PartitionBooks,
    /// Cost so far of sessions without a hold, in minor units.
    pub unsecured: BTreeMap<Currency, i64>,
}

impl State {
    pub(super) fn ask(&self, shard: &Shard) -> Box<ShardFigures> {
        let mut figures = ShardFigures { chargers_online: shard.chargers_online() as u64, ..ShardFigures::default() };
        for partition in shard.partitions() {
            let Tally { opened: _, refused, settled, readings, energy } = partition.tally;
            figures.energy_wh += energy.whole_watt_hours();
            figures.sessions_settled += settled;
            figures.sessions_refused += refused;
            figures.readings += readings;
            figures.books.merge(&partition.books);
            let [authorizing, charging, settling, in_doubt] = partition.sessions.sums().map(u64::from);
            figures.sessions_authorizing += authorizing;
            figures.sessions_charging += charging;
            figures.sessions_settling += settling;
            figures.operations_in_doubt += in_doubt;
        }
        // Their number is small: the operator's policy bounds it.
        for session in
            shard.node_config().offline_authorizations.sessions().into_iter().filter_map(|id| shard.session(id))
        {
            let (state, tariff) = (session.state(), session.tariff());
            let running =
                state.rating.total(tariff).ok().and_then(|total| total.incl_vat.round(tariff.rounding()).ok());
            let sum = figures.unsecured.entry(tariff.currency()).or_default();
            *sum = sum.saturating_add(running.map_or(0, |running| running.minor));
        }
        Box::new(figures)
    }
}
