//! `wattstile config`, and how every verb gets its configuration.

use super::gate_or_data::Which;
use super::output::{BAD, DIM, GOOD};
use super::{CliError, Exit, Output};
use crate::app::preflight::{Finding, State, preflight};
use crate::config::{Config, ConfigError, Layers, Loaded, commented_file};
use crate::host::SystemClock;
use crate::transport::files::write_whole;
use crate::units::Clock;
use clap::Subcommand;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Where a verb finds its configuration.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigArgs {
    /// Configuration file (TOML); without it, everything is built in
    #[arg(long, short, value_name = "FILE", env = "WATTSTILE_CONFIG")]
    config: Option<PathBuf>,
    /// Set one value over file and environment (repeatable)
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

impl ConfigArgs {
    /// Loads and checks all layers. Faults are reported, and end the verb with exit code 78. Old spellings are
    /// reported on standard error.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn load(&self, output: &Output) -> Result<Config, CliError> {
        let (config, warnings) = self.load_with_warnings()?;
        warnings.iter().for_each(|warning| output.warn(warning));
        Ok(config)
    }

    /// The same, with the old spellings: for a verb that has a log.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn load_with_warnings(&self) -> Result<(Config, Vec<String>), CliError> {
        let loaded = self.load_with_origins()?;
        let warnings = loaded.warnings();
        Ok((loaded.config, warnings))
    }

    fn load_with_origins(&self) -> Result<Loaded, CliError> {
        let layers = Layers::of_process(self.config.clone(), self.set.clone()).map_err(|error| {
            let path = self.config.as_deref().unwrap_or_else(|| Path::new("the configuration"));
            CliError::new(Exit::Config, format!("{}: {error}", path.display()))
        })?;
        layers.load().map_err(|error| invalid(&error))
    }
}

/// Make, check and show the configuration
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a file with every setting, its meaning and its built-in value
    #[command(after_help = "Example: wattstile config init > wattstile.toml")]
    Init {
        /// File to write; standard output without it
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Check the configuration, and everything else that a gate and its first driver need
    #[command(after_help = "Example: wattstile config check --config wattstile.toml")]
    Check {
        #[command(flatten)]
        config: ConfigArgs,
        /// Check only the configuration, not files, data, clock and ports
        #[arg(long)]
        offline: bool,
    },
    /// Show every setting and where it comes from
    #[command(after_help = "Example: wattstile config show --origin")]
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// Show where each setting comes from
        #[arg(long)]
        origin: bool,
    },
}

#[derive(Debug, Serialize)]
struct Shown {
    section: &'static str,
    key: &'static str,
    value: Option<String>,
    origin: Option<String>,
}

/// Does one of the verbs.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.verb {
        Verb::Init { file } => init(file.as_deref(), output),
        Verb::Check { config, offline } => check(&config, offline, output),
        Verb::Show { config, origin } => show(&config, origin, output),
    }
}

fn init(file: Option<&Path>, output: &Output) -> Result<Exit, CliError> {
    let text = commented_file();
    let Some(file) = file else {
        output.raw(&text)?;
        return Ok(Exit::Ok);
    };
    if file.exists() {
        return Err(CliError::new(Exit::Refused, format!("{} is there already", file.display())));
    }
    write_whole(file, text.as_bytes(), 0o644).map_err(|error| CliError::caused(Exit::Failed, &error))?;
    output.inform(format_args!("{GOOD}✓{GOOD:#} {}", file.display()));
    Ok(Exit::Ok)
}

fn check(args: &ConfigArgs, offline: bool, output: &Output) -> Result<Exit, CliError> {
    let loaded = args.load_with_origins()?;
    let warnings = loaded.warnings();
    if !offline {
        loaded.check_files().map_err(|error| invalid(&error))?;
        let config = &loaded.config;
        let running = Which::at(&config.gate.data_dir).running()?.is_some();
        ready(&preflight(config, SystemClock::new().now().wall, running), |warning| output.warn(warning))?;
    }
    output.answer(
        "config-check/1",
        &serde_json::json!({ "valid": true, "offline": offline, "warnings": warnings }),
        |out| {
            for warning in &warnings {
                writeln!(out, "warning: {warning}")?;
            }
            writeln!(out, "{GOOD}✓{GOOD:#} the configuration is valid")
        },
    )?;
    Ok(Exit::Ok)
}

/// Reports warnings; all faults become one error, with advice for each.
pub(super) fn ready(findings: &[Finding], warn: impl Fn(String)) -> Result<(), CliError> {
    let mut wrong = Vec::new();
    for Finding { name, state, detail, help } in findings {
        let help = help.as_deref().unwrap_or_default();
        match state {
            State::Good => {}
            State::Warning if help.is_empty() => warn(format!("{name}: {detail}")),
            State::Warning => warn(format!("{name}: {detail} ({help})")),
            State::Wrong => wrong.push(format!("  {BAD}✗{BAD:#} {name}: {detail}\n    {help}")),
        }
    }
    match wrong.len() {
        0 => Ok(()),
        1 => Err(CliError::new(Exit::Config, format!("a gate cannot serve like this\n{}", wrong[0]))),
        count => {
            let text = format!("a gate cannot serve like this, for {count} reasons\n{}", wrong.join("\n"));
            Err(CliError::new(Exit::Config, text))
        }
    }
}

fn show(args: &ConfigArgs, origins: bool, output: &Output) -> Result<Exit, CliError> {
    let loaded = args.load_with_origins()?;
    let sections = loaded.config.write();
    let shown = sections.iter().flat_map(|section| {
        section.settings.iter().map(|(key, value)| Shown {
            section: section.key,
            key,
            value: value.clone(),
            origin: (origins && !section.is_list).then(|| loaded.origin(section.key, key)),
        })
    });
    let shown: Vec<Shown> = shown.collect();
    output.answer("config/1", &shown, |out| {
        for section in &sections {
            if section.is_list {
                writeln!(out, "[[{}]]", section.key)?
            } else {
                writeln!(out, "[{}]", section.key)?
            }
            for (key, value) in &section.settings {
                let Some(value) = value else { continue };
                if origins && !section.is_list {
                    writeln!(out, "{key} = {value}  {DIM}# {}{DIM:#}", loaded.origin(section.key, key))?
                } else {
                    writeln!(out, "{key} = {value}")?
                }
            }
            writeln!(out)?;
        }
        Ok(())
    })?;
    Ok(Exit::Ok)
}

fn invalid(error: &ConfigError) -> CliError {
    let count = match error.problems.len() {
        1 => "1 problem in the configuration".to_owned(),
        count => format!("{count} problems in the configuration"),
    };
    CliError::new(Exit::Config, format!("{count}\n{}", error.styled()))
}
