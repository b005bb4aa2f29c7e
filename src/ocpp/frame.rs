//! Messages of the remote procedure calls below OCPP: reading them tolerantly and within bounds, writing them strictly.
//!
//! ```text
//!   [2, id, action, payload]                        a call
//!   [3, id, payload]                                its result
//!   [4, id, error code, description, details]       its failure
//!   [5, id, error code, description, details]       a result that could not be read (2.1)
//!   [6, id, action, payload]                        a call that is not answered (2.1)
//! ```

use super::Version;
use crate::limits;
use serde_json::{Value, json};

/// A message from the charger.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// It calls the gate, and waits for an answer.
    Call {
        /// Its name for the call; the answer carries it.
        id: Box<str>,
        /// What it calls.
        action: Box<str>,
        /// With what.
        payload: Value,
    },
    /// It calls the gate, and waits for nothing.
    Send {
        /// What it calls.
        action: Box<str>,
        /// With what.
        payload: Value,
    },
    /// It answers a call of the gate.
    Result {
        /// The gate's name for the call.
        id: Box<str>,
        /// The answer.
        payload: Value,
    },
    /// It refuses a call of the gate, or an answer.
    Error {
        /// The name of the call.
        id: Box<str>,
        /// One of the protocol's codes, or another text.
        code: Box<str>,
        /// For a person.
        description: Box<str>,
    },
}

/// Why a text is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than the bound.
    #[error("the message has {0} bytes; at most {max} are read", max = limits::OCPP_MESSAGE_MAX)]
    TooLong(usize),
    /// Deeper than the bound.
    #[error("the message is nested deeper than {} levels", limits::OCPP_DEPTH_MAX)]
    TooDeep,
    /// No JSON.
    #[error("the message is no JSON: {0}")]
    NotJson(String),
    /// JSON, and none of the messages.
    #[error("the message is {0}")]
    Shape(&'static str),
    /// A call that can be answered, and cannot be read.
    #[error("call {id}: {what}")]
    Call {
        /// The name of the call.
        id: Box<str>,
        /// The fault.
        what: &'static str,
    },
}

/// The id of an answer to a call whose own cannot be read.
const UNREADABLE: &str = "-1";

/// Longest id that is read, in bytes: the protocols allow 36 characters, some chargers send more.
const ID_MAX: usize = 255;

impl FrameError {
    /// The id of the call that is refused.
    pub fn id(&self) -> &str {
        match self {
            FrameError::Call { id, .. } => id,
            FrameError::TooLong(_) | FrameError::TooDeep | FrameError::NotJson(_) | FrameError::Shape(_) => UNREADABLE,
        }
    }

    /// The protocol's code.
    pub fn code(&self, version: Version) -> &'static str {
        match (self, version) {
            (_, Version::V16) => "FormationViolation",
            (FrameError::Call { .. }, Version::V201 | Version::V21) => "FormatViolation",
            (_, Version::V201 | Version::V21) => "RpcFrameworkError",
        }
    }
}

/// Reads a message.
///
/// # Errors
/// [`FrameError`]: too long, too deep, no JSON, or none of the messages.
pub fn read(text: &[u8]) -> Result<Frame, FrameError> {
    if text.len() > limits::OCPP_MESSAGE_MAX {
        return Err(FrameError::TooLong(text.len()));
    }
    if depth(text) > limits::OCPP_DEPTH_MAX {
        return Err(FrameError::TooDeep);
    }
    let value: Value = serde_json::from_slice(text).map_err(|error| FrameError::NotJson(error.to_string()))?;
    let Value::Array(items) = value else { return Err(FrameError::Shape("no list")) };
    let mut items = items.into_iter();
    let kind = items.next().and_then(|kind| number(&kind)).ok_or(FrameError::Shape("a list without a type"))?;
    let id = items.next().and_then(short_text).ok_or(FrameError::Shape("a list without an id"))?;
    let object = |value: Option<Value>| value.unwrap_or_else(|| json!({}));
    match kind {
        2 | 6 => {
            let Some(action) = items.next().and_then(short_text) else {
                return Err(FrameError::Call { id, what: "it names no action" });
            };
            let payload = object(items.next());
            match kind {
                2 => Ok(Frame::Call { id, action, payload }),
                _ => Ok(Frame::Send { action, payload }),
            }
        }
        3 => Ok(Frame::Result { id, payload: object(items.next()) }),
        4 | 5 => {
            let mut text = || items.next().and_then(short_text).unwrap_or_default();
            Ok(Frame::Error { id, code: text(), description: text() })
        }
        _ => Err(FrameError::Call { id, what: "its type is none of 2 to 6" }),
    }
}

/// How deep brackets are nested; those in texts do not count.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut most, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b'[' | b'{') => {
                depth += 1;
                most = most.max(depth);
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    most
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A text, or a number, of at most [`ID_MAX`] bytes; a longer description is cut by its absence.
fn short_text(value: Value) -> Option<Box<str>> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    (text.len() <= ID_MAX).then(|| text.into())
}

/// A call of the gate.
pub(super) fn call(id: &str, action: &str, payload: &Value) -> String {
    json!([2, id, action, payload]).to_string()
}

/// A call that is not answered (2.1).
pub(super) fn send(id: &str, action: &str, payload: &Value) -> String {
    json!([6, id, action, payload]).to_string()
}

/// The answer to a call of the charger.
pub(super) fn result(id: &str, payload: &Value) -> String {
    json!([3, id, payload]).to_string()
}

/// The refusal of a call of the charger.
pub(super) fn error(id: &str, code: &str, description: &str) -> String {
    let description: String = description.chars().take(255).collect();
    json!([4, id, code, description, {}]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call_of(text: &str) -> (String, String) {
        match read(text.as_bytes()) {
            Ok(Frame::Call { id, action, .. }) => (id.into(), action.into()),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn calls_are_read_whatever_their_spelling() {
        for text in [
            r#"[2,"7","Heartbeat",{}]"#,
            r#"["2","7","Heartbeat",{}]"#,
            r#" [ 2 , 7 , "Heartbeat" , null ] "#,
            r#"[2,"7","Heartbeat"]"#,
            r#"[2,"7","Heartbeat",{},"more"]"#,
        ] {
            assert_eq!(call_of(text), ("7".to_owned(), "Heartbeat".to_owned()), "{text}");
        }
        assert_eq!(call_of(r#"[2,"","\u0000[[[",{}]"#).1, "\0[[[");
        let result = Frame::Result { id: "w-1".into(), payload: json!({"status": "Accepted"}) };
        assert_eq!(read(br#"[3,"w-1",{"status":"Accepted"}]"#), Ok(result));
        let refused = Frame::Error { id: "w-1".into(), code: "NotImplemented".into(), description: "".into() };
        assert_eq!(read(br#"[4,"w-1","NotImplemented"]"#), Ok(refused.clone()));
        assert_eq!(read(br#"[5,"w-1","NotImplemented","",{}]"#), Ok(refused));
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_codes_of_the_version() {
        let long = format!(r#"[2,"7","DataTransfer",{{"data":"{}"}}]"#, "x".repeat(limits::OCPP_MESSAGE_MAX));
        let deep = format!(r#"[2,"7","DataTransfer",{}{}]"#, "[".repeat(5_000), "]".repeat(5_000));
        for (text, id, of_2) in [
            (long.as_str(), "-1", "RpcFrameworkError"),
            (&deep, "-1", "RpcFrameworkError"),
            ("", "-1", "RpcFrameworkError"),
            ("{", "-1", "RpcFrameworkError"),
            (r#"{"a":1}"#, "-1", "RpcFrameworkError"),
            ("[]", "-1", "RpcFrameworkError"),
            (r#"[2]"#, "-1", "RpcFrameworkError"),
            (r#"[2,null,"Heartbeat",{}]"#, "-1", "RpcFrameworkError"),
            ("[2,\"7\",\"Heart\0beat\",{}]", "-1", "RpcFrameworkError"),
            (r#"[2,"7"]"#, "7", "FormatViolation"),
            (r#"[2,"7",{},{}]"#, "7", "FormatViolation"),
            (r#"[9,"7","Heartbeat",{}]"#, "7", "FormatViolation"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            let codes = [Version::V16, Version::V201, Version::V21].map(|version| error.code(version));
            assert_eq!((error.id(), codes), (id, ["FormationViolation", of_2, of_2]), "{error}");
        }
        assert_eq!(read(&[b'"', 0xff, b'"']).unwrap_err().id(), "-1");
        let within = format!(r#"[2,"7","x",{}{}]"#, "[".repeat(30), "]".repeat(30));
        assert!(read(within.as_bytes()).is_ok());
    }

    #[test]
    fn what_is_written_is_one_line_of_json() {
        assert_eq!(result("a\"b", &json!({})), r#"[3,"a\"b",{}]"#);
        assert_eq!(error("1", "NotSupported", ""), r#"[4,"1","NotSupported","",{}]"#);
        assert_eq!(call("w", "Reset", &json!({"type": "Soft"})), r#"[2,"w","Reset",{"type":"Soft"}]"#);
        let long: Vec<Value> = serde_json::from_str(&error("1", "InternalError", &"é".repeat(999))).unwrap();
        assert_eq!(long[3].as_str().unwrap().chars().count(), 255);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80), tail in "[\\[\\]{}\",:2a]{0,40}") {
            let _ = read(&bytes);
            let _ = read(tail.as_bytes());
        }
    }
}
