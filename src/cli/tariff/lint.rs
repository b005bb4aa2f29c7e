//! `wattstile tariff lint`: findings with their place in the text.

use crate::cli::{CliError, Exit, Output};
use crate::tariff::{Finding, Position, Profiles, Severity, tariffs_in, text_of, unusable};
use crate::units::Power;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use rust_decimal::Decimal;
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Find mistakes in a tariff: parts that never apply, gaps, units, limits
#[derive(Debug, clap::Args)]
#[command(after_help = "The exit code is 1 when there is an error, or with --strict a warning.\n\nExample: wattstile \
                        tariff lint tariffs/*.json --profile afir --power-kw 150")]
pub struct Args {
    /// Files of OCPI tariffs: one tariff, a list, or the answer of an OCPI interface
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Rules to check beyond sense; may be given more than once
    #[arg(long, value_enum, value_name = "PROFILE")]
    profile: Vec<Profile>,
    /// Power of the charging point, for profiles that depend on it
    #[arg(long, value_name = "KW", default_value = "50")]
    power_kw: Decimal,
    /// Let warnings decide the exit code, too
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Profile {
    /// Ad hoc prices by Regulation (EU) 2023/1804
    Afir,
}

#[derive(Debug, Serialize)]
struct Answer {
    files: usize,
    errors: usize,
    warnings: usize,
    notes: usize,
    findings: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    file: String,
    severity: String,
    code: String,
    path: String,
    line: u32,
    column: u32,
    message: String,
    help: Option<String>,
    #[serde(skip)]
    span: std::ops::Range<usize>,
    #[serde(skip)]
    text: usize,
}

/// Reads, checks and prints.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let power = Power::from_kw(args.power_kw);
    let power =
        power.ok_or_else(|| CliError::new(Exit::Usage, format!("--power-kw {}: out of range", args.power_kw)))?;
    let profiles = Profiles { afir: args.profile.contains(&Profile::Afir).then_some(power) };
    let mut answer = Answer { files: args.files.len(), errors: 0, warnings: 0, notes: 0, findings: Vec::new() };
    let mut texts = Vec::new();
    for file in &args.files {
        let (text, found) = examined(file, profiles);
        for finding in found {
            match finding.severity {
                Severity::Error => answer.errors += 1,
                Severity::Warning => answer.warnings += 1,
                Severity::Note => answer.notes += 1,
            }
            answer.findings.push(Line {
                file: file.display().to_string(),
                severity: finding.severity.to_string(),
                code: finding.code.to_owned(),
                path: finding.path,
                line: finding.position.line,
                column: finding.position.column,
                message: finding.message,
                help: finding.help,
                span: finding.span,
                text: texts.len(),
            });
        }
        texts.push(text);
    }
    output.answer("tariff-lint/1", &answer, |out| print(out, &answer, &texts))?;
    let bad = answer.errors > 0 || args.strict && answer.warnings > 0;
    Ok(if bad { Exit::Failed } else { Exit::Ok })
}

/// The text of a file with its findings. A file that cannot be read is one finding, so that the others are checked as
/// well.
fn examined(file: &Path, profiles: Profiles) -> (String, Vec<Finding>) {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            let unreadable = Finding {
                severity: Severity::Error,
                code: "unreadable",
                path: "$".to_owned(),
                span: 0..0,
                position: Position { line: 1, column: 1 },
                message: error.to_string(),
                help: None,
            };
            return (String::new(), vec![unreadable]);
        }
    };
    let text = match text_of(&bytes) {
        Ok(text) => text,
        Err(error) => {
            // Shown with a mark in place of what cannot be shown, up to there as it stands.
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            return (shown, vec![unusable(&error)]);
        }
    };
    let found = match tariffs_in(text) {
        Ok(tariffs) => tariffs.iter().flat_map(|tariff| tariff.lint(profiles)).collect(),
        Err(error) => vec![unusable(&error)],
    };
    (text.to_owned(), found)
}

fn print(out: &mut dyn Write, answer: &Answer, texts: &[String]) -> io::Result<()> {
    let renderer = Renderer::styled();
    for line in &answer.findings {
        let level = match line.severity.as_str() {
            "error" => Level::ERROR,
            "warning" => Level::WARNING,
            _ => Level::NOTE,
        };
        let text = &texts[line.text];
        let span = shown(text, line.span.clone());
        let title = format!("{}: {}", line.path, line.message);
        let snippet =
            Snippet::source(text.as_str()).path(line.file.as_str()).annotation(AnnotationKind::Primary.span(span));
        let mut group = level.primary_title(title.as_str()).id(line.code.as_str()).element(snippet);
        if let Some(help) = &line.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        writeln!(out, "{}\n", renderer.render(&[group]))?;
    }
    let Answer { files, errors, warnings, notes, .. } = answer;
    let counted = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let (files, errors) = (counted(*files, "file"), counted(*errors, "error"));
    writeln!(out, "{files}: {errors}, {}, {}", counted(*warnings, "warning"), counted(*notes, "note"))
}

/// The first line of what a finding is about, inside the text.
fn shown(text: &str, span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.floor_char_boundary(span.end.clamp(start, text.len()));
    let line = text[start..end].find('\n').map_or(end, |newline| start + newline);
    start..line
}
