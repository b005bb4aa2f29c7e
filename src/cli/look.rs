//! Where verbs that show things get them from: a running gate, or its data when none runs.

use super::{CliError, Exit, Output};
use crate::app;
use crate::console::{self, PLACE_FILE, Place, Refused, Request, Views};
use crate::journal::DataDir;
use crate::units::visible;
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which gate is meant.
#[derive(Clone, Debug, clap::Args)]
pub struct Which {
    /// The gate's data directory; below ./.wattstile that of the gate or of the demonstration is found
    #[arg(long, value_name = "DIR", default_value = COMMON, env = "WATTSTILE_DATA", global = true)]
    data: PathBuf,
}

/// Where answers come from.
pub enum Source {
    /// A running gate, over its console.
    Running(Place),
    /// Its data, while no gate runs.
    Reading(Box<Views>),
}

/// Longer than the gate waits for its shards: it says which of them are silent.
const PATIENCE: Duration = console::PATIENCE.saturating_add(Duration::from_secs(15));

/// The folder below which `serve` and `demo` keep their things, each in one of its own.
const COMMON: &str = "./.wattstile";

/// What may be meant by a directory: itself, the `data` in it, or that of the gate and of the demonstration below it.
fn candidates(directory: &Path) -> Vec<PathBuf> {
    let below = directory.join("data");
    if below.is_dir() {
        return vec![below];
    }
    let common = ["gate", "demo"].map(|name| directory.join(name).join("data"));
    common.into_iter().filter(|data| data.is_dir()).collect()
}

/// The data directory that is meant.
///
/// # Errors
/// Below the directory there is the data of a gate and of a demonstration, and not exactly one of them runs.
pub fn data_below(directory: &Path) -> Result<PathBuf, CliError> {
    let found = candidates(directory);
    let running: Vec<&PathBuf> = found.iter().filter(|data| found.len() > 1 && at_console(data).is_some()).collect();
    match (found.as_slice(), running.as_slice()) {
        ([], _) => Ok(directory.to_owned()),
        ([only], _) => Ok(only.clone()),
        (_, [running]) => Ok((*running).clone()),
        (_, _) => {
            let shown = directory.display();
            let text = format!("{shown} has the data of a gate and of a demonstration: which one is not said");
            let help = format!("name it, for instance with --data {shown}/gate or --data {shown}/demo");
            Err(CliError::new(Exit::Usage, text).help(help))
        }
    }
}

/// The data directory that is meant, for a command that reads what is in it.
///
/// # Errors
/// What [`data_below`] says, and [`Exit::NotFound`] for a directory that is none: one text for every command.
pub fn existing_data(directory: &Path) -> Result<PathBuf, CliError> {
    let data = data_below(directory)?;
    if DataDir::is_one(&data) {
        return Ok(data);
    }
    let error = CliError::not_found(format!("{}: there is no data directory of wattstile here", directory.display()));
    Err(error.help("name the one that a gate keeps: `serve` makes ./.wattstile/gate, `demo` ./.wattstile/demo"))
}

/// The gate that runs on this data. One that was killed leaves its file behind, and does not answer.
fn at_console(data: &Path) -> Option<Source> {
    let place: Place = serde_json::from_slice(&fs::read(data.join(PLACE_FILE)).ok()?).ok()?;
    Some(Source::Running(place)).filter(Source::is_alive)
}

impl Which {
    /// The gate with this data directory.
    pub fn at(data: &Path) -> Which {
        Which { data: data.to_owned() }
    }

    /// The directory in which the gate keeps its data and its keys.
    pub fn folder(&self) -> Result<PathBuf, CliError> {
        let data = data_below(&self.data)?;
        match data.parent().filter(|_| data != self.data) {
            Some(folder) => Ok(folder.to_owned()),
            None if self.data == Path::new(COMMON) => Ok(self.data.join("gate")),
            None => Ok(data),
        }
    }

    /// The gate, if one is running.
    pub fn running(&self) -> Result<Option<Source>, CliError> {
        Ok(at_console(&data_below(&self.data)?))
    }

    /// Finds the gate.
    pub fn open(&self, output: &Output) -> Result<Source, CliError> {
        let data = existing_data(&self.data)?;
        if let Some(source) = at_console(&data) {
            return Ok(source);
        }
        let views = app::read(&data).map_err(|error| CliError::start(&error))?;
        output.say(format_args!("no gate is running; read from {}", data.display()));
        Ok(Source::Reading(Box::new(views)))
    }
}

impl Source {
    /// The process of a running gate.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Source::Running(place) => Some(place.pid),
            Source::Reading(_) => None,
        }
    }

    fn is_alive(&self) -> bool {
        match self {
            Source::Running(place) => agent().get(format!("http://{}/livez", place.address)).call().is_ok(),
            Source::Reading(_) => true,
        }
    }

    /// A document.
    pub fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, CliError> {
        let text = self.text(path, query)?;
        serde_json::from_str(&text).map_err(CliError::failed)
    }

    /// A document or text, as it is.
    pub fn text(&self, path: &str, query: &[(&str, String)]) -> Result<String, CliError> {
        match self {
            Source::Running(place) => {
                let mut request = agent().get(format!("http://{}/api/{path}", place.address));
                for (name, value) in query {
                    request = request.query(*name, value);
                }
                answered(request.header("Authorization", format!("Bearer {}", place.token)).call())
            }
            Source::Reading(views) => {
                let query: BTreeMap<String, String> =
                    query.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                match console::get(views, &Request { path: path.to_owned(), query }) {
                    Ok(console::Answer::Json(document)) => Ok(document.to_string()),
                    Ok(console::Answer::Text(_, text)) => Ok(text),
                    Err(refused) => Err(refusal(refused)),
                }
            }
        }
    }

    /// An order; only a running gate carries it out.
    pub fn post<T: serde::Serialize>(&self, path: &str, body: &T) -> Result<Value, CliError> {
        self.post_patiently(path, body, PATIENCE)
    }

    /// What a settlement file would come to. Data can say that without a running gate too.
    pub fn preview(&self, whole: &console::BatchPart) -> Result<console::BatchView, CliError> {
        let document = match self {
            Source::Running(_) => self.post("settlement/preview", whole)?,
            Source::Reading(views) => console::preview(views, whole.clone()).map_err(refusal)?,
        };
        serde_json::from_value(document).map_err(CliError::failed)
    }

    /// An order that may take so long.
    pub fn post_patiently<T: serde::Serialize>(
        &self,
        path: &str,
        body: &T,
        patience: Duration,
    ) -> Result<Value, CliError> {
        let Source::Running(place) = self else {
            let error = CliError::new(Exit::Unreachable, "no gate is running: nothing can be ordered");
            return Err(error.help("start it with `wattstile serve`"));
        };
        let request = agent_with(patience).post(format!("http://{}/api/{path}", place.address));
        let request = request.header("Authorization", format!("Bearer {}", place.token));
        let text = answered(request.send_json(body))?;
        serde_json::from_str(&text).map_err(CliError::failed)
    }
}

/// What a gate says of its health.
pub struct Health {
    /// It is as it should be.
    pub good: bool,
    /// In words.
    pub detail: String,
}

impl Health {
    /// Asks a console, without a token.
    ///
    /// # Errors
    /// There is no answer in this time.
    pub fn ask(console: SocketAddr, path: &str, timeout: Duration) -> Result<Health, CliError> {
        let silent =
            |error: ureq::Error| CliError::new(Exit::Unreachable, format!("the console at {console}: {error}"));
        let mut answer = agent_with(timeout).get(format!("http://{console}{path}")).call().map_err(silent)?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string().map_err(silent)?;
        if status < 400 {
            return Ok(Health { good: true, detail: text.trim().to_owned() });
        }
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(Health { good: false, detail: problem["detail"].as_str().unwrap_or("refused").to_owned() })
    }
}

fn agent() -> ureq::Agent {
    agent_with(PATIENCE)
}

fn agent_with(patience: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(patience))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .new_agent()
}

fn answered(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<String, CliError> {
    let mut answer =
        answer.map_err(|error| CliError::new(Exit::Unreachable, format!("the gate's console: {error}")))?;
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string().map_err(CliError::failed)?;
    if status < 400 {
        return Ok(text);
    }
    let problem: Value = serde_json::from_str(&text).unwrap_or_default();
    Err(refusal(Refused::new(status, problem["detail"].as_str().unwrap_or("refused"))))
}

fn refusal(refused: Refused) -> CliError {
    let exit = match refused.status {
        400 => Exit::Usage,
        401 | 403 | 409 => Exit::Refused,
        404 => Exit::NotFound,
        503 | 504 => Exit::Unreachable,
        _ => Exit::Failed,
    };
    CliError::new(exit, refused.message)
}

/// The members of a list document as rows of this type.
pub fn items<T: serde::de::DeserializeOwned>(document: &Value) -> Result<Vec<T>, CliError> {
    serde_json::from_value(document["items"].clone()).map_err(CliError::failed)
}

/// Gives a document that already names its shape.
pub fn give(
    output: &Output,
    document: &Value,
    text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), CliError> {
    match output.is_json() {
        true => output.raw(&format!("{document:#}\n")),
        false => {
            let mut shown = Vec::new();
            text(&mut shown).map_err(CliError::failed)?;
            output.raw(&String::from_utf8_lossy(&shown))
        }
    }
}

/// A time of a document as people read it: `2026-11-30T05:22:30.79Z` as `2026-11-30 05:22:30Z`.
pub fn moment(time: &str) -> String {
    let zone = time.get(19..).map(|rest| rest.trim_start_matches(|part: char| part == '.' || part.is_ascii_digit()));
    match (time.get(..10), time.get(11..19), zone) {
        (Some(day), Some(clock), Some(zone)) => format!("{day} {clock}{zone}"),
        _ => time.to_owned(),
    }
}

/// A cost or an amount as people read it: whole minor units where it has them, else rounded to two more decimals.
pub fn cost(value: Decimal, decimals: u32) -> String {
    let mut value = value.round_dp(decimals + 2).normalize();
    if value.scale() < decimals {
        value.rescale(decimals);
    }
    value.to_string()
}

/// Energy in kWh as people read it: whole watt hours.
pub fn kwh(value: Decimal) -> String {
    let mut value = value.round_dp(3);
    value.rescale(3);
    value.to_string()
}

/// Writes rows below their heads in aligned columns; columns whose head begins with `>` stand to the right. What would move a
/// terminal's cursor or turn a line around is written out.
pub fn table(out: &mut dyn Write, heads: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| visible(cell).into_owned()).collect()).collect();
    let names: Vec<String> = heads.iter().map(|head| head.trim_start_matches('>').to_owned()).collect();
    let width = |column: usize| -> usize {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(names.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    for row in std::iter::once(&names).chain(&rows) {
        let mut line = String::new();
        for ((cell, head), width) in row.iter().zip(heads).zip(&widths) {
            let blank = width.saturating_sub(cell.chars().count());
            match head.starts_with('>') {
                true => line.extend(std::iter::repeat_n(' ', blank).chain(cell.chars())),
                false => line.extend(cell.chars().chain(std::iter::repeat_n(' ', blank))),
            }
            line.push_str("  ");
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_a_gate_and_of_a_demonstration_are_told_apart() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        assert_eq!(data_below(place.path()).unwrap(), place.path());
        fs::create_dir_all(at("demo/data")).unwrap();
        assert_eq!(data_below(place.path()).unwrap(), at("demo/data"));
        assert_eq!(Which::at(place.path()).folder().unwrap(), at("demo"));
        fs::create_dir_all(at("gate/data")).unwrap();
        let error = data_below(place.path()).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.help.unwrap().contains("/gate"));
        assert_eq!(data_below(&at("gate")).unwrap(), at("gate/data"));
        assert_eq!(data_below(&at("demo/data")).unwrap(), at("demo/data"));
        assert_eq!(Which::at(&at("gate")).folder().unwrap(), at("gate"));
    }

    #[test]
    fn columns_are_aligned_by_characters() {
        let mut out = Vec::new();
        let rows = [vec!["Zürich".to_owned(), "1.5".to_owned()], vec!["A".to_owned(), "12.25".to_owned()]];
        table(&mut out, &["place", ">cost"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "place    cost\nZürich    1.5\nA       12.25\n");
    }
}
