//! `wattstile bench prepaid`: how many operations per second prepaid accounts decide, each durable before it is answered.
//!
//! A shard with its accounts on this thread, the log on sled on another one, as in a gate; no connections. Each session has
//! one operation outstanding: an authorization, then its release, then the next session's authorization.

use super::super::{CliError, Exit, Output};
use crate::account;
use crate::account::account_processor;
use crate::host::SystemClock;
use crate::journal::{Batch, DataDir, Layout, Log, Sequences, SledStore};
use crate::message::Code;
use crate::node::credential_links::LocalCredentialLinks;
use crate::node::credentials::Credentials;
use crate::node::input::Input;
use crate::node::node_config::NodeConfig;
use crate::node::offline_authorizations::LocalOfflineAuthorizations;
use crate::node::output::Output as Left;
use crate::node::reply::ReplyTo;
use crate::node::routing::LocalProcessorRegistry;
use crate::node::shard::Shard;
use crate::node::tariff_assignment::TariffAssignments;
use crate::node::tariff_assignment::{TariffAssignment, TariffResolver};
use crate::payment::vault::Keyring;
use crate::payment::{Credential, CredentialKind, Operation, Request, VoidReason};
use crate::session::Policy;
use crate::units::{
    AccountId, Amount, ChargerId, Clock, ConnectorId, Currency, HoldId, PartitionId, PaymentId, TimeSpan, Timestamp,
};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Measure how many operations prepaid accounts decide, each durable before it is answered
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  wattstile bench prepaid --in-flight 1,64,4096 --for 5s --json")]
pub struct Args {
    #[command(flatten)]
    page: super::Page,
    /// Sessions with one operation outstanding each; measured one after the other
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,64,4096")]
    in_flight: Vec<u32>,
    /// How long each is measured
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Accounts
    #[arg(long, value_name = "N", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..))]
    accounts: u32,
    /// Keep the data in this directory (new or empty); without it a temporary one is used and removed
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    accounts: u32,
    runs: Vec<Run>,
}

/// What one number of sessions in flight came to.
#[derive(Debug, Serialize)]
struct Run {
    in_flight: u32,
    /// Operations that were answered, each durable before.
    operations: u64,
    operations_per_s: u64,
    /// Of these, authorizations.
    authorizations_per_s: u64,
    /// Operations that were refused; 0, or the figures mean nothing.
    refused: u64,
    p50_us: u64,
    p99_us: u64,
    commits: u64,
}

const PARTITIONS: u16 = 64;

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: &Args, output: &Output) -> Result<Exit, CliError> {
    let temporary = args.data.is_none();
    let name = format!("wattstile-bench-prepaid-{}", std::process::id());
    let data = args.data.clone().unwrap_or_else(|| std::env::temp_dir().join(name));
    let measured = measure(args, &data, output);
    if temporary {
        let _ = std::fs::remove_dir_all(&data);
    }
    let report = Report { accounts: args.accounts, runs: measured? };
    args.page.write("wattstile bench prepaid", &report)?;
    output.answer("bench-prepaid/1", &report, |out| text_of(&report, out))?;
    Ok(if report.runs.iter().all(|run| run.refused == 0) { Exit::Ok } else { Exit::Failed })
}

fn measure(args: &Args, data: &Path, output: &Output) -> Result<Vec<Run>, CliError> {
    let mut bench = Bench::open(args, data)?;
    let mut runs = Vec::new();
    for in_flight in &args.in_flight {
        output.inform(format_args!("{in_flight} in flight for {}", humantime::format_duration(args.duration)));
        runs.push(bench.run(*in_flight, args.duration));
    }
    Ok(runs)
}

/// There are no chargers here.
struct Nowhere;

impl TariffResolver for Nowhere {
    fn place(&self, _: &ChargerId, _: ConnectorId, _: Timestamp) -> Result<TariffAssignment, Code> {
        Err(Code::NoTariff)
    }
}

/// A session's outstanding operation.
struct Slot {
    payment: PaymentId,
    account: usize,
    /// 1: the authorization, 2: its release.
    ordinal: u16,
    since: Instant,
}

struct Bench {
    shard: Shard,
    clock: SystemClock,
    accounts: Vec<AccountId>,
    writer: Writer,
    next_payment: u64,
}

/// The log on its thread.
struct Writer {
    to: SyncSender<Batch>,
    from: Receiver<Batch>,
    under_way: usize,
    commits: u64,
    _thread: JoinHandle<()>,
}

impl Writer {
    fn start(mut log: Log) -> Writer {
        let (to, batches) = sync_channel::<Batch>(8);
        let (done, from) = sync_channel(8);
        let thread = std::thread::spawn(move || {
            for batch in batches {
                log.commit(std::slice::from_ref(&batch)).expect("the disk works");
                if done.send(batch).is_err() {
                    return;
                }
            }
        });
        Writer { to, from, under_way: 0, commits: 0, _thread: thread }
    }
}

/// The card that pays from an account.
fn card_of(account: &AccountId) -> Credential {
    Credential { kind: CredentialKind::Rfid, token: account.as_str().as_bytes().into() }
}

impl Bench {
    fn open(args: &Args, data: &Path) -> Result<Bench, CliError> {
        let clock = SystemClock::new();
        let tariff_resolver: Box<dyn TariffResolver> = Box::new(Nowhere);
        let node_config = Arc::new(NodeConfig {
            partitions: PARTITIONS,
            shards: super::default_shards().min(PARTITIONS),
            policy: Arc::new(Policy::default()),
            tariffs: TariffAssignments::new(tariff_resolver),
            routing: Box::new(LocalProcessorRegistry::default()),
            offline_authorizations: Box::new(LocalOfflineAuthorizations::default()),
            random: Box::new(|| 0),
            credentials: Credentials::new(b"bench", Keyring::fixed([7; 32]), Box::new(LocalCredentialLinks::default())),
            receipt_base: String::new(),
            series: Default::default(),
        });
        let directory = DataDir::open_or_create(data, Layout::new(PARTITIONS)).map_err(CliError::failed)?;
        let store = Box::new(SledStore::open(&directory).map_err(CliError::failed)?);
        let (log, _) = Log::open(store, &Sequences::new(PARTITIONS), &mut |_| Ok(())).map_err(CliError::failed)?;
        let shard = Shard::new(node_config, 0, clock.now());
        let ids: Result<Vec<AccountId>, _> =
            (0..args.accounts).map(|n| AccountId::new(&format!("driver-{n}"))).collect();
        let accounts = ids.map_err(CliError::failed)?;
        let mut bench = Bench { shard, clock, accounts, writer: Writer::start(log), next_payment: 1 };
        bench.open_accounts();
        Ok(bench)
    }

    fn open_accounts(&mut self) {
        for place in 0..self.accounts.len() {
            let account = self.accounts[place].clone();
            let (order, currency) = (self.payment(place), Currency::EUR);
            let credit_limit = Amount::zero(currency);
            let amount = Amount::new(1_000_000_000, currency);
            let commands = [
                account::Command::Open { op: order.operation(1), account: account.clone(), currency, credit_limit },
                account::Command::TopUp { op: order.operation(2), amount, source: account::TopUpSource::Bank },
                account::Command::LinkCredential {
                    op: order.operation(3),
                    credential: self.shard.node_config().mark(&card_of(&account)),
                },
            ];
            for command in commands {
                self.take(Input::Order(account.clone(), Box::new(command), ReplyTo::NONE));
            }
        }
        while !self.shard.is_idle() {
            self.pump(true, &mut |_| {});
        }
    }

    fn payment(&mut self, account: usize) -> PaymentId {
        self.next_payment += 1;
        let partition = PartitionId::of(self.accounts[account].as_str(), PARTITIONS);
        PaymentId::new(self.clock.now().wall, partition, self.next_payment)
    }

    /// Hands an input to the shard; a full journal makes it wait for a commit.
    fn take(&mut self, mut input: Input) {
        while let Err(back) = self.shard.take(input, self.clock.now()) {
            input = back;
            self.pump(true, &mut |_| {});
        }
    }

    /// Batches go to the writer and back, and durable ones to `left`.
    fn pump(&mut self, wait: bool, left: &mut dyn FnMut(Left)) {
        while let Some(batch) = self.shard.take_batch() {
            self.writer.to.send(batch).expect("the writer lives");
            self.writer.under_way += 1;
        }
        let mut returned = Vec::new();
        if wait && self.writer.under_way > 0 {
            returned.push(self.writer.from.recv().expect("the writer lives"));
        }
        returned.extend(self.writer.from.try_iter());
        for batch in returned {
            self.writer.under_way -= 1;
            self.writer.commits += 1;
            self.shard.committed(batch);
        }
        while let Some(output) = self.shard.release() {
            left(output);
        }
    }

    fn ask(&mut self, slot: &Slot) {
        let account = self.accounts[slot.account].clone();
        let hold = HoldId(slot.payment.operation(1));
        let request = match slot.ordinal {
            1 => Request::Authorize {
                credential: card_of(&account),
                amount: Amount::new(4_500, Currency::EUR),
                partial_ok: false,
                stand_in: false,
            },
            _ => Request::Void { authorization: hold.0, processor_ref: None, reason: VoidReason::NoStart },
        };
        let operation = Operation {
            id: slot.payment.operation(slot.ordinal),
            hold,
            processor: account_processor(&account).expect("an account's name is short enough"),
            attempt: 1,
            possible_duplicate: false,
            decide_by: self.clock.now().wall.saturating_add(TimeSpan::from_secs(60)),
            request,
        };
        self.take(Input::AskAccount(account, Box::new(operation)));
    }

    fn run(&mut self, in_flight: u32, duration: Duration) -> Run {
        let mut latency =
            Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).expect("bounds that a histogram can have");
        let mut slots: std::collections::HashMap<PaymentId, Slot> = std::collections::HashMap::new();
        let (begun, commits) = (Instant::now(), self.writer.commits);
        for number in 0..in_flight as usize {
            let account = number % self.accounts.len();
            let payment = self.payment(account);
            let slot = Slot { payment, account, ordinal: 1, since: Instant::now() };
            self.ask(&slot);
            slots.insert(payment, slot);
        }
        let (mut operations, mut authorizations, mut refused) = (0_u64, 0_u64, 0_u64);
        while !slots.is_empty() {
            let mut answers = Vec::new();
            self.pump(true, &mut |output| {
                if let Left::AccountAnswer(answer) = output {
                    answers.push(answer.1);
                }
            });
            let over = begun.elapsed() >= duration;
            for answer in answers {
                let Some(mut slot) = slots.remove(&answer.operation.payment()) else { continue };
                operations += 1;
                authorizations += u64::from(slot.ordinal == 1);
                refused += u64::from(!matches!(answer.outcome, crate::payment::Outcome::Approved { .. }));
                let took = u64::try_from(slot.since.elapsed().as_micros()).unwrap_or(u64::MAX);
                latency.saturating_record(took);
                match slot.ordinal {
                    1 => slot.ordinal = 2,
                    _ if over => continue,
                    _ => (slot.payment, slot.ordinal) = (self.payment(slot.account), 1),
                }
                slot.since = Instant::now();
                self.ask(&slot);
                slots.insert(slot.payment, slot);
            }
        }
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        Run {
            in_flight,
            operations,
            operations_per_s: operations * 1_000 / ms,
            authorizations_per_s: authorizations * 1_000 / ms,
            refused,
            p50_us: latency.value_at_quantile(0.5),
            p99_us: latency.value_at_quantile(0.99),
            commits: self.writer.commits - commits,
        }
    }
}

fn text_of(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for run in &report.runs {
        writeln!(
            out,
            "{:>6} in flight  {:>8} operations/s durable ({} authorizations/s)  p50 {} µs  p99 {} µs  {} commits",
            run.in_flight, run.operations_per_s, run.authorizations_per_s, run.p50_us, run.p99_us, run.commits
        )?;
    }
    Ok(())
}
