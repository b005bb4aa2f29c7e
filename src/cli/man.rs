//! `wattstile man`: the help texts as pages for man(1).

use super::{CliError, Exit, Output};
use clap_mangen::{Man, generate_to};
use rustix::fs::Mode;
use std::fs;
use std::path::PathBuf;

/// Print the help texts as a page for man(1), or write all pages
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  wattstile man | man -l -\n  wattstile man /usr/local/share/man/man1")]
pub struct Args {
    /// A directory for the pages of all commands; without it the page of the program is printed
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Prints or writes pages in roff.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let Some(directory) = args.directory else {
        let mut page = Vec::new();
        Man::new(super::command().disable_help_subcommand(true)).render(&mut page).map_err(CliError::failed)?;
        output.raw(&String::from_utf8_lossy(&page))?;
        return Ok(Exit::Ok);
    };
    // Pages are for all users, unlike everything else that the program writes.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    fs::create_dir_all(&directory).map_err(|error| CliError::file(&directory, &error))?;
    generate_to(super::command(), &directory).map_err(|error| CliError::file(&directory, &error))?;
    output.inform(format_args!("the manual pages are in {}", directory.display()));
    Ok(Exit::Ok)
}
