//! Escape sequences and marks that turn a text around, where texts are taken and shown again.

use super::charger_line::{ANSWER, ChargerLine, Incoming, charger_id, hello};
use super::http::{ask, get};
use super::{Attacker, Attacking, Field, Trouble};
use crate::limits::LIST_ITEMS_MAX;
use crate::message::{ConnectorState, ConnectorStatus, FromCharger, ToCharger};
use crate::units::screen::is_unseen;
use crate::units::{ConnectorId, Power};
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "unseen-characters",
    findings: "S17",
    does: "firmware versions and remarks with ESC, BEL, line breaks and bidirectional marks",
    expects: "they are refused or escaped: the console shows no unseen character of them",
    pause: Duration::from_secs(3),
    currency: super::EURO,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

const TEXTS: [&str; 4] =
    ["1.0\u{1b}[31mred", "1.0\u{202e}gnorw", "1.0\r\n\u{7}{\"level\":\"INFO\"}", "\u{2066}1.0\u{2069}\u{feff}"];

async fn attack(field: Field) -> Result<(), Trouble> {
    for (text, number) in TEXTS.into_iter().zip(0..) {
        let id = charger_id(&field, number)?;
        let mut line = ChargerLine::dial(&field, &id).await?;
        let now = field.now().wall;
        let mut greeting = hello(&id, Power::from_milliwatts(22_000_000), now, Vec::new());
        greeting.firmware = text.into();
        line.send(&FromCharger::Hello(greeting));
        line.send(&FromCharger::Status(ConnectorStatus {
            connector: ConnectorId(1),
            state: ConnectorState::Faulted,
            at: now,
            text: text.into(),
        }));
        match line.receive(ANSWER).await {
            Incoming::Message(ToCharger::HelloAck(_)) => field.tally.right("taken"),
            Incoming::Ended(ended) => field.tally.right(ended.word()),
            other => field.tally.violation(format!("{}: {other:?}", text.escape_debug())),
        }
    }
    shown(&field).await
}

/// What the console shows of them.
async fn shown(field: &Field) -> Result<(), Trouble> {
    let Some(console) = &field.ways.console else { return Ok(()) };
    let path = format!("/api/chargers?prefix=EVIL-{}&limit={LIST_ITEMS_MAX}", field.name);
    let request = get(&path, &console.address.to_string(), Some(&console.token));
    let answer = ask(field, console.address, &request).await?;
    let Some((_, body)) = answer.text.split_once("\r\n\r\n") else {
        return Err(Trouble(format!("the chargers: {}", answer.status)));
    };
    let document = answer.document().unwrap_or_default();
    let in_text = body.chars().find(|letter| is_unseen(*letter) && !matches!(letter, '\n' | '\r' | '\t'));
    match in_text.or_else(|| unseen_in(&document)) {
        None => field.tally.right("shown without them"),
        Some(letter) => field.tally.violation(format!("the console shows {}", letter.escape_debug())),
    }
    Ok(())
}

/// The first unseen character in any text of a document.
fn unseen_in(document: &serde_json::Value) -> Option<char> {
    match document {
        serde_json::Value::String(text) => text.chars().find(|letter| is_unseen(*letter)),
        serde_json::Value::Array(items) => items.iter().find_map(unseen_in),
        serde_json::Value::Object(members) => members.values().find_map(unseen_in),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => None,
    }
}
