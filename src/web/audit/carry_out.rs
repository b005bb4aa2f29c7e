//! An order on its way: recorded, carried out once, and recorded again with its outcome.

use super::super::access::{Digest, Principal};
use super::super::problem::Problem;
use super::super::request::{Answer, Call};
use super::super::routes::{Handler, Pin};
use super::trail::{Line, State, Trail, key_digest, lasts, line, order_digest, redacted};
use crate::api::{self, Refunding};
use crate::host::wall_clock;
use crate::limits::AUDIT_ANSWER_BYTES;
use serde_json::{Map, Value};

/// An order as it came.
pub(in crate::web) struct Order<'a> {
    /// Who sent it.
    pub principal: &'a Principal,
    /// From which address.
    pub from: String,
    /// Its path.
    pub path: &'a str,
    /// Its `Idempotency-Key`.
    pub key: Option<&'a str>,
    /// What makes the same order twice one order.
    pub pin: Pin,
    /// What carries it out.
    pub handler: Handler,
}

/// Longest key, in bytes.
const KEY_MAX: usize = 255;

impl Order<'_> {
    /// A line of the trail about it.
    fn line(&self, kind: &str) -> Line {
        Line {
            who: Some(self.principal.name.clone()),
            role: Some(self.principal.role.to_string()),
            from: Some(self.from.clone()),
            path: Some(self.path.to_owned()),
            key: self.key.map(str::to_owned),
            ..line(kind, wall_clock())
        }
    }

    /// Records that the role of its sender does not permit it.
    pub fn refused(&self, trail: &Trail, problem: &Problem) {
        let line = Line {
            status: Some(problem.status),
            code: Some(problem.code.to_owned()),
            detail: Some(problem.message.clone()),
            ..self.line("refused")
        };
        if let Err(error) = trail.order(None, line) {
            tracing::error!(%error, "the audit trail cannot be written");
        }
    }
}

/// Carries an order out and records it. Returns the answer, and whether it is that of an earlier order with the same key.
///
/// # Errors
/// What the order is refused with; 400, 409 and 422 for its key; 500 where the trail cannot be written: nothing was done then.
pub(in crate::web) fn carry_out(trail: &Trail, order: &Order<'_>, call: Call<'_>) -> Result<(Answer, bool), Problem> {
    let (body, body_sha256) = redacted(call.body);
    let Some(text) = order.key else {
        return recorded(trail, order, call, Begun { key: None, body, body_sha256, pinned: None });
    };
    if text.is_empty() || text.len() > KEY_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let wanted = format!("an Idempotency-Key has 1 to {KEY_MAX} letters, digits and marks");
        return Err(Problem::usage(wanted));
    }
    let key = key_digest(&order.principal.name, text);
    let digest = order_digest(order.path, &body_sha256);
    let mut pinned = None;
    if let Some(known) = trail.claim(&key, &digest) {
        if known.order != digest {
            return Err(Problem::key_reused());
        }
        match known.state {
            State::Running => return Err(Problem::key_in_use()),
            State::Done { at, bytes } => return repeated(trail, at, bytes),
            // It had no outcome: what was decided on then stays decided.
            State::Open => pinned = Some(known.pinned),
        }
    }
    let pinned = match pinned {
        Some(pinned) => Ok(pinned),
        None => pins(order, &call, &key),
    };
    let pinned = pinned.inspect_err(|_| trail.give_up(&key))?;
    recorded(trail, order, call, Begun { key: Some(key), body, body_sha256, pinned: Some(pinned) })
}

/// An order that is about to be carried out.
struct Begun {
    key: Option<Digest>,
    body: Option<Value>,
    body_sha256: String,
    pinned: Option<Map<String, Value>>,
}

fn recorded(trail: &Trail, order: &Order<'_>, call: Call<'_>, begun: Begun) -> Result<(Answer, bool), Problem> {
    let Begun { key, body, body_sha256, pinned } = begun;
    let line = Line { body, body_sha256: Some(body_sha256), pinned: pinned.clone(), ..order.line("order") };
    let seq = trail.order(key.as_ref(), line).map_err(|error| {
        key.iter().for_each(|key| trail.give_up(key));
        Problem::internal(format!("the audit trail cannot be written, so nothing was done: {error}"))
    })?;
    let merged = pinned.filter(|pinned| !pinned.is_empty()).map(|pinned| with(call.body, pinned));
    let body = merged.as_deref().unwrap_or(call.body);
    let answer = (order.handler)(&Call { body, ..call });
    let outcome = outcome(seq, key.is_some(), &answer);
    let is_final = outcome.status.is_some_and(lasts);
    if let Err(error) = trail.outcome(key.as_ref(), outcome, is_final) {
        tracing::error!(%error, order = seq, "the outcome of an order is not in the audit trail");
    }
    answer.map(|answer| (answer, false))
}

fn outcome(of: u64, keeps_answer: bool, answer: &Result<Answer, Problem>) -> Line {
    let line = Line { of: Some(of), ..line("outcome", wall_clock()) };
    match answer {
        Ok(Answer::Json(document)) => {
            let is_short = keeps_answer && document.to_string().len() <= AUDIT_ANSWER_BYTES;
            let has_secret = ["token", "login"].iter().any(|name| document.get(name).is_some());
            let kept = Some(document.clone()).filter(|_| is_short && !has_secret);
            Line { status: Some(200), answer: kept, ..line }
        }
        Ok(Answer::Text(..) | Answer::Page { .. }) => Line { status: Some(200), ..line },
        Err(problem) => Line {
            status: Some(problem.status),
            code: Some(problem.code.to_owned()),
            detail: Some(problem.message.clone()),
            ..line
        },
    }
}

/// The answer of an earlier order with the same key.
fn repeated(trail: &Trail, at: u64, bytes: usize) -> Result<(Answer, bool), Problem> {
    let line = trail.read(at, bytes).map_err(Problem::internal)?;
    match (line.status, line.answer) {
        (Some(200), Some(document)) => Ok((Answer::Json(document), true)),
        (Some(200), None) => Err(Problem::done_already()),
        (Some(status), _) => Err(Problem::again(status, line.code.as_deref(), line.detail.unwrap_or_default())),
        (None, _) => Err(Problem::internal("the audit trail has an outcome without a status")),
    }
}

/// What a repetition of an order takes instead of the members of its body.
fn pins(order: &Order<'_>, call: &Call<'_>, key: &Digest) -> Result<Map<String, Value>, Problem> {
    let mut pinned = Map::new();
    match order.pin {
        Pin::Nothing | Pin::Question => {}
        Pin::Operation => {
            let body: Value = serde_json::from_slice(call.body).unwrap_or_default();
            if body["operation"].is_null() && body.is_object() {
                let [first, second] = [&key[..8], &key[8..16]].map(hex::encode);
                pinned.insert("operation".to_owned(), format!("{first}{second}").into());
            }
        }
        Pin::Total => {
            let wish: Refunding = call.body()?;
            if !wish.dry_run {
                let total = api::refund_total(call.views, call.segment("id")?, &wish)?;
                pinned.insert("total".to_owned(), total.to_string().into());
                pinned.insert("amount".to_owned(), Value::Null);
                pinned.insert("all".to_owned(), false.into());
            }
        }
    }
    Ok(pinned)
}

/// A body with other members in it.
fn with(body: &[u8], members: Map<String, Value>) -> Vec<u8> {
    let mut document: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    document.extend(members);
    Value::Object(document).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::super::access::Role;
    use super::super::rows::verify;
    use super::*;
    use crate::api::Views;
    use serde_json::json;
    use std::cell::Cell;
    use std::collections::BTreeMap;

    thread_local! {
        static DONE: Cell<u32> = const { Cell::new(0) };
    }

    fn counts(call: &Call<'_>) -> Result<Answer, Problem> {
        DONE.set(DONE.get() + 1);
        let body: Value = serde_json::from_slice(call.body).unwrap();
        match body["fails"].as_u64() {
            Some(status) => Err(Problem::new(u16::try_from(status).unwrap(), "as ordered")),
            None => Ok(Answer::Json(json!({ "done": DONE.get(), "operation": body["operation"] }))),
        }
    }

    fn sent(trail: &Trail, key: Option<&str>, who: &str, body: &str) -> Result<(Value, bool), (u16, &'static str)> {
        let views = Views::opened(Vec::new(), None);
        let query = BTreeMap::new();
        let principal = Principal { name: who.to_owned(), role: Role::Finance };
        let (from, path, pin) = ("127.0.0.1:1".to_owned(), "/api/v1/accounts/a/topup", Pin::Operation);
        let order = Order { principal: &principal, from, path, key, pin, handler: counts };
        let call = Call { body: body.as_bytes(), ..Call::reading(&views, &query) };
        match carry_out(trail, &order, call) {
            Ok((Answer::Json(document), again)) => Ok((document, again)),
            Ok(_) => panic!("no document"),
            Err(problem) => Err((problem.status, problem.code)),
        }
    }

    #[test]
    fn an_order_with_a_key_is_carried_out_once_also_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let trail = Trail::open(&path).unwrap();
        let begun = DONE.get();
        let (first, again) = sent(&trail, Some("k1"), "till", r#"{"amount": "5"}"#).unwrap();
        assert!(!again && first["operation"].as_str().is_some_and(|id| id.len() == 32), "{first}");
        assert_eq!(sent(&trail, Some("k1"), "till", r#"{ "amount": "5" }"#).unwrap(), (first.clone(), true));
        assert_eq!(
            sent(&trail, Some("k1"), "till", r#"{"amount": "6"}"#).unwrap_err(),
            (422, "idempotency_key_reused")
        );
        let (other, again) = sent(&trail, Some("k1"), "other", r#"{"amount": "5"}"#).unwrap();
        assert!(!again && other["operation"] != first["operation"], "a key of another sender is another key");
        drop(trail);
        let trail = Trail::open(&path).unwrap();
        assert_eq!(sent(&trail, Some("k1"), "till", r#"{"amount": "5"}"#).unwrap(), (first, true));
        assert_eq!(DONE.get() - begun, 2);
        // Without a key each is an order of its own.
        sent(&trail, None, "till", r#"{"amount": "5"}"#).unwrap();
        sent(&trail, None, "till", r#"{"amount": "5"}"#).unwrap();
        assert_eq!(DONE.get() - begun, 4);
        assert_eq!(verify(&path).unwrap().records, 8);
        for wrong in ["", "a b", "ü", &"k".repeat(256)] {
            assert_eq!(sent(&trail, Some(wrong), "till", "{}").unwrap_err().0, 400, "{wrong}");
        }
    }

    #[test]
    fn a_refusal_is_repeated_and_a_failure_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let trail = Trail::open(&folder.path().join("audit.jsonl")).unwrap();
        let begun = DONE.get();
        for _ in 0..2 {
            assert_eq!(sent(&trail, Some("a"), "till", r#"{"fails": 409}"#).unwrap_err(), (409, "refused"));
            assert_eq!(sent(&trail, Some("b"), "till", r#"{"fails": 504}"#).unwrap_err(), (504, "no_answer"));
        }
        assert_eq!(DONE.get() - begun, 3);
    }

    /// Killed between the record and the outcome: the order is carried out under the id that it had.
    #[test]
    fn what_has_no_outcome_is_carried_out_under_its_pins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let trail = Trail::open(&path).unwrap();
        let (first, _) = sent(&trail, Some("k"), "till", r#"{"amount": "5"}"#).unwrap();
        drop(trail);
        let text = std::fs::read_to_string(&path).unwrap();
        let order = text.lines().next().unwrap();
        // The outcome is torn, as a loss of power leaves it.
        std::fs::write(&path, format!("{order}\n{{\"seq\":2,\"at\"")).unwrap();
        let trail = Trail::open(&path).unwrap();
        let (second, again) = sent(&trail, Some("k"), "till", r#"{"amount": "5"}"#).unwrap();
        assert!(!again);
        assert_eq!(second["operation"], first["operation"]);
        assert_eq!(verify(&path).unwrap().records, 3);
    }

    #[test]
    fn secrets_are_not_in_the_trail() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let trail = Trail::open(&path).unwrap();
        sent(&trail, Some("k"), "till", r#"{"amount": "5", "credential": {"kind": "card", "token": "4111"}}"#).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("4111") && text.contains("\"amount\":\"5\""), "{text}");
    }
}
