//! What surrounds the actors of processors: what they want done is left here, and fetched by the process after each step.

use crate::message::ToProcessor;
use crate::node::house::House;
use crate::node::processor::{ProcessorOutlet, Reach};
use crate::node::shard::Input;
use crate::payment::breaker::Breakers;
use crate::payment::routing::Listed;
use crate::units::{Mono, Now, ProcessorId, Timestamp};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

/// Where processors' actors leave what they want done.
pub(super) struct Desk {
    house: Arc<House>,
    left: Mutex<Left>,
}

#[derive(Default)]
pub(super) struct Left {
    /// The clocks of this step.
    pub now: Option<Now>,
    pub inputs: VecDeque<Input>,
    pub messages: VecDeque<(u64, ToProcessor)>,
}

impl Desk {
    pub fn new(house: Arc<House>) -> Desk {
        Desk { house, left: Mutex::default() }
    }

    pub fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().expect("one thread runs a world")
    }
}

impl Reach for Desk {
    fn now(&self) -> Now {
        self.left().now.unwrap_or(Now { wall: Timestamp::default(), mono: Mono(0) })
    }

    fn dice(&self) -> u64 {
        (self.house.dice)()
    }

    fn reaches(&self, input: &Input) -> bool {
        input.partition(self.house.partitions).0 < self.house.partitions
    }

    fn post(&self, input: Input) -> Result<(), Input> {
        self.left().inputs.push_back(input);
        Ok(())
    }

    fn list(&self, id: &ProcessorId, listed: &Listed) {
        self.house.list(id, listed);
    }

    fn judge(&self, id: &ProcessorId, breakers: &Breakers) {
        self.house.judge(id, breakers);
    }
}

/// A processor's connection, as its actor sees it. One that is gone was said to be gone before anything is sent.
pub(super) struct Outlet {
    pub line: u64,
    pub desk: Arc<Desk>,
}

impl ProcessorOutlet for Outlet {
    fn send(&self, message: &ToProcessor) -> bool {
        self.desk.left().messages.push_back((self.line, message.clone()));
        true
    }

    fn resume(&self) {}
}
