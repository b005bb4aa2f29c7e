//! A gate for the tests of this room: everything in memory, acknowledges at once, and breaks connections on purpose.

use super::pace::Pace;
use super::pipe::{Dialler, Dialling, Duplex};
use crate::message::{
    ChargerHelloAck, Code, FromCharger, Limit, MeterAck, PeerIdentity, ReceiptNotice, Received, SessionPosition,
    Standing, Subject, Terms, ToCharger,
};
use crate::units::{
    Amount, ChargerId, ConnectorId, Cost, Currency, Energy, PartitionId, Rounding, SessionId, SessionKey, TimeSpan,
};
use crate::wire::ChargerLink;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// The gate's state of a session.
#[derive(Clone, Debug)]
pub struct Known {
    pub start: Energy,
    pub last: Energy,
    pub durable: u32,
    pub over: bool,
    pub connector: ConnectorId,
}

/// The gate behind all its connections.
#[derive(Default)]
pub struct FakeGate {
    pub sessions: Mutex<BTreeMap<(ChargerId, SessionKey), Known>>,
    /// Readings after which a connection is cut; 0: never.
    pub cut_after: u32,
}

/// 0.14 EUR/kWh.
pub fn cost_of(energy: Energy) -> Cost {
    let price = rust_decimal::Decimal::new(14, 2);
    Cost::from_major(energy.kwh() * price, Currency::EUR).unwrap()
}

/// A way to a gate in memory, as this peer.
pub fn dialler(gate: &Arc<FakeGate>, subject: Subject) -> Dialler {
    let gate = Arc::clone(gate);
    Arc::new(move || -> Dialling {
        let (near, far) = tokio::io::duplex(1_000);
        let (gate, subject) = (Arc::clone(&gate), subject.clone());
        tokio::spawn(async move { gate.serve(far, subject).await });
        Box::pin(async move { Ok(Box::new(near) as Box<dyn Duplex>) })
    })
}

impl FakeGate {
    async fn serve(&self, mut stream: DuplexStream, subject: Subject) {
        let pace = Pace::new(1);
        let peer = PeerIdentity { trust_domain: "test".into(), subject };
        let mut link = ChargerLink::new(peer, Arc::new(|_, _| true), pace.now().mono).unwrap();
        let (mut buffer, mut messages, mut readings) = ([0; 512], Vec::new(), 0_u32);
        loop {
            let Ok(read @ 1..) = stream.read(&mut buffer).await else { return };
            let mut out = Vec::new();
            link.receive(&buffer[..read], pace.now(), &mut messages, &mut out).expect("a simulated charger is sane");
            for received in messages.drain(..) {
                readings += u32::from(matches!(received.message, FromCharger::Reading { .. }));
                let charger = link.charger(received.channel).unwrap().clone();
                for answer in self.answer(&charger, &received, &pace) {
                    link.send(received.channel, &answer, &mut out).unwrap();
                }
            }
            if self.cut_after > 0 && readings >= self.cut_after {
                return;
            }
            if stream.write_all(&out).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, charger: &ChargerId, received: &Received<FromCharger>, pace: &Pace) -> Vec<ToCharger> {
        let mut sessions = self.sessions.lock().unwrap();
        match &received.message {
            FromCharger::Hello(hello) => {
                let position = |key| match sessions.get(&(charger.clone(), key)) {
                    None => Standing::Unknown,
                    Some(known) if known.over => Standing::Over { durable: known.durable },
                    Some(known) => Standing::Open { durable: known.durable },
                };
                let marks = hello.sessions.iter().map(|mark| mark.session);
                let positions = marks.map(|session| SessionPosition { session, standing: position(session) }).collect();
                let terms = Terms { window: 16, heartbeat: TimeSpan::from_secs(30), frame_max: 65_536 };
                let ack = ChargerHelloAck { terms, server_time: pace.now().wall, sessions: positions };
                let over = hello.sessions.iter().filter_map(|mark| {
                    let known = sessions.get(&(charger.clone(), mark.session)).filter(|known| known.over)?;
                    Some(receipt(mark.session, known))
                });
                std::iter::once(ToCharger::HelloAck(ack)).chain(over).collect()
            }
            FromCharger::Start(start) => {
                let occupied = sessions.iter().any(|((of, key), known)| {
                    of == charger && *key != start.session && !known.over && known.connector == start.connector
                });
                assert!(!occupied, "{charger} starts on a connector whose session is not over");
                let known = sessions.entry((charger.clone(), start.session)).or_insert(Known {
                    start: start.register,
                    last: start.register,
                    durable: 0,
                    over: false,
                    connector: start.connector,
                });
                assert_eq!(known.start, start.register, "a repeated start is the same start");
                let id = SessionId::new(start.at, PartitionId(0), start.session.0);
                vec![ToCharger::StartAccepted {
                    session: start.session,
                    id,
                    limit: Limit::default(),
                    price_text: "".into(),
                }]
            }
            FromCharger::Reading { session, reading } | FromCharger::Stop { session, last: reading, .. } => {
                let Some(known) = sessions.get_mut(&(charger.clone(), *session)) else {
                    let code = Code::SessionUnknown;
                    return vec![ToCharger::SessionRejected {
                        session: *session,
                        code,
                        expected: None,
                        text: "".into(),
                    }];
                };
                if reading.sequence > known.durable + 1 {
                    let (code, expected) = (Code::SequenceGap, Some(known.durable + 1));
                    return vec![ToCharger::SessionRejected { session: *session, code, expected, text: "".into() }];
                }
                if reading.sequence == known.durable + 1 {
                    assert!(reading.register >= known.last, "the register of {charger} falls");
                    (known.durable, known.last) = (reading.sequence, reading.register);
                }
                known.over |= matches!(received.message, FromCharger::Stop { .. });
                let ack = MeterAck { session: *session, up_to: known.durable, cost: None };
                let mut answers = vec![ToCharger::MeterAck(ack)];
                answers.extend(known.over.then(|| receipt(*session, known)));
                answers
            }
            FromCharger::Status(_) | FromCharger::Unnumbered(_) => Vec::new(),
        }
    }
}

fn receipt(session: SessionKey, known: &Known) -> ToCharger {
    let cost = cost_of(known.last.checked_sub(known.start).unwrap());
    let total: Amount = cost.round(Rounding::HalfEven).unwrap();
    let receipt = format!("R-{session}").into();
    ToCharger::Receipt(ReceiptNotice { session, total, cost, receipt, url: "".into() })
}
