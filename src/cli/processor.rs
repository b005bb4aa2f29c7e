//! `wattstile processor`: the payment processors, and their connections.

use super::gate_or_data::{List, Most, Which, give};
use super::{CliError, Exit, Output};
use crate::api::{Draining, ProcessorRow, ProcessorSheet};
use crate::units::counted;
use crate::web::segment;
use std::io::{self, Write};

/// Processors.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List processors that have connected
    Ls(Most),
    /// Show one: what it takes, messages on their way, what is not sent to it now
    #[command(after_help = "Example:\n  wattstile processor show acme-cards")]
    Show(One),
    /// Give it no new holds; sessions that have a hold with it are completed
    #[command(after_help = "Example:\n  wattstile processor drain acme-cards --dry-run")]
    Drain(Drain),
    /// Send a probe inquiry, and show how long the answer took
    #[command(after_help = "Example:\n  wattstile processor test acme-cards")]
    Test(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The processor
    id: String,
}

#[derive(Debug, clap::Args)]
struct Drain {
    /// The processor
    id: String,
    /// Give it new holds again
    #[arg(long)]
    off: bool,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let source = args.which.open(output)?;
    match args.verb {
        Verb::Ls(most) => {
            let list = List {
                path: "processors",
                query: Vec::new(),
                most: most.limit,
                heads: &["processor", "link", ">connections", ">in flight", ">sent", ">answers", ">not sent"],
                if_empty: None,
            };
            list.give(&source, output, cells)?;
        }
        Verb::Show(One { id }) => {
            let document = source.get(&format!("processors/{}", segment(&id)), &[])?;
            let sheet: ProcessorSheet = serde_json::from_value(document.clone()).map_err(CliError::failed)?;
            give(output, &document, |out| show(out, &sheet))?;
        }
        Verb::Drain(Drain { id, off, dry_run }) => {
            let document =
                source.post(&format!("processors/{}/drain", segment(&id)), &Draining { on: !off, dry_run })?;
            give(output, &document, |out| {
                let what = if off { "gets new holds again" } else { "gets no new holds" };
                if dry_run {
                    writeln!(out, "{id}  would be sent: {what}  (nothing was changed)")
                } else {
                    writeln!(
                        out,
                        "{id}  {what}; {} in flight",
                        counted(document["in_flight"].as_u64().unwrap_or(0), "operation")
                    )
                }
            })?;
        }
        Verb::Test(One { id }) => {
            let document = source.post(&format!("processors/{}/test", segment(&id)), &serde_json::json!({}))?;
            let outcome = document["outcome"].as_str().unwrap_or("?").to_owned();
            give(output, &document, |out| match document["took_ms"].as_i64() {
                Some(ms) => writeln!(out, "{id}  {outcome} after {ms} ms"),
                None => writeln!(out, "{id}  {outcome}"),
            })?;
            if outcome != "answered" {
                return Ok(Exit::Unreachable);
            }
        }
    }
    Ok(Exit::Ok)
}

fn cells(row: &ProcessorRow) -> Vec<String> {
    vec![
        row.id.clone(),
        link(row).to_owned(),
        row.connections.to_string(),
        row.in_flight.to_string(),
        row.sent.to_string(),
        row.answers.to_string(),
        row.not_sent.to_string(),
    ]
}

const fn link(row: &ProcessorRow) -> &'static str {
    match (row.connections, row.draining) {
        (0, true) => "down, draining",
        (0, false) => "down",
        (_, true) => "draining",
        (_, false) => "up",
    }
}

fn show(out: &mut dyn Write, sheet: &ProcessorSheet) -> io::Result<()> {
    let row = &sheet.row;
    writeln!(out, "{}  {}", row.id, link(row))?;
    let mut lines = vec![
        ("connections", format!("{}, {} in flight", row.connections, counted(row.in_flight, "operation"))),
        ("since the start", format!("{} sent, {} answers, {} not sent", row.sent, row.answers, row.not_sent)),
        ("not in time", sheet.overdue.to_string()),
    ];
    if !row.breakers_open.is_empty() {
        lines.push(("not sent now", row.breakers_open.join(", ")));
    }
    if let (Some(priority), Some(weight)) = (sheet.priority, sheet.weight) {
        lines.push(("rule", format!("priority {priority}, weight {weight}")));
    }
    if let Some(takes) = &sheet.takes {
        lines.push(("takes", takes.kinds.join(", ")));
        lines.push(("credentials", takes.credentials.iter().map(|kind| in_words(kind)).collect::<Vec<_>>().join(", ")));
        lines.push(("currencies", takes.currencies.join(", ")));
        lines.push(("repetitions", format!("recognised for {}", span(takes.replay_s))));
        lines.push((
            "holds",
            format!("for {}, {} at most", span(takes.hold_validity_s), counted(takes.increments_max, "increment")),
        ));
    }
    for (name, value) in lines {
        writeln!(out, "  {name:<16}{value}")?;
    }
    Ok(())
}

/// `CardToken` as `card token`.
fn in_words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// Seconds as text: `24 h`, `5 days`, `90 s`.
fn span(seconds: i64) -> String {
    match seconds {
        s if s >= 172_800 && s % 86_400 == 0 => counted(s / 86_400, "day"),
        s if s >= 3_600 && s % 3_600 == 0 => format!("{} h", s / 3_600),
        s if s >= 120 && s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_shown_in_the_largest_whole_unit() {
        let shown = [86_400, 604_800, 432_000, 3_600, 900, 90, 0].map(span);
        assert_eq!(in_words("CardToken"), "card token");
        assert_eq!(shown, ["24 h", "7 days", "5 days", "1 h", "15 min", "90 s", "0 s"]);
    }
}
