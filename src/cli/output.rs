//! Output of verbs: data to standard output, messages to standard error, one JSON document with `--json`.

use super::exit::CliError;
use super::live::{LiveLines, Mode, columns};
use crate::units::screen::masked;
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// How data and messages leave the process.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set; `CLICOLOR_FORCE` is honoured.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Right and complete.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Needs attention.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// Wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Present but unimportant: units, currency codes, paths.
pub const DIM: Style = Style::new().dimmed();

impl Output {
    /// Chooses the form for the whole process; colours are decided here once.
    pub fn new(json: bool, quiet: bool, color: Color) -> Output {
        match color {
            Color::Auto => anstream::ColorChoice::Auto.write_global(),
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        Output { json, quiet }
    }

    /// Whether data is to be JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether messages go to a terminal and are not suppressed.
    pub fn is_live(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Writes the result of a verb: with `--json` the value as one document whose first member is its `schema`
    /// (`wattstile.<schema>`), otherwise the output of `text`.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn answer<T: Serialize>(
        &self,
        schema: &str,
        value: &T,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CliError> {
        let written = if self.json {
            document(schema, value).and_then(|document| writeln!(anstream::stdout(), "{document}"))
        } else {
            let mut out = anstream::stdout().lock();
            text(&mut out).and_then(|()| out.flush())
        };
        standard_output(written)
    }

    /// Writes plain data: a file, or a text that is the same in both forms.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn raw(&self, text: &str) -> Result<(), CliError> {
        let mut out = anstream::stdout().lock();
        standard_output(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Reports progress on standard error. Nothing depends on it: with `--json` the reader is a program, so it is
    /// written to a terminal only.
    pub fn inform(&self, message: impl std::fmt::Display) {
        if !self.quiet && (!self.json || io::stderr().is_terminal()) {
            let _ = writeln!(anstream::stderr(), "{message}");
        }
    }

    /// Warns on standard error, also when quiet; with `--json` as `{"warning": {"message"}}` on one line.
    pub fn warn(&self, message: impl std::fmt::Display) {
        let _ = if self.json {
            writeln!(anstream::stderr(), "{}", json!({ "warning": { "message": plain(&message.to_string()) } }))
        } else {
            writeln!(anstream::stderr(), "{WARNING}warning{WARNING:#}: {message}")
        };
    }

    /// Reports why a verb failed; with `--json` as [`error_document`] on one line.
    pub fn error(&self, error: &CliError) {
        let mut err = anstream::stderr().lock();
        if self.json {
            let document = error_document(error.exit.code(), &masked(&error.message), error.help.as_deref());
            let _ = writeln!(err, "{document}");
            return;
        }
        let _ = writeln!(err, "{BAD}error{BAD:#}: {}", masked(&error.message));
        if let Some(help) = &error.help {
            let _ = writeln!(err, "  = help: {help}");
        }
    }

    /// A bar for `total` steps on a terminal; draws nothing elsewhere.
    pub fn progress(&self, total: u64, what: &'static str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(total), self.draw_target());
        if let Ok(style) = ProgressStyle::with_template("{msg:12} {wide_bar} {human_pos}/{human_len}  {per_sec}  {eta}")
        {
            bar.set_style(style);
        }
        bar.with_message(what)
    }

    /// A few lines that change in place on a terminal; draws nothing elsewhere.
    pub fn live_lines(&self) -> LiveLines {
        LiveLines::new(if self.is_live() && can_move_cursor() { Mode::InPlace } else { Mode::Hidden })
    }

    /// The same; elsewhere one plain line so often.
    pub fn live_or_plain_lines(&self, every: Duration) -> LiveLines {
        LiveLines::new(match (self.quiet, self.is_live() && can_move_cursor()) {
            (true, _) => Mode::Hidden,
            (false, true) => Mode::InPlace,
            (false, false) => Mode::Plain(every),
        })
    }

    /// The columns of the terminal to which messages go; `None` where they go elsewhere, and lines stay as they are.
    pub fn columns(&self) -> Option<usize> {
        columns(io::stderr())
    }

    /// The columns of the terminal to which the answer goes, if it goes to one.
    pub fn answer_columns(&self) -> Option<usize> {
        columns(io::stdout())
    }

    fn draw_target(&self) -> ProgressDrawTarget {
        if self.is_live() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
    }
}

/// Whether the terminal can move its cursor.
fn can_move_cursor() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// An error for programs: `{"error": {"code", "message", "help"}}`. The code is that with which the process ends.
pub fn error_document(code: u8, message: &str, help: Option<&str>) -> serde_json::Value {
    json!({ "error": { "code": code, "message": plain(message), "help": help.map(plain) } })
}

/// A text without colours.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// The value as JSON text with its `schema` in front. A value that is not an object becomes the member `items`.
fn document<T: Serialize>(schema: &str, value: &T) -> io::Result<String> {
    let value = serde_json::to_value(value)?;
    let mut document = serde_json::Map::new();
    document.insert("schema".to_owned(), format!("wattstile.{schema}").into());
    match value {
        serde_json::Value::Object(members) => document.extend(members),
        other => {
            document.insert("items".to_owned(), other);
        }
    }
    Ok(serde_json::to_string_pretty(&document)?)
}

/// A reader that went away (`wattstile … | head`) is no failure of ours.
fn standard_output(written: io::Result<()>) -> Result<(), CliError> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_first_what_shape_it_has() {
        #[derive(Serialize)]
        struct Receipt {
            number: &'static str,
        }
        let text = document("receipt/1", &Receipt { number: "R-000001" }).unwrap();
        assert_eq!(text, "{\n  \"schema\": \"wattstile.receipt/1\",\n  \"number\": \"R-000001\"\n}");
    }

    #[test]
    fn a_list_becomes_one_document_too() {
        let text = document("session-list/1", &[1, 2]).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["items"], serde_json::json!([1, 2]));
    }
}
