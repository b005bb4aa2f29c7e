//! A connection of a fleet on which one charger speaks OCPP.

use super::{DIAL_AGAIN_MOST, Over, PUBLISHED_EVERY, Runner};
use crate::limits;
use crate::sim::backoff::Backoff;
use crate::sim::ocpp::LineError;
use crate::sim::pipe::{Pipe, PipeEvent};
use crate::transport::websocket::{End, WebSocket};
use crate::units::Now;
use std::time::Duration;

impl Runner {
    /// Serves one connection until it ends; its WebSocket is open.
    pub(super) async fn serve_ocpp(&mut self, mut pipe: Pipe, backoff: &mut Backoff) -> Over {
        let now = self.pace.now();
        let mask = u32::try_from(self.rng.bits() >> 32).unwrap_or(0);
        let websocket = WebSocket::new(End::Client, false, limits::OCPP_MESSAGE_MAX, mask);
        match (&mut self.ocpp, self.chargers.first_mut()) {
            (Some(ocpp), Some(charger)) => ocpp.connected(charger, websocket, now),
            _ => return Over::Lost("the line has no charger".to_owned(), DIAL_AGAIN_MOST),
        }
        loop {
            if !self.obey() {
                pipe.close(Duration::from_secs(1)).await;
                return Over::Done;
            }
            let now = self.pace.now();
            self.pass_time(now);
            // Its state is stored before its calls are sent.
            self.remember(0);
            if let Err(error) = self.drive_ocpp(&mut pipe, now) {
                return self.lost(error.to_string());
            }
            self.schedule(0);
            if self.published.elapsed() >= PUBLISHED_EVERY {
                self.publish();
            }
            let deadline = self.next_wake(self.ocpp.as_ref().and_then(|ocpp| ocpp.next_deadline()), now);
            let received = tokio::select! {
                turn = pipe.turn(deadline) => match turn {
                    Ok(PipeEvent::Bytes(bytes)) => bytes.to_vec(),
                    Ok(PipeEvent::Sent | PipeEvent::Time) => continue,
                    Err(error) => return self.lost(error.to_string()),
                },
                changed = self.orders.changed() => {
                    if changed.is_err() { return Over::Done }
                    continue
                }
            };
            let now = self.pace.now();
            let outcome = self.receive_ocpp(&received, &mut pipe, (now, &mut *backoff));
            // What was acknowledged does not come again in a later process.
            self.remember(0);
            if let Err(error) = outcome {
                return self.lost(error.to_string());
            }
        }
    }

    fn drive_ocpp(&mut self, pipe: &mut Pipe, now: Now) -> Result<(), LineError> {
        match (&mut self.ocpp, self.chargers.first_mut()) {
            (Some(ocpp), Some(charger)) => ocpp.drive(charger, now, pipe.out()),
            _ => Ok(()),
        }
    }

    fn receive_ocpp(
        &mut self,
        bytes: &[u8],
        pipe: &mut Pipe,
        (now, backoff): (Now, &mut Backoff),
    ) -> Result<(), LineError> {
        let (Some(line), Some(charger)) = (&mut self.ocpp, self.chargers.first_mut()) else { return Ok(()) };
        let outcome = line.receive(charger, bytes, now, pipe.out());
        if line.ocpp.is_ready() && self.online.insert(0) {
            self.report.greetings += 1;
            backoff.succeeded();
        }
        for ended in line.ocpp.take_ended() {
            self.report.energy_wh += ended.energy_wh;
            if let Some(total) = ended.total {
                *self.report.paid_minor.entry(total.currency.code()).or_default() += total.minor;
            }
        }
        if let Some(error) = line.ocpp.take_errors().pop() {
            self.report.last_error = Some(format!("{}: a report of a transaction is refused: {error}", charger.id()));
        }
        self.schedule(0);
        outcome
    }
}
