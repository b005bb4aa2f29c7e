//! Chargers, sessions and accounts as actix actors: their context is a place in the arena of their partition instead of a
//! mailbox and a task of their own, and their handler is that of [`Hostable`].

use crate::node::account::HostedAccount;
use crate::node::charger::HostedCharger;
use crate::node::hosted::{Hostable, Hosted};
use crate::node::session::{Deliver, HostedSession};
use crate::{account, charger};
use actix::{Actor, ActorContext, ActorState, Handler, Message};

/// `stop` and `terminate` both end the actor after the delivery: its cell is vacated.
impl<A: Hostable> ActorContext for Hosted<A> {
    fn stop(&mut self) {
        self.end();
    }

    fn terminate(&mut self) {
        self.end();
    }

    fn state(&self) -> ActorState {
        if self.is_ending() { ActorState::Stopping } else { ActorState::Running }
    }
}

macro_rules! hosted_actors {
    ($($actor:ident takes $message:ty;)*) => { $(
        impl Actor for $actor {
            type Context = Hosted<$actor>;
        }

        impl Message for $message {
            type Result = ();
        }

        impl Handler<$message> for $actor {
            type Result = ();

            fn handle(&mut self, message: $message, context: &mut Hosted<$actor>) {
                Hostable::handle(self, message, context);
            }
        }
    )* };
}

hosted_actors! {
    HostedCharger takes charger::Command;
    HostedSession takes Deliver<'_>;
    HostedAccount takes account::Command;
}
