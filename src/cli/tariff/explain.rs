//! `wattstile tariff explain` and `wattstile tariff ls`: tariffs in words.

use super::{at, read};
use crate::cli::{CliError, Exit, Output};
use crate::tariff::Tariff;
use serde::Serialize;
use std::path::PathBuf;

/// Say in words what a tariff charges
#[derive(Debug, clap::Args)]
#[command(after_help = "Prices stand in the order of Regulation (EU) 2023/1804: per kWh, per minute, per session.\n\n\
                        Example: wattstile tariff explain tariffs/day-and-night.json")]
pub struct Args {
    /// An OCPI tariff
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

/// Prints the text.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let tariff = Tariff::parse(&read(&args.file)?).map_err(|error| at(&args.file, error))?.tariff;
    let answer = Answer {
        id: tariff.id().to_string(),
        hash: tariff.hash().to_string(),
        currency: tariff.currency().to_string(),
        price_text: tariff.price_text(),
        text: tariff.explain(),
    };
    output
        .answer("tariff-explain/1", &answer, |out| answer.text.iter().try_for_each(|line| writeln!(out, "{line}")))?;
    Ok(Exit::Ok)
}

/// Lists the JSON files of a folder; one that is no tariff is listed with what is wrong.
pub fn list(args: ListArgs, output: &Output) -> Result<Exit, CliError> {
    let mut rows = Vec::new();
    let json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    for path in super::files_below(&args.folder)?.into_iter().filter(json) {
        let file = path.strip_prefix(&args.folder).unwrap_or(&path).display().to_string();
        let empty = Row { file, id: None, hash: None, price_text: None, error: None };
        rows.push(match Tariff::parse(&read(&path)?) {
            Err(error) => Row { error: Some(error.to_string()), ..empty },
            Ok(parsed) => Row {
                id: Some(parsed.tariff.id().to_string()),
                hash: Some(parsed.tariff.hash().to_string()),
                price_text: Some(parsed.tariff.price_text()),
                ..empty
            },
        });
    }
    output.answer("tariff-list/1", &rows, |out| {
        for row in &rows {
            let (id, hash) = (row.id.as_deref().unwrap_or("-"), row.hash.as_deref().map_or("-", |hash| &hash[..12]));
            let text = row.price_text.as_deref().or(row.error.as_deref()).unwrap_or_default();
            writeln!(out, "{:<32} {id:<20} {hash:<12} {text}", row.file)?;
        }
        Ok(())
    })?;
    Ok(if rows.iter().any(|row| row.error.is_some()) { Exit::Failed } else { Exit::Ok })
}
