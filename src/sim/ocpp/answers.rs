//! What a simulated OCPP charger makes of the gate's answers and calls.

use super::manners::{Begin, Unknown};
use super::payload::whole_wh;
use super::{Call, EndedSession, Name, OcppCharger, Stage, WINDOW, What};
use crate::message::{Code, Limit, MeterAck, StopOrder, ToCharger};
use crate::ocpp::Version;
use crate::sim::charger::Charger;
use crate::units::{Amount, Cost, Now, SessionKey, TimeSpan};
use rust_decimal::Decimal;
use serde_json::{Value, json};

impl OcppCharger {
    pub(super) fn answered(&mut self, charger: &mut Charger, call: Call, payload: &Value, now: Now) {
        match call.what {
            What::Boot => {
                if payload["status"] != "Accepted" {
                    return self.waiting.push_back(What::Boot.into());
                }
                self.clock_is_set = true;
                let interval = payload["interval"].as_i64().filter(|interval| *interval > 0).unwrap_or(300);
                self.heartbeat = TimeSpan::from_secs(interval);
                self.next_heartbeat = now.mono.after(self.heartbeat);
                if std::mem::replace(&mut self.stage, Stage::Ready) == Stage::Booting {
                    charger.ready(WINDOW);
                }
            }
            What::Heartbeat | What::Status(..) => {}
            What::Authorize(start) => {
                if let Some(code) = self.refusal(payload) {
                    // A session that began offline has energy: its start is reported even so.
                    if charger.asked().any(|asked| asked.session == start.session) {
                        let is_its_start =
                            |call: &Call| matches!(&call.what, What::Start(of) if of.session == start.session);
                        self.waiting.retain(|call| !is_its_start(call));
                    }
                    self.refuse(charger, start.session, code, now);
                }
            }
            What::Start(start) => self.started(charger, start.session, payload, now),
            What::Readings(key, readings) => {
                let up_to = readings.last().map_or(0, |reading| reading.sequence);
                let cost = self.cost(payload).map(Amount::to_cost);
                self.acknowledge(charger, key, (up_to, cost), now);
            }
            What::Stop(key, last, _) => {
                let total = self.cost(payload);
                if let Some(transaction) = self.transactions.remove(&key) {
                    let first = transaction.first_wh.unwrap_or_else(|| whole_wh(last.register));
                    self.ended.push(EndedSession {
                        name: transaction.name.unwrap_or(Name::Number(0)),
                        energy_wh: whole_wh(last.register) - first,
                        total,
                        is_refused: transaction.is_refused,
                        is_plain: self.manners.begin == Begin::Right && !self.manners.hides_token,
                    });
                }
                charger.ended(key, now);
            }
        }
    }

    /// The start of a session was answered.
    fn started(&mut self, charger: &mut Charger, key: SessionKey, payload: &Value, now: Now) {
        let refusal = self.refusal(payload);
        let Some(transaction) = self.transactions.get_mut(&key) else { return };
        transaction.is_begun = true;
        if let Some(number) = payload["transactionId"].as_i64() {
            transaction.name = Some(Name::Number(number));
        }
        if let Some(code) = refusal {
            transaction.is_refused = true;
            return self.refuse(charger, key, code, now);
        }
        let limit =
            payload["transactionLimit"]["maxCost"].as_number().and_then(|number| self.amount(&number.to_string()));
        charger.admit(key, Limit { cost: limit, ..Limit::default() }, now);
    }

    /// A driver is refused: before energy flows he leaves; one who charges already is stopped.
    fn refuse(&mut self, charger: &mut Charger, key: SessionKey, code: Code, now: Now) {
        if charger.asked().any(|start| start.session == key) {
            self.transactions.remove(&key);
            charger.on_message(ToCharger::StartRejected { session: key, code, text: Box::default() }, now);
        } else {
            charger.on_message(stop_now(key), now);
        }
    }

    fn acknowledge(&self, charger: &mut Charger, session: SessionKey, (up_to, cost): (u32, Option<Cost>), now: Now) {
        charger.on_message(ToCharger::MeterAck(MeterAck { session, up_to, cost }), now);
    }

    /// Why a token is refused, in the gate's codes; none: it is accepted, or nothing is decided.
    fn refusal(&self, payload: &Value) -> Option<Code> {
        let info = match self.version {
            Version::V16 => &payload["idTagInfo"],
            Version::V201 | Version::V21 => &payload["idTokenInfo"],
        };
        match info["status"].as_str()? {
            "Accepted" => None,
            "NoCredit" => Some(Code::FundsInsufficient),
            "Blocked" => Some(Code::CredentialDeclined),
            "ConcurrentTx" => Some(Code::ConnectorOccupied),
            "NotAtThisLocation" => Some(Code::NoTariff),
            _ => Some(Code::CredentialNotAccepted),
        }
    }

    fn cost(&self, payload: &Value) -> Option<Amount> {
        payload["totalCost"].as_number().and_then(|number| self.amount(&number.to_string()))
    }

    fn amount(&self, text: &str) -> Option<Amount> {
        let major: Decimal = text.parse().ok()?;
        Amount::from_major(major, self.currency).ok()
    }

    /// A call of the gate, and its answer.
    pub(super) fn called(
        &mut self,
        charger: &mut Charger,
        (id, action, payload): (&str, &str, &Value),
        now: Now,
    ) -> Option<String> {
        let name = match action {
            "RemoteStopTransaction" => payload["transactionId"].as_i64().map(Name::Number),
            "RequestStopTransaction" => payload["transactionId"].as_str().map(|name| Name::Text(name.to_owned())),
            "RemoteStartTransaction" | "RequestStartTransaction" => {
                return Some(json!([3, id, {"status": "Rejected"}]).to_string());
            }
            "GetTransactionStatus" => {
                let is_queued = !self.waiting.is_empty() || charger.unacknowledged() > 0;
                return Some(json!([3, id, {"messagesInQueue": is_queued}]).to_string());
            }
            _ => {
                let refused = json!([4, id, "NotImplemented", "", {}]);
                let accepted = match action {
                    "DataTransfer" | "TriggerMessage" => json!([3, id, {"status": "Accepted"}]),
                    _ => json!([3, id, {}]),
                };
                return match self.manners.unknown {
                    Unknown::Accepted => Some(accepted.to_string()),
                    Unknown::Refused => Some(refused.to_string()),
                    Unknown::Unanswered => None,
                };
            }
        };
        let found = self.transactions.iter().find(|(_, of)| name.is_some() && of.name == name).map(|(key, _)| *key);
        if let Some(key) = found {
            charger.on_message(stop_now(key), now);
        }
        let status = if found.is_some() { "Accepted" } else { "Rejected" };
        Some(json!([3, id, {"status": status}]).to_string())
    }
}

fn stop_now(session: SessionKey) -> ToCharger {
    ToCharger::StopNow { session, reason: StopOrder::Operator, text: Box::default() }
}
