//! Which number a document gets. Never changes the state.

use super::state::Series;
use super::{Command, Document, Effect, Event, InvoiceNumber, Issued, OpenSeries, Rejection, SeriesKind, chain};
use crate::machine;
use crate::units::Now;

type Decision = machine::Decision<Event, Effect>;

/// Decides a command.
pub fn decide(series: &Series, command: Command, now: Now) -> Decision {
    let at = now.wall;
    match (series, command) {
        (Series::Unopened, Command::Open { series, kind, currency }) => {
            Decision::event(Event::Opened { at, series: series.clone(), kind, currency })
                .and_effect(Effect::Opened(series))
        }
        (Series::Open(open) | Series::Closed(open), Command::Open { series, kind, currency }) => {
            let same = open.id == series && open.kind == kind && open.currency == currency;
            Decision::reply(match same {
                true => Effect::Opened(series),
                false => Effect::Refused { document: None, rejection: Rejection::SeriesExists },
            })
        }
        (Series::Unopened, Command::Finalize(document)) => refuse(&document, Rejection::NoSuchSeries),
        (Series::Open(open), Command::Finalize(document)) => match known(open, &document) {
            Some(reply) => reply,
            None => match check(open, &document) {
                Ok(()) => number(open, document, now),
                Err(rejection) => refuse(&document, rejection),
            },
        },
        (Series::Closed(open), Command::Finalize(document)) => {
            known(open, &document).unwrap_or_else(|| refuse(&document, Rejection::SeriesClosed))
        }
        (Series::Unopened, Command::Close) => {
            Decision::reply(Effect::Refused { document: None, rejection: Rejection::NoSuchSeries })
        }
        (Series::Open(_), Command::Close) => Decision::event(Event::Closed { at }).and_effect(Effect::Closed),
        (Series::Closed(_), Command::Close) => Decision::reply(Effect::Closed),
    }
}

/// The answer for a document that is numbered already, or may be.
fn known(series: &OpenSeries, document: &Document) -> Option<Decision> {
    let Some(known) = series.known.get(&document.id) else {
        let forgotten = series.forgotten_until.is_some_and(|until| document.final_at <= until);
        return forgotten.then(|| refuse(document, Rejection::MayBeForgotten));
    };
    if known.content != document.content || known.final_at != document.final_at {
        return Some(refuse(document, Rejection::ExistsWithDifferentContent));
    }
    let number = InvoiceNumber { series: series.id.clone(), number: known.number };
    Some(Decision::reply(Effect::Numbered { document: document.id, number, hash: known.hash }))
}

fn check(series: &OpenSeries, document: &Document) -> Result<(), Rejection> {
    let Document { total, taxes, corrects, .. } = document;
    if total.currency != series.currency || taxes.iter().any(|(_, tax)| tax.currency != series.currency) {
        return Err(Rejection::CurrencyDiffers);
    }
    let (fits, references) = match series.kind {
        SeriesKind::Invoice => (total.minor >= 0, corrects.is_none()),
        SeriesKind::CreditNote => (total.minor < 0, corrects.is_some()),
    };
    if !fits {
        return Err(Rejection::WrongSign);
    }
    if !references {
        return Err(Rejection::WrongReference);
    }
    let sum: i128 = taxes.iter().map(|(_, tax)| i128::from(tax.minor)).sum();
    let other_sign = taxes.iter().any(|(_, tax)| tax.minor.signum() * total.minor.signum() < 0);
    match other_sign || sum.abs() > i128::from(total.minor).abs() {
        true => Err(Rejection::TaxesDoNotFit),
        false => Ok(()),
    }
}

fn number(series: &OpenSeries, document: Document, now: Now) -> Decision {
    let number = InvoiceNumber { series: series.id.clone(), number: series.last + 1 };
    let (previous, id) = (series.head, document.id);
    let hash = chain(&number, now.wall, &document, previous);
    let issued = Issued { at: now.wall, number: number.clone(), document, previous, hash };
    Decision::event(Event::Finalized(Box::new(issued))).and_effect(Effect::Numbered { document: id, number, hash })
}

fn refuse(document: &Document, rejection: Rejection) -> Decision {
    Decision::reply(Effect::Refused { document: Some(document.id), rejection })
}
