//! State of a gate at the moment of a scrape, in Prometheus's text format.

use crate::api::{Figures, ProcessorRow, Views};
use crate::ledger::Name;
use crate::metrics::{
    CAPTURED, Collector, DISPUTED, ENERGY_DELIVERED, HOLDS_OUTSTANDING, IN_DOUBT_OPERATIONS, LEDGER_IMBALANCE, Metric,
    PROCESSOR_BREAKER_STATE, PROCESSOR_UP, REFUNDED, RELEASED, SESSIONS, SESSIONS_ACTIVE, SHORTFALL, SUSPENSE, TICKS,
    UNSECURED_EXPOSURE,
};
use crate::units::ProcessorId;
use std::sync::{Arc, Weak};

/// A collector that ends with the gate.
pub(super) fn collector(views: &Arc<Views>) -> Collector {
    let views: Weak<Views> = Arc::downgrade(views);
    Arc::new(move |text| {
        if let Some(views) = views.upgrade() {
            collect(&views, text);
        }
    })
}

/// Unknown values are left out: a missing series is noticed, one that is too small is not.
fn collect(views: &Views, text: &mut String) {
    match views.figures() {
        Ok(figures) => collect_figures(&figures, text),
        Err(error) => tracing::warn!(%error, "a scrape has no figures"),
    }
    match views.all_processors() {
        Ok(processors) => collect_processors(&processors, text),
        Err(error) => tracing::warn!(%error, "a scrape has no processors"),
    }
}

fn collect_figures(figures: &Figures, text: &mut String) {
    SESSIONS_ACTIVE.write_head(text);
    SESSIONS_ACTIVE.write_series(text, &["authorizing"], figures.sessions_authorizing);
    SESSIONS_ACTIVE.write_series(text, &["charging"], figures.sessions_charging);
    SESSIONS_ACTIVE.write_series(text, &["settling"], figures.sessions_settling);
    SESSIONS.write_head(text);
    SESSIONS.write_series(text, &["settled"], figures.sessions_settled);
    SESSIONS.write_series(text, &["refused"], figures.sessions_refused);
    TICKS.write_head(text);
    TICKS.write_series(text, &["recorded"], figures.readings);
    let books = figures.books();
    CAPTURED.write_head(text);
    for (currency, turnover) in &books.turnover {
        CAPTURED.write_series(text, &[currency.code()], turnover.captured);
    }
    RELEASED.write_head(text);
    for (currency, turnover) in &books.turnover {
        RELEASED.write_series(text, &[currency.code()], turnover.released);
    }
    REFUNDED.write_head(text);
    for (currency, turnover) in &books.turnover {
        REFUNDED.write_series(text, &[currency.code()], turnover.refunded);
    }
    SHORTFALL.write_head(text);
    for (currency, turnover) in &books.turnover {
        SHORTFALL.write_series(text, &[currency.code()], turnover.shortfall);
    }
    let mut balances = |metric: &Metric, wanted: fn(&Name) -> Option<&ProcessorId>| {
        metric.write_head(text);
        for (name, currency, balance) in books.books.balances() {
            if let Some(processor) = wanted(name) {
                let of = [currency.code(), processor.as_str()];
                metric.write_series(text, &of, balance.natural(name.kind()));
            }
        }
    };
    balances(&DISPUTED, |name| match name {
        Name::DisputeReceivable(processor) => Some(processor),
        _ => None,
    });
    balances(&SUSPENSE, |name| match name {
        Name::Suspense(processor) => Some(processor),
        _ => None,
    });
    // An account is its own processor; its name must not become a label.
    HOLDS_OUTSTANDING.write_head(text);
    let mut on_accounts = std::collections::BTreeMap::new();
    for (name, currency, balance) in books.books.balances() {
        let Name::Held(processor) = name else { continue };
        let held = balance.natural(name.kind());
        match crate::account::account_of(processor) {
            Some(_) => *on_accounts.entry(currency).or_insert(0) += held,
            None => HOLDS_OUTSTANDING.write_series(text, &[currency.code(), processor.as_str()], held),
        }
    }
    for (currency, held) in on_accounts {
        HOLDS_OUTSTANDING.write_series(text, &[currency.code(), "accounts"], held);
    }
    LEDGER_IMBALANCE.write_head(text);
    let sums = books.books.trial_balance().sums;
    for currency in books.turnover.keys() {
        let off: i128 = sums.iter().filter(|((_, of), _)| of == currency).map(|(_, sum)| sum.net_debit().abs()).sum();
        LEDGER_IMBALANCE.write_series(text, &[currency.code()], off);
    }
    UNSECURED_EXPOSURE.write_head(text);
    for currency in books.turnover.keys() {
        UNSECURED_EXPOSURE.write_series(text, &[currency.code()], figures.unsecured().get(currency).unwrap_or(&0));
    }
    IN_DOUBT_OPERATIONS.write_head(text);
    IN_DOUBT_OPERATIONS.write_series(text, &["all"], figures.operations_in_doubt);
    ENERGY_DELIVERED.write_head(text);
    ENERGY_DELIVERED.write_series(text, &[], i128::from(figures.energy_wh) * 3_600);
}

fn collect_processors(processors: &[ProcessorRow], text: &mut String) {
    PROCESSOR_UP.write_head(text);
    for processor in processors {
        PROCESSOR_UP.write_series(text, &[&processor.id], u8::from(processor.connections > 0));
    }
    PROCESSOR_BREAKER_STATE.write_head(text);
    for processor in processors {
        let open = !processor.breakers_open.is_empty();
        PROCESSOR_BREAKER_STATE.write_series(text, &[&processor.id, "open"], u8::from(open));
        PROCESSOR_BREAKER_STATE.write_series(text, &[&processor.id, "closed"], u8::from(!open));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::posting::PartitionBooks;
    use crate::ledger::{Debtor, Entry, EntryId, EntryKind, Funding, Leg, Sale, Share, Side};
    use crate::units::{Amount, Currency, Fingerprint, OperatorId, PartitionId, PaymentId, Timestamp};

    #[test]
    fn what_an_operator_has_to_see_to_is_counted_from_the_books() {
        let at = Timestamp::from_unix_ms(1_780_000_000_000);
        let id = |number| EntryId::of(PaymentId::new(at, PartitionId(1), number).operation(1));
        let eur = |cents| Amount::new(cents, Currency::EUR);
        let acme = ProcessorId::new("acme").unwrap();
        let operator = OperatorId::new("wst").unwrap();
        let share = Share { operator, net: eur(1_500), fee: eur(0), taxes: Vec::new(), rounding: eur(0) };
        let sale = Sale {
            id: id(1),
            at,
            funding: Funding::Processor(acme.clone()),
            hold: eur(2_000),
            captured: eur(1_000),
            shortfall: eur(500),
            debtor: Debtor::Credential(Fingerprint([7; 8])),
            share,
        };
        let leg = |account, side| Leg { account, side, amount: eur(300) };
        let unmatched = [leg(Name::Bank, Side::Debit), leg(Name::Suspense(acme.clone()), Side::Credit)];
        let mut books = PartitionBooks::default();
        for entry in [
            Entry::sale(&sale),
            Entry::dispute_opened(id(2), at, &acme, eur(250), eur(0)),
            Entry::new(id(3), at, EntryKind::Settlement, unmatched),
        ] {
            books.post(&entry.unwrap());
        }
        let mut text = String::new();
        collect_figures(&Figures::of_books(books), &mut text);
        for series in [
            "wattstile_shortfall_minor_units_total{currency=\"EUR\"} 500",
            "wattstile_disputed_minor_units{currency=\"EUR\",processor=\"acme\"} 250",
            "wattstile_suspense_minor_units{currency=\"EUR\",processor=\"acme\"} 300",
            "wattstile_ledger_imbalance_minor_units{currency=\"EUR\"} 0",
        ] {
            assert!(text.lines().any(|line| line == series), "{series} is not in\n{text}");
        }
    }
}
