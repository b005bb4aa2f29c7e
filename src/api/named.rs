//! Sessions and series by what an operator types: whole ids, their beginnings, names.

use super::paging::Page;
use super::refused::Refused;
use super::sessions::{Filter, SessionRow};
use super::views::Views;
use crate::units::SessionId;

impl Views {
    /// The session that an id, the unique beginning of one, or `last` names.
    ///
    /// # Errors
    /// No session has such an id, several have, or the sessions cannot be read.
    pub fn session_named(&self, text: &str) -> Result<SessionId, Refused> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let (filter, limit) = match text {
            "last" => (Filter::default(), 1),
            start => (Filter { id: Some(start.to_owned()), ..Filter::default() }, CANDIDATES),
        };
        let found = self.sessions(&filter, &Page::first(limit))?;
        match found.items.as_slice() {
            [only] => only.id.parse().map_err(Refused::failed),
            [] => Err(Refused::not_found(match text {
                "last" => "there are no sessions yet".to_owned(),
                start => format!("no session's id begins with {start}"),
            })),
            several => Err(Refused::conflict(candidates(text, several, found.next.is_some()))),
        }
    }

    /// A series that there is, where one is named.
    ///
    /// # Errors
    /// There is no such series, or the documents cannot be read.
    pub fn series_named<'a>(&self, named: Option<&'a str>) -> Result<Option<&'a str>, Refused> {
        let Some(name) = named else { return Ok(None) };
        match self.known_series(name)? {
            Ok(()) => Ok(Some(name)),
            Err(known) if known.is_empty() => {
                Err(Refused::not_found(format!("there is no series `{name}`: no document has a number yet")))
            }
            Err(known) => Err(Refused::not_found(format!("there is no series `{name}`; known: {}", known.join(", ")))),
        }
    }
}

/// At most so many sessions are named where an id is only begun.
const CANDIDATES: usize = 10;

/// The sessions that may be meant.
fn candidates(start: &str, several: &[SessionRow], are_more: bool) -> String {
    let count = if are_more { format!("more than {CANDIDATES}") } else { several.len().to_string() };
    let mut text = format!("{count} sessions' ids begin with `{start}`; type more of the one that is meant:");
    for row in several {
        let at = row.started_at.get(..19).unwrap_or(&row.started_at).replace('T', " ");
        text.push_str(&format!("\n  {}  {}/{}  {at}Z  {}", row.id, row.charger, row.connector, row.shown_state()));
    }
    if are_more {
        text.push_str("\n  … and older ones");
    }
    text
}
