//! A processor fails and recovers: shards, shared state and the processors' actors together, on a clock of the test's
//! own.

use super::*;
use crate::message::ToProcessor;
use crate::node::processor::{Callback, Callbacks, Connected, ProcessorActor, ProcessorOutlet, Reach};
use crate::node::reply::Reply;
use crate::payment::breaker::Breakers;
use std::collections::{BTreeMap, VecDeque};

/// What a processor's connection was given to send.
#[derive(Default)]
struct Wire(Mutex<Vec<Operation>>);

impl ProcessorOutlet for Wire {
    fn send(&self, message: &ToProcessor) -> bool {
        if let ToProcessor::Operation(operation) = message {
            self.0.lock().unwrap().push(operation.clone());
        }
        true
    }

    fn resume(&self) {}
}

/// The shared state as the actors use it.
struct TownReach {
    node_config: Arc<NodeConfig>,
    now: Mutex<Now>,
    posted: Mutex<VecDeque<Input>>,
    random: AtomicU64,
}

impl Reach for TownReach {
    fn now(&self) -> Now {
        *self.now.lock().unwrap()
    }

    fn random(&self) -> u64 {
        self.random.fetch_add(1, Ordering::Relaxed)
    }

    fn shard_of(&self, _: &Input) -> Option<u16> {
        Some(0)
    }

    fn post(&self, input: Input) -> Result<(), Input> {
        self.posted.lock().unwrap().push_back(input);
        Ok(())
    }

    fn list(&self, id: &ProcessorId, listed: &Listed) {
        self.node_config.routing.list(id, listed);
    }

    fn reply(&self, _: ReplyTo, _: Reply) {
        unreachable!("no operator asks");
    }

    fn judge(&self, id: &ProcessorId, breakers: &Breakers) {
        self.node_config.routing.judge(id, breakers);
    }
}

struct Town {
    scene: Scene,
    reach_of_town: Arc<TownReach>,
    actors: BTreeMap<ProcessorId, (ProcessorActor, Arc<Wire>)>,
    key: u64,
}

impl Town {
    fn new() -> Town {
        let node_config = node_config();
        node_config.routing.change(&|routes| *routes = Routes::default());
        let scene = Scene::in_house(MemoryStore::new(64), node_config.clone(), Scene::beginning());
        let (now, posted) = (Mutex::new(scene.now), Mutex::default());
        let reach_of_town = Arc::new(TownReach { node_config, now, posted, random: AtomicU64::new(1 << 20) });
        scene.routes(|routes| {
            routes.registry.rules = ["acme-cards", "other-cards"]
                .map(|name| crate::payment::routing::Rule {
                    processor: ProcessorId::new(name).unwrap(),
                    priority: u16::from(name == "other-cards"),
                    weight: 1,
                    credentials: Vec::new(),
                    currencies: Vec::new(),
                    sites: Vec::new(),
                    least: Vec::new(),
                    greatest: Vec::new(),
                })
                .to_vec();
        });
        let mut town = Town { scene, reach_of_town, actors: BTreeMap::new(), key: 0 };
        for (number, name) in (1..).zip(["acme-cards", "other-cards"]) {
            let id = ProcessorId::new(name).unwrap();
            let (reach, wire) = (town.reach_of_town.clone(), Arc::new(Wire::default()));
            let mut actor = ProcessorActor::new(id.clone(), reach);
            let (connection, outlet) = (ConnectionId(number), wire.clone());
            actor.connect(Connected { connection, outlet, capabilities: capabilities() });
            town.actors.insert(id, (actor, wire));
        }
        town.pump();
        town.scene.hello("AMS-0007", Vec::new());
        town
    }

    /// Operations to the actors, and what they post to the shard, until nothing more happens.
    fn pump(&mut self) {
        loop {
            let operations = std::mem::take(&mut self.scene.operations);
            let posted = self.reach_of_town.posted.lock().unwrap().pop_front();
            if operations.is_empty() && posted.is_none() {
                return;
            }
            for operation in operations {
                self.actors.get_mut(&operation.processor).expect("a known processor").0.dispatch(operation);
            }
            if let Some(input) = posted {
                self.scene.take(input);
            }
        }
    }

    fn pass(&mut self, seconds: i64) {
        self.scene.pass(seconds);
        *self.reach_of_town.now.lock().unwrap() = self.scene.now;
        for (actor, _) in self.actors.values_mut() {
            actor.sweep();
        }
        self.pump();
    }

    /// Another driver.
    fn start(&mut self) {
        self.key += 1;
        let token = format!("tok_{}", self.key);
        self.scene.received();
        self.scene.start(self.key, CredentialKind::CardToken, &token);
        self.pump();
    }

    /// Operations that this processor got since the last call.
    fn asked(&self, id: &ProcessorId) -> Vec<Operation> {
        std::mem::take(&mut *self.actors[id].1.0.lock().unwrap())
    }

    fn answer_with(&mut self, operation: &Operation, outcome: Outcome) {
        let callback = CallbackId(self.scene.next_callback);
        self.scene.next_callback += 1;
        let connection = ConnectionId(if operation.processor == acme() { 1 } else { 2 });
        let answer = Answer { callback, operation: operation.id, hold: operation.hold, outcome };
        let callbacks = vec![Callback::Answer(answer)];
        let (actor, _) = self.actors.get_mut(&operation.processor).expect("a known processor");
        actor.on_callbacks(Callbacks { connection, callbacks });
        self.pump();
    }

    fn approves(&mut self, operation: &Operation) {
        let amount = match operation.request {
            Request::Authorize { amount, .. } | Request::Capture { amount, .. } => amount,
            _ => Amount::zero(Currency::EUR),
        };
        let processor_ref = ProcessorRef("auth".into());
        self.answer_with(operation, Outcome::Approved { amount, processor_ref, expires_at: None });
    }

    /// The driver leaves without energy, and the hold is released.
    fn leaves(&mut self, id: &ProcessorId) {
        self.scene.stop(self.key, 1, 0);
        self.pump();
        for operation in self.asked(id) {
            self.approves(&operation);
        }
    }

    fn breaker_is_open(&self) -> bool {
        self.actors[&acme()].0.open_breakers().contains(&OperationKind::Authorize)
    }
}

#[test]
fn an_outage_opens_the_breaker_drivers_are_served_elsewhere_and_a_probe_closes_it() {
    let mut town = Town::new();
    let other = ProcessorId::new("other-cards").unwrap();
    // Well, at first.
    town.start();
    let asked = town.asked(&acme());
    assert_eq!((asked.len(), town.asked(&other).len()), (1, 0));
    town.approves(&asked[0]);
    assert!(matches!(town.scene.received().as_slice(), [ToCharger::StartAccepted { .. }]));
    town.leaves(&acme());

    // It fails: each driver's request goes elsewhere after its technical refusal, and after five in a row it gets no
    // more.
    for number in 1..=5 {
        town.start();
        let asked = town.asked(&acme());
        assert_eq!(asked.len(), 1, "driver {number} is asked there first");
        let decline = Decline { class: DeclineClass::Technical, code: "91".into(), retry_after: None };
        town.answer_with(&asked[0], Outcome::Declined(decline));
        let elsewhere = town.asked(&other);
        assert_eq!(elsewhere.len(), 1, "and then at the other");
        town.approves(&elsewhere[0]);
        assert!(
            matches!(town.scene.received().as_slice(), [ToCharger::StartAccepted { .. }]),
            "driver {number} charges"
        );
        town.leaves(&other);
    }
    assert!(town.breaker_is_open());
    town.start();
    assert_eq!(town.asked(&acme()), [], "no driver is the probe");
    let elsewhere = town.asked(&other);
    assert!(matches!(elsewhere.as_slice(), [Operation { request: Request::Authorize { .. }, .. }]), "at once");
    town.approves(&elsewhere[0]);
    town.leaves(&other);

    // After a pause it gets a probe, and without an answer the breaker stays open for longer.
    town.pass(6);
    let probe = town.asked(&acme());
    assert!(matches!(probe.as_slice(), [Operation { request: Request::Inquire { .. }, .. }]), "{probe:?}");
    town.pass(11);
    assert!(town.breaker_is_open(), "silent");
    town.pass(1);
    assert_eq!(town.asked(&acme()), [], "the pause is longer by now");
    town.pass(11);
    let probe = town.asked(&acme());
    assert_eq!(probe.len(), 1, "{probe:?}");
    town.answer_with(&probe[0], Outcome::NotFound);
    assert!(!town.breaker_is_open());
    town.start();
    let asked = town.asked(&acme());
    assert!(matches!(asked.as_slice(), [Operation { request: Request::Authorize { .. }, .. }]), "asked again");
    assert_eq!(town.asked(&other).len(), 0);
}
