//! Where verbs that show things get them from: a running gate, or its data when none runs.

use super::{CliError, Exit, Output};
use crate::api::feed::Event;
use crate::api::{self, Views};
use crate::app;
use crate::journal::DataDir;
use crate::limits::LIST_ITEMS_MAX;
use crate::units::visible;
use crate::web::{self, ConsoleEndpoint, ENDPOINT_FILE, Problem, Request};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
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
    Running(ConsoleEndpoint),
    /// Its data, while no gate runs.
    Reading(Box<Views>),
}

/// Longer than the gate waits for its shards, so that its answer names those without one.
const TIMEOUT: Duration = api::TIMEOUT.saturating_add(Duration::from_secs(15));

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

/// Finds the data directory at or below `directory`.
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
            let text =
                format!("{shown} has the data of a gate and of a demonstration: which one is meant is not stated");
            let help = format!("name it, for instance with --data {shown}/gate or --data {shown}/demo");
            Err(CliError::new(Exit::Usage, text).help(help))
        }
    }
}

/// Finds the data directory, for a command that reads it.
///
/// # Errors
/// As [`data_below`], and [`Exit::NotFound`] for a directory without data: one text for every command.
pub fn existing_data(directory: &Path) -> Result<PathBuf, CliError> {
    let data = data_below(directory)?;
    if DataDir::is_one(&data) {
        return Ok(data);
    }
    let error = CliError::not_found(format!("{}: there is no data directory of wattstile here", directory.display()));
    Err(error.help("name the one that a gate keeps: `serve` makes ./.wattstile/gate, `demo` ./.wattstile/demo"))
}

/// The same for a command that may find an upgrade that was interrupted while nothing had the name of the data.
///
/// # Errors
/// As [`existing_data`].
pub fn existing_data_or_interrupted(directory: &Path) -> Result<PathBuf, CliError> {
    let below = ["data", "gate/data", "demo/data"].map(|below| directory.join(below));
    let found = std::iter::once(directory.to_owned()).chain(below).find(|data| DataDir::is_fresh(data).is_err());
    match (existing_data(directory), found) {
        (Err(_), Some(interrupted)) if !interrupted.exists() => Ok(interrupted),
        (found, _) => found,
    }
}

/// The gate that runs on this data. One that was killed leaves its file behind, and does not answer.
fn at_console(data: &Path) -> Option<Source> {
    let place: ConsoleEndpoint = serde_json::from_slice(&fs::read(data.join(ENDPOINT_FILE)).ok()?).ok()?;
    Some(Source::Running(place)).filter(Source::is_alive)
}

impl Which {
    /// The gate with this data directory.
    pub fn at(data: &Path) -> Which {
        Which { data: data.to_owned() }
    }

    /// The directory in which the gate keeps its data and its keys.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn folder(&self) -> Result<PathBuf, CliError> {
        let data = data_below(&self.data)?;
        match data.parent().filter(|_| data != self.data) {
            Some(folder) => Ok(folder.to_owned()),
            None if self.data == Path::new(COMMON) => Ok(self.data.join("gate")),
            None => Ok(data),
        }
    }

    /// The data directory, which is there.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: there is no data directory, or it is not clear which one is meant.
    pub fn existing_data(&self) -> Result<PathBuf, CliError> {
        existing_data(&self.data)
    }

    /// The gate, if one is running.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn running(&self) -> Result<Option<Source>, CliError> {
        Ok(at_console(&data_below(&self.data)?))
    }

    /// Finds the gate.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn open(&self, output: &Output) -> Result<Source, CliError> {
        let data = existing_data(&self.data)?;
        if let Some(source) = at_console(&data) {
            return Ok(source);
        }
        let views = app::read(&data).map_err(|error| CliError::start(&error))?;
        output.inform(format_args!("no gate is running; read from {}", data.display()));
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
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, CliError> {
        let text = self.text(path, query)?;
        serde_json::from_str(&text).map_err(CliError::failed)
    }

    /// A list, page by page until its end, or until there were so many items: each page is shown as it comes.
    ///
    /// # Errors
    /// What the gate refuses, and what `show` says.
    pub fn each_page(
        &self,
        path: &str,
        query: &[(&str, String)],
        most: Option<u64>,
        show: &mut dyn FnMut(ListPage) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let (mut left, mut after) = (most.unwrap_or(u64::MAX), None);
        loop {
            let mut query = query.to_vec();
            query.push(("limit", left.clamp(1, LIST_ITEMS_MAX as u64).to_string()));
            query.extend(after.map(|after| ("after", after)));
            let mut page: ListPage = serde_json::from_value(self.get(path, &query)?).map_err(CliError::failed)?;
            page.items.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left = left.saturating_sub(page.items.len() as u64);
            after = page.next.take();
            show(page)?;
            if after.is_none() || left == 0 {
                return Ok(());
            }
        }
    }

    /// The items of a list, or so many of them.
    ///
    /// # Errors
    /// What the gate refuses, and items that are no rows of this type.
    pub fn items<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        most: Option<u64>,
    ) -> Result<Vec<T>, CliError> {
        let mut items = Vec::new();
        self.each_page(path, query, most, &mut |page| {
            items.extend(page.rows()?);
            Ok(())
        })?;
        Ok(items)
    }

    /// A document or text, as it is.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn text(&self, path: &str, query: &[(&str, String)]) -> Result<String, CliError> {
        match self {
            Source::Running(place) => {
                let mut request = agent().get(format!("http://{}/api/v1/{path}", place.address));
                for (name, value) in query {
                    request = request.query(*name, value);
                }
                answered(request.header("Authorization", format!("Bearer {}", place.token)).call())
            }
            Source::Reading(views) => {
                let query: BTreeMap<String, String> =
                    query.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                match web::get(views, &Request { path: path.to_owned(), query }) {
                    Ok(web::Answer::Json(document)) => Ok(document.to_string()),
                    Ok(web::Answer::Text(_, text) | web::Answer::Page { text, .. }) => Ok(text),
                    Err(problem) => Err(refusal(problem)),
                }
            }
        }
    }

    /// The events of a running gate behind a cursor, and the cursor behind them.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: no gate runs, or its answer cannot be used.
    pub fn events_behind(&self, after: &str) -> Result<(Vec<Event>, String), CliError> {
        let Source::Running(place) = self else {
            return Err(CliError::new(Exit::Unreachable, "no gate is running: there are no events"));
        };
        let request = agent().get(format!("http://{}/api/v1/events", place.address));
        let request = request.query("follow", "false").query("after", after);
        let answer = request.header("Authorization", format!("Bearer {}", place.token)).call();
        let next = answer.as_ref().ok().and_then(|answer| answer.headers().get("x-next")?.to_str().ok());
        let next = next.unwrap_or(after).to_owned();
        let lines = answered(answer)?;
        let events = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(CliError::failed)?;
        Ok((events, next))
    }

    /// An order; only a running gate carries it out.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn post<T: serde::Serialize>(&self, path: &str, body: &T) -> Result<Value, CliError> {
        self.post_within(path, body, TIMEOUT)
    }

    /// Matches a settlement file without booking it. A data directory without a running gate suffices.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn preview(&self, whole: &api::BatchPart) -> Result<api::BatchView, CliError> {
        match self {
            Source::Running(_) => {
                serde_json::from_value(self.post("settlement/preview", whole)?).map_err(CliError::failed)
            }
            Source::Reading(views) => api::preview(views, whole.clone()).map_err(|refused| refusal(refused.into())),
        }
    }

    /// An order that may take so long.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn post_within<T: serde::Serialize>(&self, path: &str, body: &T, timeout: Duration) -> Result<Value, CliError> {
        let Source::Running(place) = self else {
            let error = CliError::new(Exit::Unreachable, "no gate is running: nothing can be ordered");
            return Err(error.help("start it with `wattstile serve`"));
        };
        let request = agent_with(timeout).post(format!("http://{}/api/v1/{path}", place.address));
        let request = request.header("Authorization", format!("Bearer {}", place.token));
        let text = answered(request.send_json(body))?;
        serde_json::from_str(&text).map_err(CliError::failed)
    }
}

/// The answer of a gate about its health.
pub struct Health {
    /// It is as it should be.
    pub good: bool,
    /// As text.
    pub detail: String,
}

impl Health {
    /// Sends a request to a console, without a token.
    ///
    /// # Errors
    /// There is no answer within the time-out.
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
    agent_with(TIMEOUT)
}

fn agent_with(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
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
    Err(refusal(Problem::new(status, problem["detail"].as_str().unwrap_or("refused"))))
}

fn refusal(problem: Problem) -> CliError {
    let exit = match problem.status {
        400 => Exit::Usage,
        401 | 403 | 409 => Exit::Refused,
        404 => Exit::NotFound,
        503 | 504 => Exit::Unreachable,
        _ => Exit::Failed,
    };
    CliError::new(exit, problem.message)
}

/// How much of a list is wanted.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Most {
    /// At most so many; without it, all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub struct ListPage {
    /// The shape of the list.
    pub schema: String,
    /// Its items.
    pub items: Vec<Value>,
    /// Where the next page begins.
    #[serde(default)]
    next: Option<String>,
}

impl ListPage {
    /// Its items as rows of this type.
    ///
    /// # Errors
    /// They are of another type.
    pub fn rows<T: DeserializeOwned>(self) -> Result<Vec<T>, CliError> {
        self.items.into_iter().map(serde_json::from_value).collect::<Result<_, _>>().map_err(CliError::failed)
    }
}

/// What a verb lists.
pub struct List<'a> {
    /// The list's path.
    pub path: &'a str,
    /// Which items of it.
    pub query: Vec<(&'static str, String)>,
    /// At most so many.
    pub most: Option<u64>,
    /// The heads of its columns.
    pub heads: &'a [&'a str],
    /// The text when there is none, instead of the heads alone.
    pub if_empty: Option<&'a str>,
}

impl List<'_> {
    /// Gives the list: page by page as a table, or, with `--json`, as one document.
    ///
    /// # Errors
    /// What the gate refuses, and items that are no rows of this type.
    pub fn give<T: DeserializeOwned>(
        &self,
        source: &Source,
        output: &Output,
        cells: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), CliError> {
        let List { path, query, most, heads, if_empty } = self;
        if output.is_json() {
            let (mut schema, mut items) = (String::new(), Vec::new());
            source.each_page(path, query, *most, &mut |page| {
                schema = page.schema;
                items.extend(page.items);
                Ok(())
            })?;
            return output.raw(&format!("{:#}\n", json!({ "schema": schema, "items": items })));
        }
        let (mut table, mut count) = (Table::new(heads), 0);
        source.each_page(path, query, *most, &mut |page| {
            count += page.items.len();
            let rows: Vec<Vec<String>> = page.rows()?.iter().map(&cells).collect();
            let mut shown = Vec::new();
            if !rows.is_empty() {
                table.write(&mut shown, &rows).map_err(CliError::failed)?;
            }
            output.raw(&String::from_utf8_lossy(&shown))
        })?;
        match (count, if_empty) {
            (0, Some(text)) => output.raw(&format!("{text}\n")),
            (0, None) => {
                let mut shown = Vec::new();
                table.write(&mut shown, &[]).map_err(CliError::failed)?;
                output.raw(&String::from_utf8_lossy(&shown))
            }
            (_, _) => Ok(()),
        }
    }
}

/// Gives a document that already names its shape.
///
/// # Errors
/// Standard output cannot be written, or the document is not of the expected shape.
pub fn give(
    output: &Output,
    document: &Value,
    text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), CliError> {
    if output.is_json() {
        output.raw(&format!("{document:#}\n"))
    } else {
        let mut shown = Vec::new();
        text(&mut shown).map_err(CliError::failed)?;
        output.raw(&String::from_utf8_lossy(&shown))
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

/// Writes rows below their heads in aligned columns; columns whose head begins with `>` are aligned right. Characters
/// that move a terminal's cursor or change the direction of a line are escaped.
///
/// # Errors
/// `out` cannot be written.
pub fn table(out: &mut dyn Write, heads: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    Table::new(heads).write(out, rows)
}

/// A table whose rows come piece by piece: the columns of a later piece are as wide as those before it, or wider.
pub struct Table<'h> {
    heads: &'h [&'h str],
    widths: Vec<usize>,
    is_begun: bool,
}

impl<'h> Table<'h> {
    /// Without rows; `>` before a head: its column stands to the right.
    pub fn new(heads: &'h [&'h str]) -> Table<'h> {
        Table { heads, widths: vec![0; heads.len()], is_begun: false }
    }

    /// Writes some more rows, and the heads before the first ones.
    ///
    /// # Errors
    /// Those of the output.
    pub fn write(&mut self, out: &mut dyn Write, rows: &[Vec<String>]) -> io::Result<()> {
        let names: Vec<String> = self.heads.iter().map(|head| head.trim_start_matches('>').to_owned()).collect();
        let names = (!std::mem::replace(&mut self.is_begun, true)).then_some(names);
        let rows = rows.iter().map(|row| row.iter().map(|cell| visible(cell).into_owned()).collect());
        let lines: Vec<Vec<String>> = names.into_iter().chain(rows).collect();
        for (column, width) in self.widths.iter_mut().enumerate() {
            let cells = lines.iter().filter_map(|line| line.get(column));
            *width = cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(*width);
        }
        for cells in &lines {
            let mut line = String::new();
            for ((cell, head), width) in cells.iter().zip(self.heads).zip(&self.widths) {
                let blank = width.saturating_sub(cell.chars().count());
                if head.starts_with('>') {
                    line.extend(std::iter::repeat_n(' ', blank).chain(cell.chars()))
                } else {
                    line.extend(cell.chars().chain(std::iter::repeat_n(' ', blank)))
                }
                line.push_str("  ");
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
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

    #[test]
    fn a_later_piece_of_a_table_is_aligned_with_the_first() {
        let (mut out, mut table) = (Vec::new(), Table::new(&["place", ">cost"]));
        for (place, cost) in [("Zürich", "1.5"), ("A", "12.25"), ("Amsterdam", "7")] {
            table.write(&mut out, &[vec![place.to_owned(), cost.to_owned()]]).unwrap();
        }
        let expected = "place   cost\nZürich   1.5\nA       12.25\nAmsterdam      7\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
