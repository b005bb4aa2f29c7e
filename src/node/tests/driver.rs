//! The driver of a shard on ports that only note what leaves.

use super::*;
use crate::journal::Batch;
use crate::limits;
use crate::message::Received;
use crate::node::archiver::ToArchive;
use crate::node::driver::{Driver, ReadBatch};
use crate::node::input::MoneyOrder;
use crate::node::log_figures::LogFigures;
use crate::node::ports::Ports;
use crate::node::query::{self, Query, SessionsNamed};
use crate::node::reply::Reply;
use crate::node::snapshot::Taken;
use crate::session::Session;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What left, in order.
struct Noted {
    instant: Instant,
    figures: LogFigures,
    batches: VecDeque<Batch>,
    sent: Vec<ToCharger>,
    read_on: usize,
    operations: Vec<Operation>,
    /// Answers about sessions: to whom, and how many there are.
    answers: Vec<(u64, usize)>,
    /// How long after they came readings were durable, and how many.
    durable: Vec<(u64, Duration)>,
    /// What the archiver took; none: there is no archive.
    archive: Option<Vec<Session>>,
    /// Whether the archiver has no room.
    archive_full: bool,
}

impl Ports for Noted {
    fn instant(&self) -> Instant {
        self.instant
    }

    fn log(&self) -> &LogFigures {
        &self.figures
    }

    fn append(&mut self, batch: Batch) -> bool {
        self.batches.push_back(batch);
        true
    }

    fn send(&mut self, _: Link, message: &ToCharger) {
        self.sent.push(message.clone());
    }

    fn close(&mut self, _: Link, _: Code) {}

    fn read_on(&mut self, _: ConnectionId) {
        self.read_on += 1;
    }

    fn dispatch(&mut self, operation: Operation) -> bool {
        self.operations.push(operation);
        true
    }

    fn acknowledge(&mut self, _: &ProcessorId, _: CallbackId, _: Option<Code>) {}

    fn post(&mut self, input: Input) -> Result<(), Input> {
        Err(input)
    }

    fn reply(&mut self, to: ReplyTo, reply: Reply) {
        match reply {
            Reply::Answer(query::Answer::SessionsNamed(sessions)) => self.answers.push((to.number, sessions.len())),
            Reply::Ordered(Ordered::Asked(_)) => {}
            reply => unreachable!("{to:?} asked for {reply:?}"),
        }
    }

    fn has_archive(&self) -> bool {
        self.archive.is_some()
    }

    fn archive(&mut self, wanted: ToArchive) -> bool {
        if self.archive_full {
            return false;
        }
        if let (Some(archive), ToArchive::Session { session, .. }) = (&mut self.archive, wanted) {
            archive.push(*session);
        }
        true
    }

    fn batch_whole(&mut self) {}

    fn snapshot(&mut self, _: PartitionId, _: Option<Taken>) {}

    fn durable(&mut self, readings: u64, after: Duration) {
        self.durable.push((readings, after));
    }
}

struct Stage {
    driver: Driver,
    ports: Noted,
    now: Now,
}

impl Stage {
    /// A charger has sent Hello.
    fn new() -> Stage {
        let now = Scene::beginning();
        let store = Box::new(MemoryStore::new(64));
        let (log, recovered) = Log::open(store, &Sequences::new(8), &mut |_| Ok(())).unwrap();
        let instant = Instant::now();
        let ports = Noted {
            instant,
            // Of a bound of 0: full whenever snapshots are under way.
            figures: LogFigures::new(&recovered, &log, 0, instant),
            batches: VecDeque::new(),
            sent: Vec::new(),
            read_on: 0,
            operations: Vec::new(),
            answers: Vec::new(),
            durable: Vec::new(),
            archive: None,
            archive_full: false,
        };
        let mut stage = Stage { driver: Driver::new(Shard::new(node_config(), 0, now)), ports, now };
        let hello = ChargerHello {
            numbering: Default::default(),
            charger: ChargerId::new("AMS-0007").unwrap(),
            connectors: vec![ConnectorInfo { id: ConnectorId(1), power_max: Power::from_watts(22_000).unwrap() }],
            firmware: "1.0".into(),
            clock: now.wall,
            sessions: Vec::new(),
        };
        stage.reads(vec![FromCharger::Hello(hello)]);
        stage.commits();
        assert!(matches!(stage.ports.sent.as_slice(), [ToCharger::HelloAck(_)]));
        stage.ports.sent.clear();
        stage
    }

    fn reads(&mut self, messages: Vec<FromCharger>) {
        let received = |message| Received { channel: Channel::ZERO, message };
        let messages: Vec<_> = messages.into_iter().map(received).collect();
        let (connection, arrived) = (ConnectionId(1), self.ports.instant);
        let batch = ReadBatch { connection, arrived, messages: messages.into_iter() };
        self.driver.read(batch, self.now, &mut self.ports);
    }

    /// Everything that was appended is durable.
    fn commits(&mut self) {
        while let Some(batch) = self.ports.batches.pop_front() {
            self.driver.committed(batch, self.now, &mut self.ports);
        }
    }

    fn waits(&mut self, wait: Duration) {
        self.ports.instant += wait;
        self.driver.tick(self.now, &mut self.ports);
    }

    fn start(&self) -> FromCharger {
        let credential = Credential { kind: CredentialKind::CardToken, token: Box::from(*b"tok_visa") };
        let (session, connector, register) = (SessionKey(1), ConnectorId(1), Energy::ZERO);
        FromCharger::Start(StartSession { session, connector, credential, at: self.now.wall, register })
    }

    fn reading(&self, sequence: u32) -> FromCharger {
        let register = Energy::from_watt_hours(i64::from(sequence) * 10).unwrap();
        let at = self.now.wall.saturating_add(TimeSpan::from_secs(i64::from(sequence)));
        let reading = MeterReading { sequence, at, register, power: None, current: None };
        FromCharger::Reading { session: SessionKey(1), reading }
    }

    /// The processor approves the operation that it was asked for.
    fn approves(&mut self, callback: u128) {
        let operation = self.ports.operations.remove(0);
        let (Request::Authorize { amount, .. } | Request::Capture { amount, .. } | Request::Refund { amount, .. }) =
            operation.request
        else {
            panic!("{operation:?}")
        };
        let outcome = Outcome::Approved { amount, processor_ref: ProcessorRef("auth-1".into()), expires_at: None };
        let answer = Answer { callback: CallbackId(callback), operation: operation.id, hold: operation.hold, outcome };
        self.driver.input(Input::Answer(acme(), Box::new(answer)), self.now, &mut self.ports);
    }

    /// A session charges.
    fn charges(&mut self) {
        let start = self.start();
        self.reads(vec![start]);
        self.commits();
        self.approves(1);
        self.commits();
        assert!(matches!(self.ports.sent.as_slice(), [ToCharger::StartAccepted { .. }]), "{:?}", self.ports.sent);
        self.ports.sent.clear();
    }
}

#[test]
fn nothing_leaves_before_its_records_are_durable_and_acknowledgements_in_a_row_are_one() {
    let mut stage = Stage::new();
    stage.charges();
    let readings = (1..=3).map(|sequence| stage.reading(sequence)).collect();
    stage.now.wall = stage.now.wall.saturating_add(TimeSpan::from_secs(10));
    stage.reads(readings);
    stage.ports.instant += Duration::from_millis(4);
    assert_eq!((stage.ports.sent.len(), stage.ports.durable.len()), (0, 0));
    stage.commits();
    let [ToCharger::MeterAck(ack)] = stage.ports.sent.as_slice() else { panic!("{:?}", stage.ports.sent) };
    assert_eq!(ack.up_to, 3);
    assert_eq!(stage.ports.durable, [(3, Duration::from_millis(4))]);
}

#[test]
fn while_the_log_is_full_batches_wait_and_their_connection_reads_no_further() {
    let mut stage = Stage::new();
    stage.charges();
    let read_on = stage.ports.read_on;
    stage.ports.figures.set_relief(true);
    let reading = stage.reading(1);
    stage.reads(vec![reading]);
    stage.waits(Duration::from_secs(60));
    assert_eq!((stage.driver.waiting(), stage.ports.read_on, stage.ports.batches.len()), (1, read_on, 0));
    stage.ports.figures.set_relief(false);
    stage.waits(Duration::ZERO);
    stage.commits();
    assert_eq!((stage.driver.waiting(), stage.ports.read_on), (0, read_on + 1));
    assert!(matches!(stage.ports.sent.as_slice(), [ToCharger::MeterAck(ack)] if ack.up_to == 1), "however late");
}

#[test]
fn a_start_that_waited_too_long_is_refused_and_begins_nothing() {
    for (wait, refused) in [(Duration::from_millis(2_900), false), (Duration::from_millis(3_100), true)] {
        let mut stage = Stage::new();
        stage.ports.figures.set_relief(true);
        let start = stage.start();
        stage.reads(vec![start]);
        stage.waits(wait);
        stage.ports.figures.set_relief(false);
        stage.waits(Duration::ZERO);
        let busy = matches!(stage.ports.sent.as_slice(), [ToCharger::StartRejected { code: Code::Busy, .. }]);
        assert_eq!((busy, stage.ports.batches.is_empty()), (refused, refused), "{wait:?}");
    }
}

#[test]
fn what_waits_for_the_journal_is_taken_in_its_order() {
    let mut stage = Stage::new();
    stage.charges();
    stage.ports.figures.set_relief(true);
    let [first, second] = [1, 2].map(|sequence| stage.reading(sequence));
    stage.reads(vec![first]);
    stage.reads(vec![second]);
    stage.ports.figures.set_relief(false);
    stage.now.wall = stage.now.wall.saturating_add(TimeSpan::from_secs(10));
    stage.waits(Duration::ZERO);
    stage.commits();
    assert!(
        matches!(stage.ports.sent.as_slice(), [ToCharger::MeterAck(ack)] if ack.up_to == 2),
        "{:?}",
        stage.ports.sent
    );
}

#[test]
fn an_observer_gets_its_answer_when_all_that_it_tells_is_durable() {
    let mut stage = Stage::new();
    let start = stage.start();
    stage.reads(vec![start]);
    let partitions = stage.driver.shard().partitions();
    let id =
        partitions.iter().flat_map(|each| each.sessions.iter()).map(|(_, hosted)| hosted.state().id).next().unwrap();
    let query = Query::from(SessionsNamed(vec![id]));
    let to = |number| ReplyTo { number, ..ReplyTo::NONE };
    stage.driver.ask(&query, to(1), &mut stage.ports);
    assert_eq!(stage.ports.answers, [(1, 1)], "an operator sees what is decided");
    for number in 2..=1 + limits::DURABLE_ANSWERS as u64 {
        stage.driver.ask_durable(&query, to(number), &mut stage.ports);
    }
    stage.driver.ask_durable(&query, to(1_000), &mut stage.ports);
    assert_eq!(stage.ports.answers.len(), 1, "an observer does not");
    stage.commits();
    let answered: Vec<u64> = stage.ports.answers.iter().map(|(number, _)| *number).collect();
    let expected: Vec<u64> = (1..=1 + limits::DURABLE_ANSWERS as u64).collect();
    assert_eq!(answered, expected, "in order, and no more of them wait than may");
    stage.driver.ask_durable(&query, to(2_000), &mut stage.ports);
    assert_eq!(stage.ports.answers.last(), Some(&(2_000, 1)), "at once, when nothing is under way");
}

#[test]
fn the_archive_gets_no_change_that_the_log_may_still_lose() {
    let mut stage = Stage::new();
    stage.ports.archive = Some(Vec::new());
    stage.charges();
    stage.now.wall = stage.now.wall.saturating_add(TimeSpan::from_secs(60));
    let register = Energy::from_watt_hours(300).unwrap();
    let last = MeterReading { sequence: 1, at: stage.now.wall, register, power: None, current: None };
    stage.reads(vec![FromCharger::Stop { session: SessionKey(1), last, reason: StopReason::Local }]);
    stage.commits();
    let capture = stage.ports.operations[0].id.payment();
    // The archiver has no room when the session is closed, and has some when an operator gives a part of it back.
    stage.ports.archive_full = true;
    stage.approves(2);
    stage.commits();
    stage.ports.archive_full = false;
    let refund = MoneyOrder::RefundTo(Amount::new(1, Currency::EUR));
    stage.driver.input(Input::OrderMoney(capture, refund, OPERATOR), stage.now, &mut stage.ports);
    assert!(!stage.ports.batches.is_empty(), "the refund is not durable");
    stage.waits(Duration::from_secs(1));
    assert_eq!(stage.ports.archive.as_ref().unwrap().len(), 0);
    stage.commits();
    stage.approves(3);
    stage.commits();
    stage.waits(Duration::from_secs(1));
    let live = stage.driver.shard().session(capture.session()).expect("the archive has not confirmed it");
    assert_eq!(stage.ports.archive.as_ref().unwrap().last(), Some(live.state()), "with its refund");
}
