//! The filling of a database with what was before: sessions, accounts and batches as they stand, a few at a time.

use super::batch::Batch;
use super::progress::{Progress, Stage};
use super::rows;
use crate::api::Page;
use crate::api::feed::{SESSION_LIFE, events_of_session};
use crate::api::observed::WholeSessions;
use crate::api::{Unanswered, Views};
use crate::limits::{LIST_ITEMS_MAX, REPORTING_SESSIONS};
use crate::node::query::SessionsFrom;
use crate::units::{PartitionId, PaymentId, SessionId, Timestamp};

/// Adds the rows of the next part of a filling. Returns the stage behind it, and how many sessions could not be read.
///
/// # Errors
/// A shard did not answer in time, or the archive cannot be read.
pub fn step(views: &Views, progress: &Progress, batch: &mut Batch) -> Result<(Stage, u64), Unanswered> {
    let mut unreadable = 0;
    let next = match &progress.stage {
        Stage::Live { partition, cell } => {
            let cells = u32::try_from(REPORTING_SESSIONS).unwrap_or(u32::MAX);
            let from = SessionsFrom { partition: PartitionId(*partition), cell: *cell, cells };
            let (sessions, next) = views.sessions_from(from)?;
            unreadable += take(batch, progress, &WholeSessions { sessions, unreadable: Vec::new() });
            match next {
                Some(cell) => Stage::Live { partition: *partition, cell },
                None if partition + 1 < views.partitions() => Stage::Live { partition: partition + 1, cell: 0 },
                None => Stage::Archived { last: hexadecimal(oldest(progress).as_u128()) },
            }
        }
        Stage::Archived { last } => {
            let last = SessionId::from_u128(number(last));
            let (found, reached) = views.archived_behind(last, REPORTING_SESSIONS)?;
            unreadable += take(batch, progress, &found);
            match reached {
                Some(last) => Stage::Archived { last: hexadecimal(last.as_u128()) },
                None => Stage::TopUps { after: None },
            }
        }
        Stage::TopUps { after } => {
            let after = after.as_deref().map(|after| PaymentId::from_u128(number(after)));
            let page = views.top_ups(&Page { after, limit: LIST_ITEMS_MAX })?;
            page.items.iter().for_each(|top_up| rows::top_up(batch, top_up));
            match page.next {
                Some(last) => Stage::TopUps { after: Some(hexadecimal(last.as_u128())) },
                None => Stage::Accounts { after: None },
            }
        }
        Stage::Accounts { after } => {
            let page = views.account_summaries(&Page { after: after.clone(), limit: LIST_ITEMS_MAX })?;
            page.items.iter().for_each(|account| rows::account(batch, account));
            match page.next {
                after @ Some(_) => Stage::Accounts { after },
                None => Stage::Chargers { after: None },
            }
        }
        Stage::Chargers { after } => {
            let page = views.chargers("", &Page { after: after.clone(), limit: LIST_ITEMS_MAX })?;
            page.items.into_iter().for_each(|charger| rows::charger(batch, charger));
            match page.next {
                after @ Some(_) => Stage::Chargers { after },
                None => Stage::Rest,
            }
        }
        Stage::Rest => {
            views.known_processors().into_iter().for_each(|processor| rows::processor(batch, processor));
            views.whole_batches(|_| true)?.into_iter().for_each(|found| rows::settlement(batch, found));
            views.unrecorded_documents()?.iter().for_each(|issued| rows::document(batch, issued));
            Stage::Following
        }
        Stage::Following => Stage::Following,
    };
    Ok((next, unreadable))
}

/// Adds sessions with the events that their states still tell. Returns how many could not be read, or not in full.
pub fn take(batch: &mut Batch, progress: &Progress, found: &WholeSessions) -> u64 {
    let since = Timestamp::from_unix_ms(progress.since.unwrap_or(i64::MIN));
    let unreadable = take_states(batch, found);
    for whole in &found.sessions {
        events_of_session(&whole.session, since).into_iter().for_each(|event| rows::event(batch, event));
    }
    unreadable
}

/// Adds sessions as they stand. Returns how many could not be read, or not in full.
pub fn take_states(batch: &mut Batch, found: &WholeSessions) -> u64 {
    let mut unreadable = 0;
    for (session, error) in &found.unreadable {
        tracing::error!(%session, error, "an archived session cannot be read: it is not in the reporting database");
        unreadable += 1;
    }
    for whole in &found.sessions {
        if let Err(error) = rows::session(batch, whole) {
            let session = whole.session.id;
            tracing::error!(%session, %error, "the figures of a session are not in the reporting database");
            unreadable += 1;
        }
    }
    unreadable
}

/// The session behind which archived ones are read.
pub fn oldest(progress: &Progress) -> SessionId {
    match progress.since {
        None => SessionId::from_u128(0),
        Some(since) => {
            let at = Timestamp::from_unix_ms(since).saturating_add(SESSION_LIFE).max(Timestamp::default());
            SessionId::new(at, PartitionId(0), 0)
        }
    }
}

fn hexadecimal(number: u128) -> String {
    format!("{number:032x}")
}

fn number(text: &str) -> u128 {
    u128::from_str_radix(text, 16).unwrap_or_default()
}
