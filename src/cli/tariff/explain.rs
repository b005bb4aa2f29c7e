//! `wattstile tariff explain` and `wattstile tariff ls`: descriptions of tariffs.

use super::{faulty, read};
use crate::cli::{CliError, Exit, Output};
use crate::tariff::{Tariff, TariffError, tariffs_in, text_of};
use serde::Serialize;
use std::path::PathBuf;

/// Explain what a tariff charges, in sentences
#[derive(Debug, clap::Args)]
#[command(after_help = "Prices stand in the order of Regulation (EU) 2023/1804: per kWh, per minute, per session.\n\n\
                        Example: wattstile tariff explain tariffs/day-and-night.json")]
pub struct Args {
    /// An OCPI tariff, or a list of them
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// List the tariffs of a folder
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: wattstile tariff ls tariffs/")]
pub struct ListArgs {
    /// A folder with OCPI tariffs
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Debug, Serialize)]
struct Answer {
    id: String,
    hash: String,
    currency: String,
    price_text: String,
    text: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    file: String,
    id: Option<String>,
    hash: Option<String>,
    price_text: Option<String>,
    error: Option<String>,
}

/// Prints the text: one document for one tariff, a list for a list.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let text = read(&args.file)?;
    let texts = tariffs_in(&text).map_err(|error| faulty(&args.file, &error))?;
    let mut answers = Vec::new();
    for text in &texts {
        answers.push(Answer::of(&text.parse().map_err(|error| faulty(&args.file, &error))?.tariff));
    }
    match answers.as_slice() {
        [answer] => output.answer("tariff-explain/1", answer, |out| answer.print(out))?,
        answers => output.answer("tariff-explain-list/1", &answers, |out| {
            for (index, answer) in answers.iter().enumerate() {
                if index > 0 {
                    writeln!(out)?;
                }
                answer.print(out)?;
            }
            Ok(())
        })?,
    }
    Ok(Exit::Ok)
}

impl Answer {
    fn of(tariff: &Tariff) -> Answer {
        Answer {
            id: tariff.id().to_string(),
            hash: tariff.hash().to_string(),
            currency: tariff.currency().to_string(),
            price_text: tariff.price_text(),
            text: tariff.explain(),
        }
    }

    fn print(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        self.text.iter().try_for_each(|line| writeln!(out, "{line}"))
    }
}

impl Row {
    fn of(file: String, tariff: Result<Tariff, TariffError>) -> Row {
        let empty = Row { file, id: None, hash: None, price_text: None, error: None };
        match tariff {
            Err(error) => Row { error: Some(error.to_string()), ..empty },
            Ok(tariff) => Row {
                id: Some(tariff.id().to_string()),
                hash: Some(tariff.hash().to_string()),
                price_text: Some(tariff.price_text()),
                ..empty
            },
        }
    }
}

/// Lists the tariffs in the JSON files of a folder; one that is no tariff is listed with the fault.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn list(args: ListArgs, output: &Output) -> Result<Exit, CliError> {
    let mut rows = Vec::new();
    let json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    for path in super::files_below(&args.folder)?.into_iter().filter(json) {
        let file = path.strip_prefix(&args.folder).unwrap_or(&path).display().to_string();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                rows.push(Row { file, id: None, hash: None, price_text: None, error: Some(error.to_string()) });
                continue;
            }
        };
        match text_of(&bytes).and_then(tariffs_in) {
            Ok(texts) => {
                for text in texts {
                    let name = format!("{file}{}", text.index());
                    rows.push(Row::of(name, text.parse().map(|parsed| parsed.tariff)));
                }
            }
            Err(error) => rows.push(Row::of(file, Err(error))),
        }
    }
    output.answer("tariff-list/1", &rows, |out| {
        for row in &rows {
            let (id, hash) = (row.id.as_deref().unwrap_or("-"), row.hash.as_deref().map_or("-", |hash| &hash[..12]));
            let text = row.price_text.as_deref().or(row.error.as_deref()).unwrap_or_default();
            for line in text.lines() {
                writeln!(out, "{:<32} {id:<20} {hash:<12} {line}", row.file)?;
            }
        }
        Ok(())
    })?;
    Ok(if rows.iter().any(|row| row.error.is_some()) { Exit::Failed } else { Exit::Ok })
}
