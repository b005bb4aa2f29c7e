//! Between the schema's types and the domain's: what all messages have in common.
//!
//! Parsing happens once, here: a field that is missing, out of range or not a text id is an error that names the field.

use super::schema;
use crate::limits;
use crate::message::{Code, GoAway, Terms};
use crate::payment::{Credential, CredentialKind};
use crate::units::screen::{TextFault, escaped, looks_like_card_number, screen_reference};
use crate::units::{Amount, Currency, Energy, IdError, MoneyError, TimeSpan, Timestamp};

/// A payload that is not the message that its frame's type names. The peer's fault.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PayloadError {
    /// Not Protocol Buffers, or not of the schema's types.
    #[error("not a protobuf message of the schema: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A field that the message cannot do without.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A number, or the length of something, that is out of range.
    #[error("`{field}` is {found}, which is out of range")]
    Range {
        /// The field.
        field: &'static str,
        /// Its value, or its length.
        found: i128,
    },
    /// An undefined enum value in this version.
    #[error("`{field}` has the value {found}, which is not known")]
    Unknown {
        /// The field.
        field: &'static str,
        /// Its value.
        found: i32,
    },
    /// A text that is not the id it should be.
    #[error("`{field}`: {error}")]
    Id {
        /// The field.
        field: &'static str,
        /// The fault.
        error: IdError,
    },
    /// A text that is refused; it is not repeated.
    #[error("`{field}`: {fault}")]
    Text {
        /// The field.
        field: &'static str,
        /// The reason.
        fault: TextFault,
    },
    /// A currency that is not known.
    #[error("`{field}`: {error}")]
    Money {
        /// The field.
        field: &'static str,
        /// The fault.
        error: MoneyError,
    },
    /// A repeated item in a list of distinct ones.
    #[error("`{field}` names {found} twice")]
    Twice {
        /// The field.
        field: &'static str,
        /// The repeated value.
        found: u64,
    },
}

pub(super) type Parsed<T> = Result<T, PayloadError>;

/// A number that has to fit a narrower or differently signed type.
pub(super) fn number<T, N>(field: &'static str, found: N) -> Parsed<T>
where
    T: TryFrom<N>,
    N: Copy + Into<i128>,
{
    T::try_from(found).map_err(|_| PayloadError::Range { field, found: found.into() })
}

pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Parsed<T> {
    value.ok_or(PayloadError::Missing(field))
}

/// A number that counts from 1.
pub(super) fn counted(field: &'static str, found: u32) -> Parsed<u32> {
    match found {
        0 => Err(PayloadError::Missing(field)),
        _ => Ok(found),
    }
}

/// Checks the length of a list or a text.
pub(super) fn at_most(field: &'static str, len: usize, max: usize) -> Parsed<()> {
    if len <= max { Ok(()) } else { Err(PayloadError::Range { field, found: len as i128 }) }
}

impl PayloadError {
    /// The code that is sent to the peer.
    pub const fn code(&self) -> Code {
        match self {
            PayloadError::Text { fault: TextFault::CardNumber, .. }
            | PayloadError::Id { error: IdError::CardNumber { .. }, .. } => Code::CardNumber,
            _ => Code::Payload,
        }
    }
}

/// A text of the gate, as its peers read it.
pub(super) fn text(field: &'static str, found: String, max: usize) -> Parsed<Box<str>> {
    at_most(field, found.len(), max)?;
    Ok(found.into_boxed_str())
}

/// A text of a peer that is kept or shown: without a card's number, with unseen characters escaped.
pub(super) fn free_text(field: &'static str, found: String, max: usize) -> Parsed<Box<str>> {
    at_most(field, found.len(), max)?;
    if looks_like_card_number(found.as_bytes()) {
        return Err(PayloadError::Text { field, fault: TextFault::CardNumber });
    }
    Ok(cut(&escaped(&found), max).into_boxed_str())
}

/// A reference of a peer that is given back to it as it was: nothing in it is changed.
pub(super) fn reference(field: &'static str, found: String, max: usize) -> Parsed<Box<str>> {
    at_most(field, found.len(), max)?;
    match screen_reference(&found) {
        Err(fault) => Err(PayloadError::Text { field, fault }),
        Ok(()) => Ok(found.into_boxed_str()),
    }
}

/// A text of ours, cut to what the protocol allows.
pub(super) fn cut(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].to_owned()
}

pub(super) fn parse_enum<T>(field: &'static str, found: i32, parse: impl Fn(i32) -> Option<T>) -> Parsed<T> {
    match found {
        0 => Err(PayloadError::Missing(field)),
        _ => parse(found).ok_or(PayloadError::Unknown { field, found }),
    }
}

/// 16 bytes, big endian.
pub(super) fn id(field: &'static str, found: &[u8]) -> Parsed<u128> {
    match <[u8; 16]>::try_from(found) {
        Ok(bytes) => Ok(u128::from_be_bytes(bytes)),
        Err(_) if found.is_empty() => Err(PayloadError::Missing(field)),
        Err(_) => Err(PayloadError::Range { field, found: found.len() as i128 }),
    }
}

pub(super) fn id_bytes(id: u128) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

pub(super) fn currency(field: &'static str, found: u32) -> Parsed<Currency> {
    Currency::from_numeric(number(field, found)?).map_err(|error| PayloadError::Money { field, error })
}

pub(super) fn money(field: &'static str, found: Option<schema::Money>) -> Parsed<Amount> {
    let found = required(field, found)?;
    Ok(Amount { minor: found.minor, currency: currency(field, found.currency)? })
}

pub(super) fn write_money(amount: Amount) -> schema::Money {
    schema::Money { minor: amount.minor, currency: u32::from(amount.currency.numeric()) }
}

/// A lifetime register or an energy: never negative on the wire.
pub(super) fn energy(field: &'static str, found: u64) -> Parsed<Energy> {
    number(field, found).map(Energy::from_microwatt_hours)
}

pub(super) fn write_energy(energy: Energy) -> u64 {
    u64::try_from(energy.microwatt_hours()).unwrap_or(0)
}

/// A span of time: never negative on the wire.
pub(super) fn span(field: &'static str, found: u64) -> Parsed<TimeSpan> {
    number(field, found).map(TimeSpan::from_ms)
}

pub(super) fn write_span(span: TimeSpan) -> u64 {
    u64::try_from(span.ms()).unwrap_or(0)
}

pub(super) fn write_short_span(span: TimeSpan) -> u32 {
    u32::try_from(span.ms().max(0)).unwrap_or(u32::MAX)
}

pub(super) fn credential(found: Option<schema::Credential>) -> Parsed<Credential> {
    let found = required("credential", found)?;
    let kind = parse_enum("credential.kind", found.kind, credential_kind)?;
    match found.token.len() {
        0 => Err(PayloadError::Missing("credential.token")),
        len => {
            at_most("credential.token", len, Credential::MAX_TOKEN)?;
            Ok(Credential { kind, token: found.token.into_boxed_slice() })
        }
    }
}

pub(super) fn write_credential(credential: &Credential) -> schema::Credential {
    schema::Credential { kind: i32::from(credential.kind as u8), token: credential.token.to_vec() }
}

pub(super) fn credential_kind(number: i32) -> Option<CredentialKind> {
    CredentialKind::ALL.into_iter().find(|kind| i32::from(*kind as u8) == number)
}

pub(super) fn terms(found: Option<schema::Terms>) -> Parsed<Terms> {
    let found = required("terms", found)?;
    Ok(Terms {
        window: found.window,
        heartbeat: TimeSpan::from_ms(i64::from(counted("terms.heartbeat_ms", found.heartbeat_ms)?)),
        frame_max: found.frame_max,
    })
}

pub(super) fn write_terms(terms: Terms) -> schema::Terms {
    schema::Terms { window: terms.window, heartbeat_ms: write_short_span(terms.heartbeat), frame_max: terms.frame_max }
}

/// The farewell of a peer.
pub(super) fn go_away(found: schema::GoAway) -> Parsed<GoAway> {
    Ok(GoAway { text: free_text("text", found.text.clone(), limits::MESSAGE_TEXT_MAX)?, ..gates_go_away(found)? })
}

/// The gate's last message, whose text may have figures of any length in it.
pub(super) fn gates_go_away(found: schema::GoAway) -> Parsed<GoAway> {
    Ok(GoAway {
        code: code("code", found.code)?,
        text: text("text", found.text, limits::MESSAGE_TEXT_MAX)?,
        reconnect_after: TimeSpan::from_ms(i64::from(found.reconnect_after_ms)),
    })
}

pub(super) fn write_go_away(message: &GoAway) -> schema::GoAway {
    schema::GoAway {
        code: u32::from(message.code.number()),
        text: cut(&message.text, limits::MESSAGE_TEXT_MAX),
        reconnect_after_ms: write_short_span(message.reconnect_after),
    }
}

pub(super) fn code(field: &'static str, found: u32) -> Parsed<Code> {
    number(field, found).map(Code::from_number)
}

pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_peers_come_in_without_card_numbers_and_unseen_characters() {
        let firmware = |text: &str| free_text("firmware", text.to_owned(), 64);
        let refused = firmware("1.2.3 4111 1111 1111 1111").unwrap_err();
        assert_eq!(refused.code(), Code::CardNumber);
        assert!(!refused.to_string().contains("4111"), "{refused}");
        assert_eq!(&*firmware("1.2.3\u{202e}").unwrap(), "1.2.3\\u{202e}");
        let reference = |text: &str| reference("processor_ref", text.to_owned(), 64);
        assert_eq!(reference("5555555555554444").unwrap_err().code(), Code::CardNumber);
        assert_eq!(reference("auth\n1").unwrap_err().code(), Code::Payload);
        assert_eq!(&*reference("8515131751004933").unwrap(), "8515131751004933");
    }

    #[test]
    fn our_texts_are_cut_between_characters() {
        assert_eq!(cut("1 € je kWh", 4), "1 €".to_owned().replace('€', ""));
        assert_eq!(cut("kurz", 100), "kurz");
    }
}
