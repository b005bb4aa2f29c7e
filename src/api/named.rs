//! Sessions and series by what an operator types: whole ids, their beginnings, names.

use super::paging::Page;
use super::refused::Refused;
use super::sessions::{Filter, SessionRow};
use super::views::Views;
use crate::units::{SessionId, visible};

impl Views {
    /// The session that an id, the unique beginning of one, or `last` names.
    ///
    /// # Errors
    /// No session has such an id, several have, or the sessions cannot be read.
    pub fn session_named(&self, text: &str) -> Result<SessionId, Refused> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        not_another("a session", text)?;
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

    /// The session of a receipt: named as sessions are, or by the receipt's number.
    ///
    /// # Errors
    /// As [`Views::session_named`]; the number of a credit note.
    pub fn session_of_receipt(&self, text: &str) -> Result<SessionId, Refused> {
        // No id of a session has a dash, and every number of a document has.
        match text.contains('-').then(|| self.invoice(text)).transpose()?.flatten() {
            Some(row) if row.kind == "invoice" => row.session.parse().map_err(Refused::failed),
            Some(row) => {
                let (kind, number) = (row.kind, row.number);
                Err(Refused::usage(format!(
                    "{number} is a {kind} and no receipt: `wattstile invoice show {number}` shows it"
                )))
            }
            None if text.contains('-') => Err(Refused::not_found(format!("there is no receipt {}", visible(text)))),
            None => self.session_named(text),
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

/// Refuses the id of another kind of thing, with the command that shows it.
///
/// # Errors
/// It begins like the id of another kind than is `wanted` (`a session`, `a hold`, `an operation`).
pub fn not_another(wanted: &str, text: &str) -> Result<(), Refused> {
    let kinds = [
        ("ses_", "a session", "session show"),
        ("hold_", "a hold", "hold show"),
        ("op_", "an operation", "operation show"),
    ];
    match kinds.iter().find(|(prefix, ..)| text.starts_with(prefix)) {
        Some((_, kind, command)) if *kind != wanted => {
            let shown: String = visible(text).chars().take(64).collect();
            Err(Refused::usage(format!("{shown} is {kind} and not {wanted}: `wattstile {command} {shown}` shows it")))
        }
        _ => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_kind_is_named_with_its_command() {
        let session = "ses_0198c0000000000000000000000000aa";
        let refused = not_another("an operation", session).unwrap_err();
        assert!(refused.message.contains(&format!("`wattstile session show {session}`")), "{refused}");
        assert!(not_another("a hold", session).unwrap_err().message.contains("is a session and not a hold"));
        assert!(not_another("a session", "op_0198").unwrap_err().message.contains("wattstile operation show op_0198"));
        assert!(not_another("a session", "hold_0198").unwrap_err().message.contains("wattstile hold show hold_0198"));
        for (wanted, text) in
            [("a session", session), ("a session", "0198c"), ("an operation", "op_1"), ("a hold", "last")]
        {
            assert!(not_another(wanted, text).is_ok(), "{wanted} {text}");
        }
    }
}
