//! Peers that stop like a process that got SIGSTOP: in the middle of a session they neither read nor write.

use super::charger_line::{ChargerLine, charger_id, reading, start};
use super::processor_line::{ProcessorLine, processor_id};
use super::{Attacker, Attacking, Field, Trouble};
use crate::payment::CredentialKind;
use crate::units::{Energy, Power};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "silent-peers",
    findings: "held well",
    does: "a charger in mid-session and a processor with operations under way neither read nor write for two minutes",
    expects: "others notice nothing; the session ends on its last reading, and the gate closes the connections",
    pause: Duration::from_secs(5),
    currency: 975,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

/// Three heartbeats of 30 s, and what a busy machine needs.
const SILENT_FOR: Duration = Duration::from_secs(120);
/// Longest time until the end of a connection is detected.
const RECEIVED_WITHIN: Duration = Duration::from_secs(5);

async fn attack(field: Field) -> Result<(), Trouble> {
    let id = charger_id(&field, field.round % 4)?;
    let mut charger = ChargerLine::greeted(&field, &id, Power::from_milliwatts(22_000_000)).await?;
    let processor_name = processor_id(&field, 0)?;
    let mut processor = ProcessorLine::greeted(&field, &processor_name, &[CredentialKind::WalletToken]).await?;
    // The processor never answers, so the outcome of this start stays unknown.
    let (key, begin) = (field.fresh_key(0), field.now().wall);
    let register = Energy::from_watt_hours(1_000).unwrap_or(Energy::ZERO);
    let asked = start(key, CredentialKind::WalletToken, b"evil-silent", begin, register);
    charger.send(&crate::message::FromCharger::Start(asked));
    charger.send_readings(key, &[reading(1, begin, register)]);
    // Out with it, and what comes in that time is read.
    let _ = charger.receive(Duration::from_millis(500)).await;
    let since = Instant::now();
    while field.goes_on() && since.elapsed() < SILENT_FOR {
        field.pause(Duration::from_secs(1)).await;
    }
    if since.elapsed() < SILENT_FOR {
        field.tally.right("silent until the end");
        return Ok(());
    }
    for (what, is_closed) in [
        ("the charger's connection", charger.is_closed(RECEIVED_WITHIN).await),
        ("the processor's connection", processor.is_closed(RECEIVED_WITHIN).await),
    ] {
        if is_closed {
            field.tally.right(format!("{what} is closed"))
        } else {
            field.tally.violation(format!("{what} is open after {} s of silence", SILENT_FOR.as_secs()))
        }
    }
    Ok(())
}
