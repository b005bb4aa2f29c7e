//! `wattstile sim processor`: a simulated payment processor.

use super::{Target, runtime, until_the_end};
use crate::cli::output::{BAD, GOOD};
use crate::cli::{CliError, Exit, Output};
use crate::message::Subject;
use crate::sim::pace::Pace;
use crate::sim::processor::{Latency, Lines, Rates, Service, ServiceReport, Settings, Violations};
use crate::units::{ProcessorId, TimeSpan};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Run a simulated payment processor
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:\n  wattstile sim processor --gate 127.0.0.1:7444 --id acme-cards --misbehave 20\n\n\
Ends by itself after --for, or on SIGINT or SIGTERM, and prints what is in its books;\n\
SIGUSR1 prints it in between. Ends with 1 when the gate did something it must never do, \
with 5 when it was never reached.\n\
`wattstile sim tokens` lists what makes it misbehave on demand.")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Its name
    #[arg(long, value_name = "ID", default_value = "acme-cards")]
    id: ProcessorId,
    /// Connections that it holds
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    connections: u32,
    /// Repeats its random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long half of its answers take at most
    #[arg(long, value_name = "DURATION", default_value = "80ms", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// Percent of the operations at which it misbehaves; without it, a few declines
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    misbehave: Option<u8>,
    /// Send a settlement batch of what moved since the last one this often
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    settle_every: Option<Duration>,
    /// How much faster its clock runs; the gate's has to run as fast
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    speed: u32,
    /// List every hold in the books
    #[arg(long)]
    holds: bool,
    /// End by itself after this long
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let dialler = args.target.open()?.of(&Subject::Processor(args.id.clone()))?;
    let median = TimeSpan::from_ms(i64::try_from(args.latency.as_millis()).unwrap_or(i64::MAX / 10));
    let settings = Settings {
        latency: Latency { median, tail: TimeSpan::from_ms(median.ms() * 5) },
        rates: match args.misbehave {
            Some(0) => Rates::default(),
            Some(percent) => Rates::hostile(percent),
            None => Rates::everyday(),
        },
        ..Settings::new(args.id.clone(), args.seed)
    };
    let line = output.live_lines();
    let report = runtime()?.block_on(async {
        let lines = Lines { dialler, connections: args.connections, mac: None };
        let service = Arc::new(Service::start(settings, &lines, &Pace::new(args.speed)));
        let settling = args.settle_every.map(|every| tokio::spawn(settle_every(Arc::clone(&service), every)));
        let asked = tokio::spawn(report_when_asked(Arc::clone(&service), args.holds, *output));
        until_the_end(args.duration, || {
            let now = service.report(false);
            let count = |state| now.books.holds.get(state).copied().unwrap_or(0);
            line.set_message(format!(
                "{} connections · holds: {} open, {} captured, {} voided · {} callbacks acknowledged",
                now.connections_open,
                count("open"),
                count("captured"),
                count("voided"),
                now.callbacks_acked
            ));
        })
        .await?;
        if let Some(settling) = settling {
            settling.abort();
            let _ = settling.await;
        }
        asked.abort();
        let _ = asked.await;
        let report = service.report(args.holds);
        Ok::<_, CliError>(report)
    })?;
    line.finish_and_clear();
    output.answer("processor/1", &report, |out| text_of(&report, out))?;
    if report.greetings == 0 {
        let why = report.last_error.as_deref().unwrap_or("it was ended before");
        return Err(CliError::new(Exit::Unreachable, format!("the processor never reached the gate: {why}")));
    }
    Ok(if report.books.violations == Violations::default() { Exit::Ok } else { Exit::Failed })
}

/// Sends a settlement batch again and again.
async fn settle_every(service: Arc<Service>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let lines = service.settle();
        tracing::info!(lines, "a settlement batch");
    }
}

/// Prints the books at each SIGUSR1.
async fn report_when_asked(service: Arc<Service>, holds: bool, output: Output) {
    let Ok(mut asked) = signal(SignalKind::user_defined1()) else { return };
    while asked.recv().await.is_some() {
        let report = service.report(holds);
        if output.answer("processor/1", &report, |out| text_of(&report, out)).is_err() {
            return;
        }
    }
}

fn text_of(report: &ServiceReport, out: &mut dyn Write) -> io::Result<()> {
    let books = &report.books;
    writeln!(out, "processor {}, seed {}", books.processor, books.seed)?;
    let list = |counts: &std::collections::BTreeMap<&'static str, u64>| {
        counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    };
    writeln!(out, "  operations  {}", list(&books.operations))?;
    writeln!(out, "  holds       {}", list(&books.holds))?;
    for (currency, sum) in &books.totals {
        writeln!(
            out,
            "  {currency}         authorized {}, captured {}, refunded {}, released {}, open {} (minor units)",
            sum.authorized_minor, sum.captured_minor, sum.refunded_minor, sum.released_minor, sum.open_minor
        )?;
    }
    writeln!(out, "  misbehaved  {}", list(&books.misbehaved))?;
    let good = books.violations == Violations::default();
    let style = if good { GOOD } else { BAD };
    let verdict = if good { "none".to_owned() } else { format!("{:?}", books.violations) };
    writeln!(out, "  violations  {style}{verdict}{style:#}")?;
    writeln!(
        out,
        "  callbacks   {} acknowledged, {} refused, {} pending",
        report.callbacks_acked,
        report.callbacks_refused.values().sum::<u64>(),
        report.callbacks_pending
    )?;
    writeln!(
        out,
        "  dials       {}, {} failed; {} broke",
        report.dials,
        report.dials_failed,
        crate::units::counted(report.disconnects, "connection")
    )?;
    match &report.last_error {
        Some(error) => writeln!(out, "  the last: {error}"),
        None => Ok(()),
    }
}
