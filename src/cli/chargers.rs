//! `wattstile charger`: the chargers of a gate, as they are now.

use super::gate_or_data::{List, Most, Source, Which, give};
use super::{CliError, Exit, Output};
use crate::api::{ChargerRow, MeterKeyOrder, PresentedCredential, RemoteStart, SessionRow, Triggering};
use crate::billing::meter_signature::MeterKey;
use crate::web::segment;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Chargers.
#[derive(Debug, clap::Args)]
pub struct Chargers {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: ChargerVerb,
}

#[derive(Debug, clap::Subcommand)]
enum ChargerVerb {
    /// List chargers
    #[command(after_help = "Example:\n  wattstile charger ls AMS-")]
    Ls {
        /// The beginning of their ids
        prefix: Option<String>,
        #[command(flatten)]
        most: Most,
    },
    /// Order an OCPP charger to begin a session
    ///
    /// It waits for the charger's word. The session begins when the charger begins it, as with a card at the charger; without
    /// a vehicle, after its own time, it does not.
    #[command(after_help = "Example:\n  wattstile charger start CP-16 1 --token ACCT-0001 --wait 60s")]
    Start(Start),
    /// Order an OCPP charger to send a message
    #[command(after_help = "Example:\n  wattstile charger trigger CP-16 status --connector 1")]
    Trigger(Trigger),
    /// Register the public key of a charger's meter
    ///
    /// What the meter signs from then on is verified against it. A key that a charger sends along proves nothing.
    #[command(after_help = "Example:\n  wattstile charger meter-key CP-16 meter.pem")]
    MeterKey(MeterKeyFile),
}

#[derive(Debug, clap::Args)]
struct MeterKeyFile {
    /// The charger; it need not have connected yet
    charger: String,
    /// The key: PEM, DER, or hexadecimal or base64 digits
    #[arg(required_unless_present = "remove")]
    file: Option<PathBuf>,
    /// Take the registered key back
    #[arg(long, conflicts_with = "file")]
    remove: bool,
}

#[derive(Debug, clap::Args)]
struct Start {
    /// The charger
    charger: String,
    /// The connector; without it the charger chooses
    connector: Option<u16>,
    /// What counts as presented; `-` reads it from standard input, so that it stands in no list of processes
    #[arg(long, value_name = "TOKEN")]
    token: String,
    /// The kind of the token
    #[arg(long, value_name = "KIND", default_value = "rfid", value_parser = ["rfid", "contract", "card", "wallet"])]
    kind: String,
    /// Wait so long for the session too
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
}

#[derive(Debug, clap::Args)]
struct Trigger {
    /// The charger
    charger: String,
    /// Which message
    #[arg(value_parser = ["boot", "heartbeat", "meter-values", "status"])]
    message: String,
    /// About this connector; without it, about the charger
    #[arg(long, value_name = "NUMBER")]
    connector: Option<u16>,
}

/// `wattstile charger`
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn chargers(args: Chargers, output: &Output) -> Result<Exit, CliError> {
    let source = args.which.open(output)?;
    match args.verb {
        ChargerVerb::Ls { prefix, most } => list(&source, prefix, most, output)?,
        ChargerVerb::Start(order) => start(&source, order, output)?,
        ChargerVerb::Trigger(Trigger { charger, message, connector }) => {
            let path = format!("chargers/{}/trigger", segment(&charger));
            let document = source.post_within(&path, &Triggering { message, connector }, ANSWER)?;
            give(output, &document, |out| writeln!(out, "{charger}  sends it"))?;
        }
        ChargerVerb::MeterKey(MeterKeyFile { charger, file, remove: _ }) => {
            let key = file.as_deref().map(read_key).transpose()?;
            let path = format!("chargers/{}/meter-key", segment(&charger));
            let order = MeterKeyOrder { key: key.as_ref().map(|key| hex::encode(key.der())) };
            let document = source.post(&path, &order)?;
            give(output, &document, |out| match &key {
                Some(key) if key.is_verifiable() => writeln!(out, "{charger}  has meter key {}", key.id()),
                Some(key) => {
                    writeln!(
                        out,
                        "{charger}  has meter key {}, whose curve is not verified here (P-256 and P-384 are)",
                        key.id()
                    )
                }
                None => writeln!(out, "{charger}  has no meter key"),
            })?;
        }
    }
    Ok(Exit::Ok)
}

fn read_key(path: &Path) -> Result<MeterKey, CliError> {
    let content = std::fs::read(path).map_err(|error| CliError::file(path, &error))?;
    MeterKey::read(&content).map_err(|error| CliError::new(Exit::Corrupt, format!("{}: {error}", path.display())))
}

/// How long the gate may take for an order: a charger has half a minute.
const ANSWER: Duration = Duration::from_secs(60);

/// How often it is asked whether a session has begun.
const POLL: Duration = Duration::from_millis(250);

fn list(source: &Source, prefix: Option<String>, most: Most, output: &Output) -> Result<(), CliError> {
    let list = List {
        path: "chargers",
        query: prefix.into_iter().map(|prefix| ("prefix", prefix)).collect(),
        most: most.limit,
        heads: &["charger", "link", ">sessions", "connectors", "firmware"],
        if_empty: None,
    };
    list.give(source, output, |row: &ChargerRow| {
        vec![
            row.id.clone(),
            if row.online { "online" } else { "offline" }.to_owned(),
            row.sessions.len().to_string(),
            row.connectors.join("; "),
            row.firmware.clone(),
        ]
    })
}

fn start(source: &Source, order: Start, output: &Output) -> Result<(), CliError> {
    let Start { charger, connector, token, kind, wait } = order;
    let token = if token == "-" { io::read_to_string(io::stdin()).map_err(CliError::failed)? } else { token };
    let before: BTreeSet<String> = match wait {
        Some(_) => sessions(source, &charger)?.into_iter().map(|session| session.id).collect(),
        None => BTreeSet::new(),
    };
    let wish = RemoteStart { connector, credential: PresentedCredential { kind, token } };
    let path = format!("chargers/{}/start", segment(&charger));
    let mut document = source.post_within(&path, &wish, ANSWER)?;
    if let Some(wait) = wait {
        let until = Instant::now() + wait;
        let session = loop {
            let begun = sessions(source, &charger)?.into_iter().find(|session| {
                !before.contains(&session.id)
                    && !session.refused
                    && connector.is_none_or(|connector| session.connector == connector)
            });
            if begun.is_some() || Instant::now() >= until {
                break begun;
            }
            std::thread::sleep(POLL);
        };
        document["session"] = session.map_or(Value::Null, |session| json!(session.id));
    }
    give(output, &document, |out| match (wait, document["session"].as_str()) {
        (Some(_), Some(session)) => writeln!(out, "{charger}  has begun session {session}"),
        (Some(wait), None) => {
            let wait = humantime::format_duration(wait);
            writeln!(out, "{charger}  accepts the order, and has begun no session within {wait}")
        }
        (None, _) => writeln!(out, "{charger}  accepts the order"),
    })
}

/// The sessions of a charger, the newest first.
fn sessions(source: &Source, charger: &str) -> Result<Vec<SessionRow>, CliError> {
    let query = [("charger", charger.to_owned()), ("limit", "50".to_owned())];
    let page = source.get("sessions", &query)?;
    let rows: Vec<SessionRow> = serde_json::from_value(page["items"].clone()).map_err(CliError::failed)?;
    Ok(rows.into_iter().filter(|row| row.charger == charger).collect())
}
