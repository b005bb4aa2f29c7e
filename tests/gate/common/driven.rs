//! A charger that a test drives message by message.

use super::now;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wattstile::message::*;
use wattstile::payment::{Credential, CredentialKind};
use wattstile::sim::pipe::{Dialler, Duplex};
use wattstile::units::{ChargerId, ConnectorId, Energy, MeterReading, Mono, Now, Power, SessionKey};
use wattstile::wire::*;

/// Its connection.
pub struct Driven {
    pub stream: Box<dyn Duplex>,
    link: ChargerClientLink,
    /// What came in one read behind the message that was waited for.
    incoming: VecDeque<ToCharger>,
}

impl Driven {
    pub async fn dial(dialler: &Dialler) -> Driven {
        let stream = dialler.dial().await.unwrap();
        Driven { stream, link: ChargerClientLink::new(Mono(0)), incoming: VecDeque::new() }
    }

    pub async fn says(&mut self, message: &FromCharger) {
        let mut out = Vec::new();
        self.link.send(Channel::ZERO, message, Mono(0), &mut out).unwrap();
        // A connection that the gate has closed is detected at the next read.
        let _ = self.stream.write_all(&out).await;
    }

    pub async fn introduces_itself_as(&mut self, id: &str) {
        self.comes_back_as(id, Vec::new()).await;
    }

    /// With sessions for which it has no receipt yet.
    pub async fn comes_back_as(&mut self, id: &str, sessions: Vec<SessionMark>) {
        self.says(&FromCharger::Hello(Driven::describes(id, sessions))).await;
    }

    /// How a charger with one connector introduces itself.
    pub fn describes(id: &str, sessions: Vec<SessionMark>) -> ChargerHello {
        ChargerHello {
            numbering: Default::default(),
            charger: ChargerId::new(id).unwrap(),
            connectors: vec![ConnectorInfo { id: ConnectorId(1), power_max: Power::from_watts(22_000).unwrap() }],
            firmware: "test".into(),
            clock: now(),
            sessions,
        }
    }

    pub async fn hello(&mut self, id: &str) -> ToCharger {
        self.introduces_itself_as(id).await;
        self.hears().await.expect("an answer to hello")
    }

    pub async fn start(&mut self, key: u64, token: &str) -> ToCharger {
        self.says(&FromCharger::Start(StartSession {
            session: SessionKey(key),
            connector: ConnectorId(1),
            credential: Credential { kind: CredentialKind::CardToken, token: token.as_bytes().into() },
            at: now(),
            register: Energy::from_watt_hours(1_000).unwrap(),
        }))
        .await;
        self.hears().await.expect("an answer to the start")
    }

    /// Sends a reading and awaits its acknowledgement.
    pub async fn reads(&mut self, key: u64, sequence: u32, wh: i64) {
        self.says(&FromCharger::Reading { session: SessionKey(key), reading: reading(sequence, wh) }).await;
        self.hears_acknowledged(sequence).await;
    }

    /// Sends its last reading, and awaits the acknowledgement and the receipt.
    pub async fn stops(&mut self, key: u64, sequence: u32, wh: i64) -> ReceiptNotice {
        let last = reading(sequence, wh);
        self.says(&FromCharger::Stop { session: SessionKey(key), last, reason: StopReason::Local }).await;
        self.hears_acknowledged(sequence).await;
        match self.hears().await {
            Ok(ToCharger::Receipt(receipt)) => receipt,
            other => panic!("not a receipt: {other:?}"),
        }
    }

    async fn hears_acknowledged(&mut self, sequence: u32) {
        match self.hears().await {
            Ok(ToCharger::MeterAck(ack)) if ack.up_to == sequence => {}
            other => panic!("not the acknowledgement of {sequence}: {other:?}"),
        }
    }

    /// The next message, or how the connection ended.
    pub async fn hears(&mut self) -> Result<ToCharger, String> {
        let mut buffer = [0; 4_096];
        loop {
            if let Some(message) = self.incoming.pop_front() {
                return Ok(message);
            }
            let reading = tokio::time::timeout(Duration::from_secs(20), self.stream.read(&mut buffer)).await;
            let read = reading.map_err(|_| "nothing for 20 s".to_owned())?.map_err(|error| error.to_string())?;
            if read == 0 {
                return Err("closed".to_owned());
            }
            let mut messages = Vec::new();
            let outcome = self.link.receive(&buffer[..read], Now { wall: now(), mono: Mono(0) }, &mut messages);
            self.incoming.extend(messages.into_iter().map(|received| received.message));
            if self.incoming.is_empty() {
                outcome.map_err(|error| error.to_string())?;
            }
        }
    }
}

/// The gate closed the connection with this code.
pub fn assert_gone(incoming: Result<ToCharger, String>, code: Code) {
    let farewell = incoming.expect_err("the connection ends");
    assert!(farewell.contains(&format!(" {} ", code.number())), "{code}: {farewell}");
}

pub fn reading(sequence: u32, wh: i64) -> MeterReading {
    let register = Energy::from_watt_hours(1_000 + wh).unwrap();
    MeterReading { sequence, at: now(), register, power: None, current: None }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

pub fn charger(id: &str) -> Subject {
    Subject::Charger(ChargerId::new(id).unwrap())
}
