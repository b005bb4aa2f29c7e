//! Card numbers where texts are taken: tokens, versions, remarks, references, codes, goodbyes.

use super::charger_line::{ANSWER, ChargerLine, Incoming, Refused, charger_id, hello, start};
use super::processor_line::{ProcessorLine, capabilities, processor_id};
use super::raw::Fields;
use super::simulated_processor::of;
use super::{Attacker, Attacking, Field, Trouble};
use crate::message::{
    Channel, Code, ConnectorState, ConnectorStatus, Drain, FromCharger, FromProcessor, GoAway, ProcessorHello,
    ToProcessor,
};
use crate::payment::{CredentialKind, Decline, DeclineClass, Operation, Outcome, ProcessorRef, Request};
use crate::units::ConnectorId;
use crate::units::{Amount, Energy, HoldId, OpId, Power, TimeSpan};
use crate::wire::frame::FrameType;
use std::time::Duration;

pub(super) const ATTACKER: Attacker = Attacker {
    name: "card-numbers",
    findings: "S7, S14",
    does: "card numbers as tokens of every kind and in every free text of chargers and processors",
    expects: "a refused start (309) or a closed connection (309, 107); nothing of it is taken",
    pause: Duration::from_secs(3),
    currency: 203,
    attack: |field| Box::pin(attack(field)) as Attacking,
};

/// Numbers that card schemes publish for tests, as people write them.
const NUMBERS: [&str; 4] = ["4111111111111111", "5555 5555 5555 4444", "3782-822463-10005", "6011000990139424"];

async fn attack(mut field: Field) -> Result<(), Trouble> {
    let place = usize::try_from(field.rng.below(NUMBERS.len() as u64)).unwrap_or(0);
    let number = NUMBERS[place];
    tokens(&field, number).await?;
    charger_texts(&field, number).await?;
    processor_texts(&field, number).await
}

async fn tokens(field: &Field, number: &str) -> Result<(), Trouble> {
    let id = charger_id(field, field.round % 4)?;
    let mut line = ChargerLine::greeted(field, &id, Power::from_milliwatts(22_000_000)).await?;
    let wrapped = format!("tok_{number}");
    for (kind, place) in CredentialKind::ALL.into_iter().zip(0..) {
        for (token, half) in [(number, 0), (&*wrapped, 1)] {
            let register = Energy::from_watt_hours(1_000).unwrap_or(Energy::ZERO);
            let asked = start(field.fresh_key(place * 2 + half), kind, token.as_bytes(), field.now().wall, register);
            match line.start(asked).await {
                Err(Refused::Code(Code::CardNumber)) => field.tally.right("token: 309"),
                Err(Refused::Ended(ended)) => return Err(Trouble(ended.text)),
                other => field.tally.violation(format!("a card number as {kind:?}: {other:?}")),
            }
        }
    }
    Ok(())
}

/// Whether the connection ends as it has to.
fn closed<Message: std::fmt::Debug>(field: &Field, what: &str, received: &Incoming<Message>) {
    match received {
        Incoming::Ended(ended) if matches!(ended.code, Some(Code::CardNumber | Code::Payload)) => {
            field.tally.right(format!("{what}: {}", ended.word()));
        }
        Incoming::Ended(ended) => field.tally.right(format!("{what}: {}", ended.word())),
        other => field.tally.violation(format!("a card number in {what}: {other:?}")),
    }
}

async fn charger_texts(field: &Field, number: &str) -> Result<(), Trouble> {
    let id = charger_id(field, field.round % 4)?;
    let power = Power::from_milliwatts(22_000_000);
    let mut line = ChargerLine::dial(field, &id).await?;
    let mut greeting = hello(&id, power, field.now().wall, Vec::new());
    greeting.firmware = format!("1.2 {number}").into();
    line.send(&FromCharger::Hello(greeting));
    closed(field, "firmware", &line.receive(ANSWER).await);

    let mut line = ChargerLine::dial(field, &id).await?;
    let in_place_of_the_id = Fields::default().number(1, 1).bytes(2, number.replace(' ', "-").as_bytes());
    line.send_bytes(&in_place_of_the_id.frame(FrameType::ChargerHello, Channel::ZERO));
    closed(field, "charger id", &line.receive(ANSWER).await);

    let mut line = ChargerLine::greeted(field, &id, power).await?;
    let at = field.now().wall;
    let text = format!("driver shows {number}").into();
    line.send(&FromCharger::Status(ConnectorStatus {
        connector: ConnectorId(1),
        state: ConnectorState::Occupied,
        at,
        text,
    }));
    closed(field, "status text", &line.receive(ANSWER).await);
    Ok(())
}

async fn processor_texts(field: &Field, number: &str) -> Result<(), Trouble> {
    let id = processor_id(field, 0)?;
    let mut line = ProcessorLine::dial(field, &id).await?;
    let capabilities = capabilities(field, &id, &[CredentialKind::WalletToken]);
    let (instance, clock) = (format!("m {number}").into(), field.now().wall);
    line.send(&FromProcessor::Hello(ProcessorHello { processor: id.clone(), instance, capabilities, clock }));
    closed(field, "machine's name", &line.receive(ANSWER).await);

    // A decline code has no room for separators.
    let compact: String = number.chars().filter(char::is_ascii_digit).collect();
    let operation = nobodys(field, &id);
    let decline = Decline { class: DeclineClass::Hard, code: compact.into(), retry_after: None };
    let currency = field.currency;
    let reference = Outcome::Approved {
        amount: Amount::new(100, currency),
        processor_ref: ProcessorRef(number.into()),
        expires_at: None,
    };
    for (what, outcome) in [("decline code", Outcome::Declined(decline)), ("processor_ref", reference)] {
        let mut line = ProcessorLine::greeted(field, &id, &[CredentialKind::WalletToken]).await?;
        let answer = of(&mut line, &operation, outcome);
        line.send(&answer);
        match after_operations(&mut line).await {
            Incoming::Message(ToProcessor::Nack { code: code @ (Code::CardNumber | Code::Payload), .. }) => {
                field.tally.right(format!("{what}: {}", code.number()));
            }
            other => closed(field, what, &other),
        }
    }
    let (text, code) = (format!("bye {number}").into_boxed_str(), Code::PeerLeaves);
    let farewell = GoAway { code, text: text.clone(), reconnect_after: TimeSpan::ZERO };
    let drain = Drain { deadline: field.now().wall, text };
    for (what, message) in [("drain text", FromProcessor::Drain(drain)), ("farewell", FromProcessor::GoAway(farewell))]
    {
        let mut line = ProcessorLine::greeted(field, &id, &[CredentialKind::WalletToken]).await?;
        line.send(&message);
        closed(field, what, &after_operations(&mut line).await);
    }
    Ok(())
}

/// The next that is no operation: probes may come in between.
async fn after_operations(line: &mut ProcessorLine) -> Incoming<ToProcessor> {
    loop {
        match line.receive(ANSWER).await {
            Incoming::Message(ToProcessor::Operation(_)) => {}
            other => return other,
        }
    }
}

/// An operation that the gate never sent.
pub(super) fn nobodys(field: &Field, id: &crate::units::ProcessorId) -> Operation {
    let op = OpId::from_u128(u128::from(field.fresh_key(0)) << 64 | 0x0001_0001);
    Operation {
        id: op,
        hold: HoldId(op),
        processor: id.clone(),
        attempt: 1,
        possible_duplicate: false,
        decide_by: field.now().wall,
        request: Request::Inquire { target: op },
    }
}
