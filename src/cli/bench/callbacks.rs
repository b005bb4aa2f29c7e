//! `wattstile bench callbacks`: how many operations per second go through a processor's callback connection.
//!
//! A whole gate with its log on disk, and one connection over mutual TLS to a processor that approves everything at
//! once, on a thread of its own. The load is top-ups by card: an authorization, then its capture, then the next one.
//! An operation counts from the moment in which it is ordered (a capture: in which the authorization before it is
//! answered) to the acknowledgement of its answer: it was durable before it left the gate, and its outcome before
//! that acknowledgement.

use super::super::own_gate::{OwnGate, Wishes};
use super::super::{CliError, Exit, Output};
use crate::account;
use crate::actors::directory::Directory;
use crate::actors::reply_table::Asker;
use crate::limits::PROCESSOR_WINDOW;
use crate::message::{FromProcessor, ProcessorHello, ToProcessor};
use crate::node::input::Input;
use crate::node::reply::Ordered;
use crate::node::topping_up::TopUpOrder;
use crate::payment::{
    Answer, CallbackId, Credential, CredentialKind, Operation, OperationKind, Outcome, ProcessorRef, Request,
};
use crate::session::Policy;
use crate::sim::pace::Pace;
use crate::sim::pipe::{Dialler, Pipe, PipeEvent};
use crate::sim::processor::Settings;
use crate::tariff::Tariff;
use crate::units::{AccountId, Amount, Currency, OpId, PartitionId, PaymentId, ProcessorId};
use crate::wire::ProcessorClientLink;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Measure how many operations per second go through a processor's callback connection, all durable
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  wattstile bench callbacks --in-flight 1,64,4096 --for 5s --json")]
pub struct Args {
    #[command(flatten)]
    page: super::Page,
    /// Operations that are under way at once; measured one after the other
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,64,4096",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(PROCESSOR_WINDOW)))]
    in_flight: Vec<u32>,
    /// How long each is measured
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Threads that run the gate's partitions
    #[arg(long, value_name = "N", default_value_t = super::default_shards(), value_parser = clap::value_parser!(u16).range(1..=256))]
    shards: u16,
    /// Keep the gate's data in this directory (new or empty); without it a temporary one is used and removed
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    runs: Vec<Run>,
}

/// What one number of operations in flight came to.
#[derive(Debug, Serialize)]
struct Run {
    in_flight: u32,
    /// Operations whose outcome was acknowledged, and so durable.
    operations: u64,
    operations_per_s: u64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
    /// Orders that were refused, operations that came again, answers that were refused: 0, or the figures mean nothing.
    amiss: u64,
    /// Group commits of the log.
    commits: u64,
}

const PARTITIONS: u16 = 64;
const ACCOUNTS: usize = 4_096;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let mut gate = OwnGate::start(Wishes {
        name: "wattstile-bench-callbacks",
        tariff: Tariff::parse(super::TARIFF).map_err(CliError::failed)?.tariff,
        zone: "Europe/Amsterdam".to_owned(),
        policy: Policy::default(),
        shards: args.shards,
        partitions: PARTITIONS,
        rules: Vec::new(),
        data: args.data,
        is_reported: false,
    })?;
    let id = ProcessorId::new("null-cards").map_err(CliError::failed)?;
    let dialler = gate.processor(&id)?;
    let directory = Arc::clone(gate.gate().directory());
    let accounts = open_accounts(&directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::failed)?;
    let measured = runtime.block_on(async {
        let mut bench = Bench::dial(id, dialler, directory, accounts).await?;
        let mut runs = Vec::new();
        for in_flight in &args.in_flight {
            output.inform(format_args!("{in_flight} in flight for {}", humantime::format_duration(args.duration)));
            gate.gate().take_commits();
            let mut run = bench.run(*in_flight, args.duration).await?;
            run.commits = gate.gate().take_commits().len();
            runs.push(run);
        }
        Ok::<_, CliError>(runs)
    });
    gate.stop();
    let report = Report { runs: measured? };
    args.page.write("wattstile bench callbacks", &report)?;
    output.answer("bench-callbacks/1", &report, |out| text_of(&report, out))?;
    Ok(if report.runs.iter().all(|run| run.amiss == 0) { Exit::Ok } else { Exit::Failed })
}

/// Prepaid accounts for the top-ups, opened and durable.
fn open_accounts(directory: &Directory) -> Result<Vec<AccountId>, CliError> {
    let ids: Result<Vec<AccountId>, _> =
        (0..ACCOUNTS).map(|number| AccountId::new(&format!("driver-{number}"))).collect();
    let ids = ids.map_err(CliError::failed)?;
    let mut askers: Vec<Asker<Ordered>> = Vec::with_capacity(ids.len());
    for (number, account) in (1..).zip(&ids) {
        let partition = PartitionId::of(account.as_str(), PARTITIONS);
        let op = OpId::new(Default::default(), partition, number);
        let credit_limit = Amount::zero(Currency::EUR);
        let command = account::Command::Open { op, account: account.clone(), currency: Currency::EUR, credit_limit };
        let asker = directory.replies().asker(TIMEOUT).map_err(CliError::failed)?;
        let mut input = Input::Order(account.clone(), Box::new(command), asker.to());
        while let Err(back) = directory.post(input) {
            input = back.input;
            std::thread::sleep(Duration::from_millis(1));
        }
        askers.push(asker);
    }
    let opened = askers.into_iter().filter_map(|asker| asker.wait().ok());
    let opened = opened.filter(|ordered| matches!(ordered, Ordered::Done(_))).count();
    if opened == ids.len() {
        Ok(ids)
    } else {
        Err(CliError::failed(format!("{opened} of {} accounts were opened", ids.len())))
    }
}

/// How often the replies to orders are read.
const POLL: Duration = Duration::from_millis(100);

/// How long the reply to an order is waited for: longer than a run.
const ORDERED_WITHIN: Duration = Duration::from_secs(3_600);

/// A top-up under way, with one operation outstanding.
struct Slot {
    account: usize,
    since: Instant,
    asker: Asker<Ordered>,
}

impl Slot {
    /// Whether its order was not carried out.
    fn is_refused(&self) -> bool {
        self.asker.poll().is_some_and(|ordered| !matches!(ordered, Ordered::Done(_)))
    }
}

/// An answer that was sent and is not acknowledged yet.
struct Answered {
    payment: PaymentId,
    since: Instant,
    last: bool,
}

/// The processor at its end of the connection; it also orders the top-ups, so that no lock stands between the two.
struct Bench {
    link: ProcessorClientLink,
    pipe: Pipe,
    pace: Pace,
    directory: Arc<Directory>,
    accounts: Vec<AccountId>,
    /// When the replies to orders were last read.
    polled: Instant,
    slots: HashMap<PaymentId, Slot>,
    answered: HashMap<CallbackId, Answered>,
    /// Orders that a full mailbox did not take.
    waiting: Vec<Input>,
    /// Numbers of top-ups and of callbacks.
    numbers: u64,
    amiss: u64,
}

impl Bench {
    async fn dial(
        id: ProcessorId,
        dialler: Dialler,
        directory: Arc<Directory>,
        accounts: Vec<AccountId>,
    ) -> Result<Bench, CliError> {
        let pace = Pace::new(1);
        let pipe = Pipe::new(dialler.dial().await.map_err(CliError::failed)?);
        let link = ProcessorClientLink::new(id.clone(), None, pace.now().mono);
        let mut bench = Bench {
            link,
            pipe,
            pace,
            directory,
            accounts,
            polled: Instant::now(),
            slots: HashMap::new(),
            answered: HashMap::new(),
            waiting: Vec::new(),
            numbers: ACCOUNTS as u64,
            amiss: 0,
        };
        let capabilities = Settings::instant(id.clone()).capabilities;
        let now = bench.pace.now();
        let hello = ProcessorHello { processor: id.clone(), instance: "bench".into(), capabilities, clock: now.wall };
        bench.link.send(&FromProcessor::Hello(hello), now.mono, bench.pipe.out()).map_err(CliError::failed)?;
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let greeted = bench.turn().await?.iter().any(|message| matches!(message, ToProcessor::HelloAck(_)));
            if greeted {
                break;
            }
            if Instant::now() > deadline {
                return Err(CliError::failed("the gate did not say hello in time"));
            }
        }
        // The processor's actor lists it a moment after the `Hello`.
        while bench.directory.node_config().routing.routes().registry.processors.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(bench)
    }

    /// Sends what there is to send, and gives what came.
    async fn turn(&mut self) -> Result<Vec<ToProcessor>, CliError> {
        let (mut messages, mut reply) = (Vec::new(), Vec::new());
        match self.pipe.turn(tokio::time::Instant::now() + Duration::from_millis(20)).await.map_err(CliError::failed)? {
            PipeEvent::Bytes(bytes) => {
                self.link.receive(bytes, self.pace.now(), &mut messages, &mut reply).map_err(CliError::failed)?;
            }
            PipeEvent::Sent => {}
            PipeEvent::Time => {
                let now = self.pace.now().mono;
                if self.link.next_deadline().is_some_and(|at| at <= now) {
                    self.link.on_deadline(now, self.pipe.out()).map_err(CliError::failed)?;
                }
            }
        }
        self.pipe.out().append(&mut reply);
        Ok(messages)
    }

    async fn run(&mut self, in_flight: u32, duration: Duration) -> Result<Run, CliError> {
        let mut latency =
            Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).expect("bounds that a histogram can have");
        let amiss = self.amiss;
        let begun = Instant::now();
        for number in 0..in_flight as usize {
            self.order(number % self.accounts.len())?;
        }
        while !self.slots.is_empty() {
            for message in self.turn().await? {
                match message {
                    ToProcessor::Operation(operation) => self.answer(&operation)?,
                    ToProcessor::Ack { callback } => {
                        let Some(answered) = self.answered.remove(&callback) else { continue };
                        let took = u64::try_from(answered.since.elapsed().as_micros()).unwrap_or(u64::MAX);
                        latency.saturating_record(took);
                        if answered.last
                            && let Some(slot) = self.slots.remove(&answered.payment)
                            && begun.elapsed() < duration
                        {
                            self.order(slot.account)?;
                        }
                    }
                    ToProcessor::Nack { .. } => self.amiss += 1,
                    ToProcessor::HelloAck(_) | ToProcessor::Drain(_) | ToProcessor::GoAway(_) => {}
                }
            }
            for input in std::mem::take(&mut self.waiting) {
                self.post(input);
            }
            if self.polled.elapsed() > POLL {
                self.polled = Instant::now();
                self.amiss += self.slots.values().filter(|slot| slot.is_refused()).count() as u64;
            }
            if begun.elapsed() > duration + TIMEOUT || self.amiss > amiss {
                self.slots.clear();
            }
        }
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        Ok(Run {
            in_flight,
            operations: latency.len(),
            operations_per_s: latency.len() * 1_000 / ms,
            p50_us: latency.value_at_quantile(0.5),
            p99_us: latency.value_at_quantile(0.99),
            max_us: latency.max(),
            amiss: self.amiss - amiss,
            commits: 0,
        })
    }

    /// Orders a top-up of one euro.
    fn order(&mut self, account: usize) -> Result<(), CliError> {
        self.numbers += 1;
        let partition = PartitionId::of(self.accounts[account].as_str(), PARTITIONS);
        let id = PaymentId::new(self.pace.now().wall, partition, self.numbers);
        let asker = self.directory.replies().asker(ORDERED_WITHIN).map_err(CliError::failed)?;
        let reply = asker.to();
        self.slots.insert(id, Slot { account, since: Instant::now(), asker });
        let order = TopUpOrder {
            id,
            account: self.accounts[account].clone(),
            amount: Amount::new(100, Currency::EUR),
            credential: Credential { kind: CredentialKind::CardToken, token: Box::from(*b"tok_bench") },
        };
        self.post(Input::TopUp(Box::new(order), reply));
        Ok(())
    }

    fn post(&mut self, input: Input) {
        if let Err(back) = self.directory.post(input) {
            self.waiting.push(back.input);
        }
    }

    /// Approves every request.
    fn answer(&mut self, operation: &Operation) -> Result<(), CliError> {
        let payment = operation.id.payment();
        let amount = match (&operation.request, self.slots.contains_key(&payment)) {
            (Request::Authorize { amount, .. } | Request::Capture { amount, .. }, true) => *amount,
            // Nothing else belongs to a run in which everything is approved at once.
            _ => {
                self.amiss += 1;
                Amount::zero(Currency::EUR)
            }
        };
        self.amiss += u64::from(operation.attempt > 1);
        self.numbers += 1;
        let callback = CallbackId(u128::from(self.numbers));
        let processor_ref = ProcessorRef(format!("auth-{}", self.numbers).into());
        let outcome = Outcome::Approved { amount, processor_ref, expires_at: None };
        let answer = Answer { callback, operation: operation.id, hold: operation.hold, outcome };
        let now = Instant::now();
        if let Some(slot) = self.slots.get_mut(&payment) {
            let last = operation.request.kind() == OperationKind::Capture;
            let since = std::mem::replace(&mut slot.since, now);
            self.answered.insert(callback, Answered { payment, since, last });
        }
        let mono = self.pace.now().mono;
        self.link.send(&FromProcessor::Answer(answer), mono, self.pipe.out()).map_err(CliError::failed)
    }
}

fn text_of(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for run in &report.runs {
        writeln!(
            out,
            "{:>6} in flight  {:>8} operations/s durable  p50 {} µs  p99 {} µs  max {} µs  {} commits",
            run.in_flight, run.operations_per_s, run.p50_us, run.p99_us, run.max_us, run.commits
        )?;
    }
    Ok(())
}
