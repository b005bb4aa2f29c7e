//! A processor's actor as an actix actor: a mailbox and a pulse in front of its methods.

use crate::limits;
use crate::node::processor::{
    Acknowledge, Callbacks, Connected, Disconnected, Dispatch, ProcessorActor, Report, SWEEP, Test,
};
use actix::{Actor, AsyncContext, Context, Handler, Message};
use std::time::Duration;

macro_rules! messages {
    ($($name:ident),*) => { $(impl Message for $name { type Result = (); })* };
}
messages!(Connected, Disconnected, Callbacks, Dispatch, Acknowledge, Report, Test);

impl Actor for ProcessorActor {
    type Context = Context<ProcessorActor>;

    fn started(&mut self, context: &mut Context<ProcessorActor>) {
        context.set_mailbox_capacity(limits::PROCESSOR_MAILBOX);
        context.run_interval(Duration::from_millis(20), |actor, _| {
            if actor.has_waiting() {
                actor.retry();
            }
        });
        context.run_interval(SWEEP, |actor, _| actor.sweep());
    }
}

impl Handler<Connected> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, connected: Connected, _: &mut Context<ProcessorActor>) {
        self.connect(connected);
    }
}

impl Handler<Disconnected> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, Disconnected(gone): Disconnected, _: &mut Context<ProcessorActor>) {
        self.disconnect(gone);
    }
}

impl Handler<Dispatch> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, Dispatch(operation): Dispatch, _: &mut Context<ProcessorActor>) {
        self.dispatch(operation);
    }
}

impl Handler<Callbacks> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, came: Callbacks, _: &mut Context<ProcessorActor>) {
        self.on_callbacks(came);
    }
}

impl Handler<Acknowledge> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, Acknowledge { callback, refused }: Acknowledge, _: &mut Context<ProcessorActor>) {
        self.acknowledge(callback, refused);
    }
}

impl Handler<Report> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, report: Report, _: &mut Context<ProcessorActor>) {
        ProcessorActor::report(self, report);
    }
}

impl Handler<Test> for ProcessorActor {
    type Result = ();

    fn handle(&mut self, test: Test, _: &mut Context<ProcessorActor>) {
        ProcessorActor::test(self, test);
    }
}
