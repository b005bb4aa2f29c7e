//! What a charger of 1.6 shows its driver: the price, the running cost, the final cost. Later versions have the cost in the
//! answers to their events.
//!
//! A charger is asked once, after its boot, whether it shows costs. One that refuses a message, or does not answer it, gets no
//! more on this connection: its traffic is not to wait for its display.

use super::{About, Display, OcppLink, Shown, Stage};
use crate::limits;
use crate::message::{Bill, ReceiptNotice, SessionName};
use crate::ocpp::{Version, v16};
use crate::units::{MeterReading, Mono, Now, SessionKey};

impl OcppLink {
    /// Asks a charger whether it shows costs.
    pub(super) fn ask_display(&mut self, now: Mono) {
        if self.settings.version == Version::V16
            && self.display == Display::Unknown
            && self.enqueue(About::Configuration, v16::ask_display(), now)
        {
            self.display = Display::Asked;
        }
    }

    /// Keeps the register that the running cost refers to.
    pub(super) fn note_register(&mut self, session: &SessionName, readings: &[MeterReading]) {
        if let (SessionName::Number(key, _), Some(last)) = (session, readings.last())
            && let Some(known) = self.sessions.iter_mut().find(|known| known.session == *key)
        {
            known.register = Some(last.register);
        }
    }

    /// A session was admitted: the display gets its price.
    pub(super) fn show_price(&mut self, session: SessionKey, text: &str, now: Mono) {
        if self.display != Display::Shows || text.is_empty() {
            return;
        }
        let token = self.waiting.iter().find_map(|waiting| match &waiting.stage {
            Stage::Beginning(beginning) if beginning.session.is_some_and(|(of, _)| of == session) => {
                Some(beginning.token.clone())
            }
            _ => None,
        });
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            self.enqueue(About::Display(session, Shown::Price), v16::show_price(&token, text), now);
        }
    }

    /// Readings of a session are durable: the display gets its cost, not more often than a driver looks.
    pub(super) fn show_running(&mut self, bill: Bill, now: Now) {
        if self.display != Display::Shows {
            return;
        }
        let Some(known) = self.sessions.iter_mut().find(|known| known.session == bill.session) else { return };
        if known.displayed.is_some_and(|displayed| displayed.after(limits::OCPP_DISPLAY_INTERVAL) > now.mono) {
            return;
        }
        known.displayed = Some(now.mono);
        let call = v16::show_running(bill, known.register, now.wall);
        let about = About::Display(bill.session, Shown::Running);
        // One that still waits is of no use any more.
        self.orders.retain(|order| order.about != about);
        self.enqueue(about, call, now.mono);
    }

    /// A session is paid for: the display gets what it cost.
    pub(super) fn show_final(&mut self, notice: &ReceiptNotice, now: Mono) {
        if self.display == Display::Shows {
            self.orders.retain(|order| order.about != About::Display(notice.session, Shown::Running));
            self.enqueue(About::Display(notice.session, Shown::Final), v16::show_final(notice), now);
        }
    }
}
