//! Certificates that no authority of the gate has signed, or does not stand for any more.

use super::charger_line::{ChargerLine, Incoming, hello};
use super::field::seconds_from;
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::{FromCharger, Subject};
use crate::transport::pki::{Certified, Pki, Validity};
use crate::units::{ChargerId, Power, ProcessorId};
use std::net::SocketAddr;
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "forged-certificates",
    findings: "S9",
    does: "honest names signed by another authority of the same name, with its chain, the real chain and none; expired, \
           not yet valid, revoked, and good ones at the wrong listener",
    expects: "no connection is taken in",
    pause: Duration::from_secs(12),
    currency: super::EURO,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

/// A revocation list that changed is read within seconds.
const LISTS_ARE_READ: Duration = Duration::from_secs(12);

async fn attack(field: Field) -> Result<(), Trouble> {
    let victim = ChargerId::new("HONEST-0001").map_err(Trouble::of)?;
    let (charger, now) = (Subject::Charger(victim.clone()), field.now().wall);
    let listeners = (field.ways.chargers, field.ways.processors);
    let good = field.ways.certificate(&charger)?;

    let mut foreign = Pki::new(&field.ways.trust_domain(), now).map_err(Trouble::of)?;
    let forged = foreign.issue(&charger, Validity::days(now, 30)).map_err(Trouble::of)?;
    let real_chain = with_chain(&forged, good.chain.get(1..).unwrap_or_default());
    let alone = with_chain(&forged, &[]);
    // The real leaf, without its key.
    let stolen = Certified { chain: good.chain.clone(), key: forged.key.clone_key() };
    let expired = Validity { not_before: seconds_from(now, -7_200), not_after: seconds_from(now, -3_600) };
    let not_yet = Validity { not_before: seconds_from(now, 3_600), not_after: seconds_from(now, 7_200) };
    let processor = Subject::Processor(ProcessorId::new("honest-a").map_err(Trouble::of)?);
    let tries: Vec<(&str, Certified, SocketAddr)> = vec![
        ("a foreign authority of the same name", forged, listeners.0),
        ("a foreign leaf with the real chain", real_chain, listeners.0),
        ("a foreign leaf alone", alone, listeners.0),
        ("a stolen certificate without its key", stolen, listeners.0),
        ("expired", field.ways.certificate_for(&charger, expired)?, listeners.0),
        ("not yet valid", field.ways.certificate_for(&charger, not_yet)?, listeners.0),
        ("a processor at the chargers' listener", field.ways.certificate(&processor)?, listeners.0),
        ("a charger at the processors' listener", good, listeners.1),
    ];
    for (what, own, listener) in tries {
        expect_refusal(&field, what, own, listener, &victim).await;
    }
    revoked(&field).await
}

fn with_chain(own: &Certified, above: &[rustls_pki_types::CertificateDer<'static>]) -> Certified {
    let chain = own.chain.iter().take(1).chain(above).cloned().collect();
    Certified { chain, key: own.key.clone_key() }
}

/// In TLS 1.3 a refusal shows at the first read.
async fn expect_refusal(field: &Field, what: &str, own: Certified, listener: SocketAddr, id: &ChargerId) {
    let Ok(stream) = field.dial_with(own, listener).await else { return field.tally.right(what) };
    let mut line = ChargerLine::over(stream, field);
    line.send(&FromCharger::Hello(hello(id, Power::from_milliwatts(22_000_000), field.now().wall, Vec::new())));
    match line.receive(Duration::from_secs(10)).await {
        Incoming::Ended(_) => field.tally.right(what),
        Incoming::Message(message) => field.tally.violation(format!("{what}: {message:?}")),
        Incoming::Nothing => field.tally.violation(format!("{what}: neither taken in nor closed")),
    }
}

/// A charger of the attacker's own, whose certificate is revoked while it is connected.
async fn revoked(field: &Field) -> Result<(), Trouble> {
    let id = ChargerId::new(&field.peer_name(field.round)).map_err(Trouble::of)?;
    let subject = Subject::Charger(id.clone());
    let mut line = ChargerLine::greeted(field, &id, Power::from_milliwatts(22_000_000)).await?;
    let own = field.ways.certificate(&subject)?;
    field.ways.revoke(&subject)?;
    match line.receive(LISTS_ARE_READ).await {
        Incoming::Ended(_) => field.tally.right("revoked: cut"),
        other => field.tally.violation(format!("revoked, and up after {} s: {other:?}", LISTS_ARE_READ.as_secs())),
    }
    expect_refusal(field, "revoked", own, field.ways.chargers, &id).await;
    Ok(())
}
