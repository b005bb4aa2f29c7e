//! Orders on what is kept of a session for review: it is billed, or dropped.
//!
//! A dry run is the decision itself, made on a copy of the session.

use super::answers::{ORDER, QuarantineOrdered};
use super::orders::{TIMEOUT, running};
use super::refused::Refused;
use super::views::{Unanswered, Views};
use crate::account::account_processor;
use crate::accounting::archive_record::ArchiveRecord;
use crate::actors::directory::Directory;
use crate::node::input::{Input, ReviewOrder};
use crate::node::query;
use crate::node::reply::Ordered;
use crate::session::{Order, Review, Ruled, Ruling, Session};
use crate::tariff::Tariff;
use crate::units::shape::described;
use crate::units::{AccountId, Energy, ProcessorId, SessionId};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

described! {
/// Energy that is kept for review is billed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Billing {
    /// So much of it, in kWh; none: all of it.
    #[serde(default)]
    pub kwh: Option<Decimal>,
    /// The account that pays; none: that of the session's credential.
    #[serde(default)]
    pub account: Option<String>,
    /// Only report what would happen.
    #[serde(default)]
    pub dry_run: bool,
}
}

described! {
/// Energy that is kept for review is dropped: it is never billed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropping {
    /// Only report what would happen.
    #[serde(default)]
    pub dry_run: bool,
}
}

/// Bills energy that is kept for review. Repeating the order bills it once.
///
/// # Errors
/// A session that does not exist or goes on, one of which nothing is kept or on which it was decided otherwise, energy that
/// cannot be priced, an account that does not exist or does not pay, or no answer in time.
pub fn bill_quarantined(views: &Views, id: SessionId, wish: &Billing) -> Result<QuarantineOrdered, Refused> {
    running(views)?;
    let energy = wish.kwh.map(|kwh| {
        let energy = Energy::from_kwh(kwh).filter(|energy| *energy > Energy::ZERO);
        energy.ok_or_else(|| Refused::usage(format!("`kwh`: {kwh} is no energy above zero that can be billed")))
    });
    let energy = energy.transpose()?;
    let account = wish.account.as_deref().map(|name| AccountId::new(name).map_err(Refused::usage)).transpose()?;
    if let Some(account) = &account {
        let sheet = views.account(account)?;
        let sheet = sheet.ok_or_else(|| Refused::not_found(format!("there is no account {account}")))?;
        if sheet.row.state != "open" {
            return Err(Refused::conflict(format!("account {account} is {}", sheet.row.state)));
        }
    }
    decide(views, id, ReviewOrder::Release { energy, account }, wish.dry_run)
}

/// Drops energy that is kept for review.
///
/// # Errors
/// As [`bill_quarantined`].
pub fn drop_quarantined(views: &Views, id: SessionId, wish: &Dropping) -> Result<QuarantineOrdered, Refused> {
    running(views)?;
    decide(views, id, ReviewOrder::Drop, wish.dry_run)
}

fn decide(views: &Views, id: SessionId, order: ReviewOrder, dry_run: bool) -> Result<QuarantineOrdered, Refused> {
    let directory = running(views)?;
    let (session, tariff) = views.priced(id)?.ok_or_else(|| Refused::not_found(format!("there is no session {id}")))?;
    let zone = TimeZone::get(&session.zone).map_err(Refused::failed)?;
    let asked = match &order {
        ReviewOrder::Release { energy, .. } => Order::Release { energy: *energy, by: None },
        ReviewOrder::Drop => Order::Drop,
    };
    // Of a transaction whose end was reported, and no start, the order itself makes it over.
    let review = match session.review(&asked, &tariff, &zone) {
        Err(_) if session.is_ended_orphan() => None,
        review => Some(review.map_err(Refused::conflict)?),
    };
    if let ReviewOrder::Release { account, .. } = &order {
        check_payer(directory, &session, review, account.as_ref())?;
    }
    let kept = session.kept_energy().map(Energy::kwh);
    let mut document = QuarantineOrdered {
        schema: ORDER.to_owned(),
        dry_run,
        session: id.to_string(),
        currency: session.payment.currency().code().to_owned(),
        quarantined_kwh: kept,
        ..QuarantineOrdered::default()
    };
    if let Some(Review::Billed { energy, payable, .. }) = review {
        document.energy_kwh = Some(energy.kwh());
        document.payable = Some(payable.major());
    }
    let ruled = match review {
        Some(Review::Done(ruled)) => Some(ruled),
        _ if dry_run => None,
        _ => {
            let asker = directory.order(TIMEOUT, |reply| Input::Review(id, order, reply));
            match asker.map_err(|_| Refused::busy())?.wait() {
                Ok(Ordered::Ruled(ruled)) => Some(ruled),
                Ok(Ordered::Declined(reason)) => return Err(Refused::conflict(reason)),
                Ok(Ordered::NoSession) => return Err(Refused::not_found(format!("there is no session {id}"))),
                Ok(_) => return Err(Refused::failed("a session answered as if it were something else")),
                Err(_) => return Err(Refused::no_answer("no answer in time; ask again, it is decided once")),
            }
        }
    };
    if let Some(Ruled { ruling, at }) = ruled {
        document.ruling = Some(word(ruling).to_owned());
        document.ruled_at = Some(at.to_string());
        if let Ruling::Released(energy) = ruling {
            document.energy_kwh = Some(energy.kwh());
        }
    }
    Ok(document)
}

/// Whether an order to bill names a payer who can pay: a dry run is refused where the order would be.
fn check_payer(
    directory: &Directory,
    session: &Session,
    review: Option<Review>,
    account: Option<&AccountId>,
) -> Result<(), Refused> {
    let (id, asked) = (session.id, account.and_then(account_processor));
    let payer = session.paid_by().map(|payer| {
        let account = payer.as_str().strip_prefix(ProcessorId::OF_ACCOUNTS).map(|account| format!("account {account}"));
        account.unwrap_or_else(|| format!("processor {payer}"))
    });
    let is_other = asked.as_ref().is_some_and(|asked| session.paid_by() != Some(asked));
    match review {
        Some(Review::Done(_)) if is_other => {
            let payer = payer.unwrap_or_else(|| "no account".to_owned());
            Err(Refused::conflict(format!("session {id} was decided on before, and is paid by {payer}")))
        }
        Some(Review::Billed { .. }) if !session.is_unpaid() && is_other => {
            let payer = payer.unwrap_or_else(|| "its driver".to_owned());
            Err(Refused::conflict(format!("session {id} is paid by {payer}: leave `account` out")))
        }
        Some(Review::Billed { .. }) if session.is_unpaid() && account.is_none() => {
            let links = directory.node_config().credentials.links();
            match session.fingerprint.mark().and_then(|mark| links.find(mark)) {
                Some(_) => Ok(()),
                None => Err(Refused::conflict(session.no_payer())),
            }
        }
        _ => Ok(()),
    }
}

/// What was decided, in one word.
pub(super) fn word(ruling: Ruling) -> &'static str {
    match ruling {
        Ruling::Released(_) => "released",
        Ruling::Dropped => "dropped",
        Ruling::Adopted(_) => "adopted",
    }
}

impl Views {
    /// A session, live or archived, with the tariff that prices it.
    fn priced(&self, id: SessionId) -> Result<Option<(Session, Arc<Tariff>)>, Unanswered> {
        if let Some(live) = self.ask_home(id.partition(), query::SessionNamed(id)).found()? {
            return Ok(Some((live.session, live.tariff)));
        }
        let Some(ArchiveRecord { session, tariff, .. }) = self.archived(id)? else { return Ok(None) };
        let tariff = Tariff::parse_pinned(&tariff)
            .map_err(|error| Unanswered::Tariff { session: id, error: Box::new(error) })?;
        Ok(Some((session, Arc::new(tariff))))
    }
}
