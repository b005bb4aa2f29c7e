//! Runs a simulated processor: it connects several times, answers at the due times, and repeats until acknowledged.
//!
//! All connections share one queue of actions, and an answer is sent on any free one: answers due on a broken
//! connection are sent on the next one. Delays from [`Processor::decide`] are real time.

mod connection;

use self::connection::Line;
use super::memory::{Input, Memory, MemoryError};
use super::{Act, BooksReport, Processor, Settings, Step};
use crate::message::{Code, FromProcessor, ProcessorHello, ToProcessor};
use crate::payment::{CallbackId, Notification};
use crate::sim::backoff::Backoff;
use crate::sim::pace::Pace;
use crate::sim::pipe::{Dialler, Pipe, PipeEvent};
use crate::units::rng::Rng;
use crate::units::{ProcessorId, TimeSpan};
use crate::wire::{LinkError, MacKey, ProcessorClientLink, SendError};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How a simulated processor is connected.
pub struct Lines {
    /// How to connect as the processor.
    pub dialler: Dialler,
    /// How many connections are held.
    pub connections: u32,
    /// The key that the gate has for this processor, if there is one.
    pub mac: Option<MacKey>,
}

/// What a processor did and how its connections fared.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceReport {
    /// Its books.
    #[serde(flatten)]
    pub books: BooksReport,
    /// Number of `HelloAck`s, on all connections.
    pub greetings: u64,
    /// Connections that are open and greeted.
    pub connections_open: u32,
    /// Attempts to connect.
    pub dials: u64,
    /// Attempts that failed.
    pub dials_failed: u64,
    /// Connections that broke or were closed.
    pub disconnects: u64,
    /// Callbacks that the gate acknowledged.
    pub callbacks_acked: u64,
    /// Callbacks that it refused, by code.
    pub callbacks_refused: BTreeMap<u16, u64>,
    /// Callbacks that wait to be sent or acknowledged.
    pub callbacks_pending: usize,
    /// Why the last connection or attempt failed.
    pub last_error: Option<String>,
}

/// A running processor. Dropping it lets its tasks end.
pub struct Service {
    outbox: Arc<Outbox>,
    order: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// What all connections share.
struct Outbox {
    state: Mutex<State>,
    /// Wakes other connections after an action was queued.
    news: Notify,
    id: ProcessorId,
    pace: Pace,
}

struct State {
    processor: Processor,
    /// Where it writes down what came in, if it does.
    memory: Option<Memory>,
    /// Its store failed: it sends nothing more.
    dead: bool,
    /// Actions with their time, in order of time and then of decision; `Close` only on the connection it names.
    events: BTreeMap<(Instant, u64), (u64, Act)>,
    next_number: u64,
    greetings: u64,
    open: u32,
    dials: u64,
    dials_failed: u64,
    disconnects: u64,
    acked: u64,
    refused: BTreeMap<u16, u64>,
    unacked: usize,
    last_error: Option<String>,
}

const BACKLOG_MAX: usize = 64 * 1_024;
const DIAL_AGAIN_FIRST: Duration = Duration::from_millis(50);
const DIAL_AGAIN_MOST: Duration = Duration::from_secs(2);
const DIAL_TIMEOUT: Duration = Duration::from_secs(20);
/// A callback that is not acknowledged for this long is sent again.
const REPEATED_AFTER: Duration = Duration::from_secs(15);
/// Interval at which an idle connection checks the queue.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl Service {
    /// Starts the processor on the current runtime.
    pub fn start(settings: Settings, lines: &Lines, pace: &Pace) -> Service {
        Service::run(Processor::new(settings, pace.now().wall), None, lines, pace)
    }

    /// The same with books that are stored in this file: this process sends the messages that an earlier one left
    /// unsent.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn start_remembering(
        settings: Settings,
        lines: &Lines,
        pace: &Pace,
        path: &Path,
    ) -> Result<Service, MemoryError> {
        let (memory, processor) = Memory::open(path, settings, pace.now().wall)?;
        Ok(Service::run(processor, Some(memory), lines, pace))
    }

    fn run(processor: Processor, memory: Option<Memory>, lines: &Lines, pace: &Pace) -> Service {
        let (order, orders) = watch::channel(true);
        let seed = processor.settings().seed;
        let id = processor.settings().id.clone();
        let unfinished = memory.as_ref().map(Memory::unfinished).unwrap_or_default();
        let mut state = State {
            processor,
            memory,
            dead: false,
            events: BTreeMap::new(),
            next_number: 0,
            greetings: 0,
            open: 0,
            dials: 0,
            dials_failed: 0,
            disconnects: 0,
            acked: 0,
            refused: BTreeMap::new(),
            unacked: 0,
            last_error: None,
        };
        for act in unfinished {
            state.put(Instant::now(), 0, act);
        }
        let outbox = Arc::new(Outbox { state: Mutex::new(state), news: Notify::new(), id, pace: pace.clone() });
        let tasks = (1..=u64::from(lines.connections.max(1)))
            .map(|number| {
                let line = Line {
                    outbox: Arc::clone(&outbox),
                    number,
                    dialler: Arc::clone(&lines.dialler),
                    mac: lines.mac.clone(),
                    ready: VecDeque::new(),
                    unacked: BTreeMap::new(),
                    window: None,
                    orders: orders.clone(),
                };
                tokio::spawn(line.run(Rng::of(seed, u128::from(number) | 1 << 100)))
            })
            .collect();
        Service { outbox, order, tasks }
    }

    /// Its books and connections; `every_hold` lists the holds.
    pub fn report(&self, every_hold: bool) -> ServiceReport {
        let state = self.outbox.lock();
        let waiting = state
            .events
            .values()
            .filter(|(_, act)| matches!(act, Act::Answer(_) | Act::Notify(_) | Act::Settle(_)))
            .count();
        ServiceReport {
            books: state.processor.report(every_hold),
            greetings: state.greetings,
            connections_open: state.open,
            dials: state.dials,
            dials_failed: state.dials_failed,
            disconnects: state.disconnects,
            callbacks_acked: state.acked,
            callbacks_refused: state.refused.clone(),
            callbacks_pending: waiting + state.unacked,
            last_error: state.last_error.clone(),
        }
    }

    /// Sends a settlement batch of what moved since the last one; how many operations it settles.
    pub fn settle(&self) -> usize {
        let mut state = self.outbox.lock();
        let now = self.outbox.pace.now().wall;
        let parts = state.processor.settle(now);
        let lines = parts.iter().map(|part| part.lines.len()).sum();
        let steps: Vec<Step> =
            parts.into_iter().map(|part| Step { after: TimeSpan::ZERO, act: Act::Settle(part) }).collect();
        state.note(&Input::Settled(now), &steps);
        state.sync();
        for step in steps {
            state.put(Instant::now(), 0, step.act);
        }
        drop(state);
        self.outbox.news.notify_waiters();
        lines
    }

    /// From now on it does not misbehave.
    pub fn behave(&self) {
        self.outbox.lock().processor.behave();
    }

    /// Whether no message is pending: every answer was sent and acknowledged.
    pub fn is_idle(&self) -> bool {
        let state = self.outbox.lock();
        state.events.is_empty() && state.unacked == 0
    }

    /// Stops at once and gives the final report.
    pub async fn stop(mut self, every_hold: bool) -> ServiceReport {
        self.order.send_replace(false);
        for task in std::mem::take(&mut self.tasks) {
            // A task that panicked leaves the books as they were.
            let _ = task.await;
        }
        self.report(every_hold)
    }
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether other connections have to be woken: an action may be due before their next check.
    fn schedule(&self, state: &mut State, line: u64, steps: Vec<Step>, ready: &mut VecDeque<FromProcessor>) {
        for step in steps {
            match (step.after.ms(), step.act) {
                (0, Act::Answer(answer)) => ready.push_back(FromProcessor::Answer(answer)),
                (0, Act::Settle(part)) => ready.push_back(FromProcessor::Settlement(part)),
                (0, Act::Notify(notification)) => ready.push_back(FromProcessor::Notification(notification)),
                (ms, act) => {
                    let at = Instant::now() + Duration::from_millis(u64::try_from(ms).unwrap_or(0));
                    state.put(at, line, act);
                }
            }
        }
    }
}

impl State {
    /// Stores an input with the messages that follow from it.
    fn note(&mut self, input: &Input, steps: &[Step]) {
        if let Some(memory) = &mut self.memory {
            memory.note(input);
            memory.promise(steps);
        }
    }

    /// An acknowledged message needs no repetition. Answers are not stored: the gate requests missing ones again.
    fn note_over(&mut self, callback: CallbackId, message: &FromProcessor) {
        if matches!(message, FromProcessor::Notification(_) | FromProcessor::Settlement(_)) {
            self.note(&Input::Acknowledged(callback), &[]);
        }
    }

    /// Makes it durable, before anything that follows from it can leave.
    fn sync(&mut self) {
        let Some(memory) = &mut self.memory else { return };
        if let Err(error) = memory.sync(&self.processor) {
            self.dead = true;
            self.last_error = Some(error.to_string());
        }
    }

    fn put(&mut self, at: Instant, line: u64, act: Act) {
        self.next_number += 1;
        self.events.insert((at, self.next_number), (line, act));
    }
}

impl Settings {
    /// Answers faster by this factor: for accelerated clocks.
    pub fn faster(mut self, factor: u32) -> Settings {
        let factor = i64::from(factor.max(1));
        self.latency.median = TimeSpan::from_ms(self.latency.median.ms() / factor);
        self.latency.tail = TimeSpan::from_ms(self.latency.tail.ms() / factor);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{PeerIdentity, ProcessorHelloAck, Subject, Terms};
    use crate::payment::{Credential, CredentialKind, Operation, Outcome, ProcessorRef, Request};
    use crate::sim::pipe::{Dialling, Duplex};
    use crate::sim::processor::{Latency, Violations};
    use crate::units::{Amount, Currency, HoldId, OpId, PartitionId, SessionId, Timestamp};
    use crate::wire::ProcessorLink;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// A gate that authorizes and captures, repeats unanswered operations when a processor connects, and cuts the
    /// connection after some answers.
    struct FakeGate {
        open: Mutex<BTreeMap<OpId, Operation>>,
        approved: Mutex<BTreeMap<OpId, Outcome>>,
        cut_after: u32,
    }

    fn operation(session: u64, ordinal: u16, request: Request) -> Operation {
        let session = SessionId::new(Timestamp::from_unix_ms(0), PartitionId(0), session);
        Operation {
            id: session.payment().operation(ordinal),
            hold: HoldId(session.payment().operation(1)),
            processor: ProcessorId::new("acme").unwrap(),
            attempt: 1,
            possible_duplicate: false,
            decide_by: Pace::new(1).now().wall.saturating_add(TimeSpan::from_secs(8)),
            request,
        }
    }

    fn gate(sessions: u64, cut_after: u32) -> Arc<FakeGate> {
        let authorize = |session| {
            let token: Box<[u8]> = format!("card-{session}").into_bytes().into();
            let credential = Credential { kind: CredentialKind::CardToken, token };
            let amount = Amount::new(4_500, Currency::EUR);
            let operation =
                operation(session, 1, Request::Authorize { credential, amount, partial_ok: false, stand_in: false });
            (operation.id, operation)
        };
        let open = Mutex::new((0..sessions).map(authorize).collect());
        Arc::new(FakeGate { open, approved: Mutex::default(), cut_after })
    }

    impl FakeGate {
        async fn serve(&self, mut stream: DuplexStream) {
            let pace = Pace::new(1);
            let subject = Subject::Processor(ProcessorId::new("acme").unwrap());
            let peer = PeerIdentity { trust_domain: "test".into(), subject };
            let mut link = ProcessorLink::new(&peer, None, pace.now().mono).unwrap();
            let (mut buffer, mut messages, mut answers) = ([0; 512], Vec::new(), 0_u32);
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                let mut out = Vec::new();
                let now = pace.now();
                link.receive(&buffer[..read], now, &mut messages, &mut out).expect("a simulated processor is sane");
                for message in messages.drain(..) {
                    match message {
                        FromProcessor::Hello(_) => {
                            let ack = ProcessorHelloAck { terms: Terms::PROCESSOR, server_time: now.wall };
                            link.send(&ToProcessor::HelloAck(ack), now, &mut out).unwrap();
                            let open: Vec<Operation> = self.open.lock().unwrap().values().cloned().collect();
                            for operation in open {
                                link.send(&ToProcessor::Operation(operation), now, &mut out).unwrap();
                            }
                        }
                        FromProcessor::Answer(answer) => {
                            answers += u32::from(self.open.lock().unwrap().contains_key(&answer.operation));
                            for message in self.answered(answer) {
                                link.send(&message, now, &mut out).unwrap();
                            }
                        }
                        other => panic!("{other:?}"),
                    }
                }
                if (self.cut_after > 0 && answers >= self.cut_after) || stream.write_all(&out).await.is_err() {
                    return;
                }
            }
        }

        fn answered(&self, answer: crate::payment::Answer) -> Vec<ToProcessor> {
            let mut messages = vec![ToProcessor::Ack { callback: answer.callback }];
            let done = self.open.lock().unwrap().remove(&answer.operation);
            if let Some(done) = done
                && matches!(done.request, Request::Authorize { .. })
            {
                let processor_ref = ProcessorRef("sim".into());
                let amount = Amount::new(960, Currency::EUR);
                let id = done.id.payment().operation(2);
                let request = Request::Capture { processor_ref, amount, last: true };
                let capture = Operation { id, request, ..done };
                self.open.lock().unwrap().insert(id, capture.clone());
                messages.push(ToProcessor::Operation(capture));
            }
            self.approved.lock().unwrap().insert(answer.operation, answer.outcome);
            messages
        }
    }

    fn lines(gate: &Arc<FakeGate>, connections: u32) -> Lines {
        let gate = Arc::clone(gate);
        let dialler: Dialler = Arc::new(move || -> Dialling {
            let (near, far) = tokio::io::duplex(2_000);
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { gate.serve(far).await });
            Box::pin(async move { Ok(Box::new(near) as Box<dyn Duplex>) })
        });
        Lines { dialler, connections, mac: None }
    }

    async fn run(gate: &Arc<FakeGate>, settings: Settings, connections: u32) -> ServiceReport {
        let service = Service::start(settings, &lines(gate, connections), &Pace::new(1));
        while !gate.open.lock().unwrap().is_empty() || !service.is_idle() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        service.stop(false).await
    }

    #[tokio::test]
    async fn every_hold_is_captured_over_several_connections() {
        let gate = gate(50, 0);
        let report = run(&gate, Settings::instant(ProcessorId::new("acme").unwrap()), 3).await;
        assert_eq!(report.books.holds, BTreeMap::from([("captured", 50)]));
        assert_eq!(report.books.totals["EUR"].captured_minor, 50 * 960);
        assert_eq!(report.books.violations, Violations::default());
        assert_eq!((report.dials, report.disconnects), (3, 0));
    }

    #[tokio::test]
    async fn broken_connections_change_no_money() {
        let gate = gate(30, 7);
        let mut settings = Settings::new(ProcessorId::new("acme").unwrap(), 4);
        settings.latency = Latency { median: TimeSpan::from_ms(3), tail: TimeSpan::from_ms(10) };
        let report = run(&gate, settings, 2).await;
        assert_eq!(report.books.holds, BTreeMap::from([("captured", 30)]));
        assert_eq!(report.books.violations, Violations::default());
        assert!(report.disconnects >= 5, "{} disconnects", report.disconnects);
        assert!(gate.approved.lock().unwrap().values().all(|outcome| matches!(outcome, Outcome::Approved { .. })));
    }
}
