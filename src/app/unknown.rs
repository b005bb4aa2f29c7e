//! A processor with a valid certificate without a rule: it is refused with a reason, and no state is created for it.

use super::connection;
use crate::transport::{Ended, Flow, Outgoing, PeerHandler};
use crate::units::Clock;
use crate::wire::ProcessorLink;
use std::sync::Arc;
use std::time::Duration;

/// The handler of its connection, until its Hello is answered with the reason.
pub(super) struct Unknown {
    pub link: ProcessorLink,
    pub outgoing: Outgoing,
    pub clock: Arc<dyn Clock>,
}

impl Unknown {
    fn go_on(&self, outcome: Result<(), crate::wire::LinkError>, mut reply: Vec<u8>) -> Flow {
        connection::answer(&self.outgoing, &mut reply);
        outcome.map_or_else(|error| connection::close(self.link.processor(), &error), |()| Flow::Continue)
    }
}

impl PeerHandler for Unknown {
    fn received(&mut self, bytes: &[u8]) -> Flow {
        let (now, mut reply) = (self.clock.now(), Vec::new());
        // Nothing comes before its Hello, and that ends the link.
        let outcome = self.link.receive(bytes, now, &mut Vec::new(), &mut reply);
        self.go_on(outcome, reply)
    }

    fn wait(&self) -> Option<Duration> {
        let due = self.link.next_deadline()?;
        Some(Duration::from_millis(due.0.saturating_sub(self.clock.now().mono.0)))
    }

    fn deadline(&mut self) -> Flow {
        let mut reply = Vec::new();
        let outcome = self.link.on_deadline(self.clock.now().mono, &mut reply);
        self.go_on(outcome, reply)
    }

    fn ended(&mut self, _: &Ended) {}
}
