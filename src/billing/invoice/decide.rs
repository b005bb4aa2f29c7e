//! Which number a document gets. Never changes the state.

use super::state::{Answered, Series};
use super::{
    Command, Document, Effect, Event, InvoiceNumber, Issued, OpenSeries, Rejection, RequestNumbers, SeriesKind, chain,
};
use crate::limits;
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
            Decision::reply(if same {
                Effect::Opened(series)
            } else {
                Effect::Refused { document: None, rejection: Rejection::SeriesExists }
            })
        }
        (Series::Unopened, Command::Finalize { document, .. }) => refuse(&document, Rejection::NoSuchSeries),
        (Series::Open(open), Command::Finalize { document, numbers }) => match known(open, &document, numbers) {
            Some(reply) => reply,
            None => match check(open, &document, numbers) {
                Ok(()) => number(open, *document, numbers, now),
                Err(rejection) => refuse(&document, rejection),
            },
        },
        (Series::Closed(open), Command::Finalize { document, numbers }) => {
            known(open, &document, numbers).unwrap_or_else(|| refuse(&document, Rejection::SeriesClosed))
        }
        (Series::Unopened, Command::Close) => {
            Decision::reply(Effect::Refused { document: None, rejection: Rejection::NoSuchSeries })
        }
        (Series::Open(_), Command::Close) => Decision::event(Event::Closed { at }).and_effect(Effect::Closed),
        (Series::Closed(_), Command::Close) => Decision::reply(Effect::Closed),
    }
}

/// The answer to a request that came before.
fn known(series: &OpenSeries, document: &Document, numbers: RequestNumbers) -> Option<Decision> {
    Some(match series.answered(numbers)? {
        Answered::Recorded => refuse(document, Rejection::Recorded),
        Answered::With(known) if known.document != document.id || known.content != document.content => {
            refuse(document, Rejection::ExistsWithDifferentContent)
        }
        Answered::With(known) => {
            let issued = series.issued(known, document.clone());
            // Whatever else differs shows in the hash.
            if chain(&issued.number, issued.at, document, issued.previous) == known.hash {
                Decision::reply(Effect::Numbered { issued: Box::new(issued), numbers })
            } else {
                refuse(document, Rejection::ExistsWithDifferentContent)
            }
        }
    })
}

fn check(series: &OpenSeries, document: &Document, numbers: RequestNumbers) -> Result<(), Rejection> {
    if series.known_of(numbers.partition).any(|known| known.document == document.id) {
        return Err(Rejection::ExistsWithDifferentContent);
    }
    if numbers.oldest > numbers.request || numbers.request - numbers.oldest >= limits::DOCUMENTS_ASKED {
        return Err(Rejection::TooManyRequests);
    }
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
    if other_sign || sum.abs() > i128::from(total.minor).abs() { Err(Rejection::TaxesDoNotFit) } else { Ok(()) }
}

fn number(series: &OpenSeries, document: Document, numbers: RequestNumbers, now: Now) -> Decision {
    let number = InvoiceNumber { series: series.id.clone(), number: series.last + 1 };
    let previous = series.head;
    let hash = chain(&number, now.wall, &document, previous);
    let issued = Box::new(Issued { at: now.wall, number, document, previous, hash });
    Decision::event(Event::Finalized { issued: issued.clone(), numbers })
        .and_effect(Effect::Numbered { issued, numbers })
}

fn refuse(document: &Document, rejection: Rejection) -> Decision {
    Decision::reply(Effect::Refused { document: Some(document.id), rejection })
}
