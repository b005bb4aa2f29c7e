//! A payment processor inside the process that approves everything at once, so that only the gate is measured.

use crate::app::Gate;
use crate::message::ToProcessor;
use crate::node::ConnectionId;
use crate::node::processor::{Callback, Callbacks, ProcessorActor, ProcessorOutlet};
use crate::payment::{Answer, CallbackId, Capabilities, CredentialKind, Outcome, ProcessorRef, Request};
use crate::units::{Amount, Currency, ProcessorId};
use actix::Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// A processor that approves everything at once.
#[derive(Default)]
pub(super) struct ApprovingProcessor {
    actor: OnceLock<Addr<ProcessorActor>>,
    callbacks: AtomicU64,
}

impl ApprovingProcessor {
    /// Connects one to a gate, under this id.
    pub fn join(gate: &Gate, id: ProcessorId) {
        let processor = Arc::new(ApprovingProcessor::default());
        let actor = gate.admit(id, processor.clone(), ApprovingProcessor::capabilities());
        // Set once: it joins one gate.
        let _ = processor.actor.set(actor);
    }

    fn capabilities() -> Capabilities {
        Capabilities {
            credentials: vec![CredentialKind::CardToken],
            inflight_max: 16_384,
            ..Capabilities::everything(Currency::EUR)
        }
    }
}

impl ProcessorOutlet for ApprovingProcessor {
    fn send(&self, message: &ToProcessor) -> bool {
        let (ToProcessor::Operation(operation), Some(actor)) = (message, self.actor.get()) else { return true };
        let amount = match &operation.request {
            Request::Authorize { amount, .. } | Request::Capture { amount, .. } | Request::Refund { amount, .. } => {
                *amount
            }
            Request::Increment { new_total, .. } | Request::Decrement { new_total, .. } => *new_total,
            Request::Void { .. } | Request::Inquire { .. } => Amount::zero(Currency::EUR),
        };
        let number = self.callbacks.fetch_add(1, Ordering::Relaxed);
        let processor_ref = ProcessorRef(format!("auth-{number}").into());
        let answer = Answer {
            callback: CallbackId(u128::from(number) + 1),
            operation: operation.id,
            hold: operation.hold,
            outcome: Outcome::Approved { amount, processor_ref, expires_at: None },
        };
        let callbacks = vec![Callback::Answer(answer)];
        actor.try_send(Callbacks { connection: ConnectionId(u64::MAX), callbacks }).is_ok()
    }

    fn resume(&self) {}
}
