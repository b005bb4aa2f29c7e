//! A link of OCPP with a node that answers everything at once: whatever a charger sends, each of its calls is answered once.
//! The fuzz targets read this file, too.

use serde_json::Value;
use wattstile::limits::OCPP_CALL_TIMEOUT;
use wattstile::message::{Answer, FromCharger, Limit, Received, ToCharger, Unnumbered};
use wattstile::ocpp::frame::{self, Frame};
use wattstile::ocpp::{LinkSettings, OcppLink, Version};
use wattstile::units::{ChargerId, Mono, Now, PartitionId, Power, SessionId, SessionKey, TimeSpan, Timestamp};

/// A charger's connection.
pub struct Harness {
    link: OcppLink,
    now: Now,
    sessions: u64,
    /// A call of the gate that is not answered, and since when.
    ordered: Option<(String, Mono)>,
}

/// Calls that report a transaction: content is no reason to refuse them.
const REPORTS: [&str; 4] = ["StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"];

impl Harness {
    /// A new connection.
    pub fn new(version: Version) -> Harness {
        let now = Now { wall: Timestamp::from_unix_ms(1_790_000_000_000), mono: Mono(1_000) };
        let settings = LinkSettings {
            charger: ChargerId::new("CP-1").expect("an id"),
            version,
            power_max: Power::from_milliwatts(22_000_000),
            heartbeat: TimeSpan::from_secs(300),
            is_forwarded: false,
        };
        Harness { link: OcppLink::new(settings, now), now, sessions: 0, ordered: None }
    }

    /// Sends a text, lets the node answer, and checks what comes back. Returns whether the connection goes on.
    pub fn send(&mut self, text: &[u8]) -> bool {
        self.now =
            Now { wall: self.now.wall.saturating_add(TimeSpan::from_ms(250)), mono: Mono(self.now.mono.0 + 250) };
        let (mut messages, mut replies) = (Vec::new(), Vec::new());
        let mut goes_on = self.link.receive(text, self.now, &mut messages, &mut replies).is_ok();
        loop {
            for message in std::mem::take(&mut messages) {
                self.answer(message, &mut replies);
            }
            let is_due = self.link.next_deadline().is_some_and(|at| at <= self.now.mono);
            if !goes_on || (!is_due && messages.is_empty()) {
                break;
            }
            goes_on = self.link.on_deadline(self.now, &mut messages, &mut replies).is_ok();
        }
        self.check(text, &replies, goes_on);
        goes_on
    }

    /// The gate orders a stop of its last session: now and then its own calls are under way, too.
    pub fn stop(&mut self) {
        let order = wattstile::message::StopOrder::Operator;
        let message = ToCharger::StopNow { session: SessionKey(self.sessions), reason: order, text: "".into() };
        let mut replies = Vec::new();
        self.link.send(&message, self.now, &mut replies);
        self.check(b"", &replies, true);
    }

    fn answer(&mut self, received: Received<FromCharger>, replies: &mut Vec<String>) {
        let FromCharger::Unnumbered(message) = received.message else { return };
        let mut answers = Vec::new();
        match *message {
            Unnumbered::Authorize { ticket, .. } => {
                answers.push(ToCharger::Answer(Answer::Authorized { ticket, refused: None }));
            }
            Unnumbered::Begin(begin) => {
                self.sessions += 1;
                let session = SessionKey(self.sessions);
                let begun = Answer::Begun { ticket: begin.ticket, session, is_new: true, funds_follow: false };
                answers.push(ToCharger::Answer(begun));
                let id = SessionId::new(self.now.wall, PartitionId(0), self.sessions);
                answers.push(ToCharger::StartAccepted { session, id, limit: Limit::default(), price_text: "".into() });
            }
            Unnumbered::Fence { ticket, .. } => answers.push(ToCharger::Answer(Answer::Passed { ticket, bill: None })),
            _ => {}
        }
        for answer in answers {
            self.link.send(&answer, self.now, replies);
        }
    }

    /// Each reply is a message; the call that came is answered once, and a report never by an error.
    fn check(&mut self, text: &[u8], replies: &[String], goes_on: bool) {
        let called = match frame::read(text) {
            Ok(Frame::Call { id, action, .. }) => Some((id, action)),
            Ok(Frame::Result { id, .. } | Frame::Error { id, .. }) => {
                self.ordered.take_if(|(ordered, _)| **ordered == *id);
                None
            }
            Ok(Frame::Send { .. }) | Err(_) => None,
        };
        let mut answers = 0;
        for reply in replies {
            let frame: Vec<Value> = serde_json::from_str(reply).expect("a reply is a list");
            let (kind, id) = (frame[0].as_i64(), frame[1].as_str().expect("a reply has an id"));
            match (kind, &called) {
                (Some(2), _) => {
                    let now = self.now.mono;
                    // One that is not answered in time is given up.
                    self.ordered.take_if(|(_, since)| since.after(OCPP_CALL_TIMEOUT) <= now);
                    assert_eq!(self.ordered.replace((id.to_owned(), now)), None, "one call at a time: {reply}");
                    assert!(frame.len() == 4 && frame[2].is_string() && frame[3].is_object(), "{reply}");
                }
                (Some(3), Some((call, _))) if **call == *id => {
                    assert!(frame.len() == 3 && frame[2].is_object(), "{reply}");
                    answers += 1;
                }
                (Some(4), Some((call, action))) if **call == *id => {
                    assert!(frame.len() == 5 && !REPORTS.contains(&&**action), "{reply}");
                    answers += 1;
                }
                (Some(4), None) => assert_eq!(frame.len(), 5, "{reply}"),
                _ => panic!("an answer to nothing: {reply}"),
            }
        }
        assert!(answers == usize::from(called.is_some()) || !goes_on, "{answers} answers to {called:?}");
    }
}
