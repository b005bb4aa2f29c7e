//! Problems of a configuration: all at once, each with its position and advice.

use super::tree::Origin;
use crate::units::screen::masked;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// The problem, in one line.
    pub title: String,
    /// The text beside the caret.
    pub label: String,
    /// Advice.
    pub help: Option<String>,
}

/// A configuration that is not used, because of at least one problem.
#[derive(Clone, Debug)]
pub struct ConfigError {
    /// The file, where there is one.
    pub path: Option<PathBuf>,
    /// Its text.
    pub source: String,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigError {}

/// All problems, without colours.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl ConfigError {
    /// All problems, with the colours of a terminal.
    pub fn styled(&self) -> String {
        self.render(&Renderer::styled())
    }

    /// The line of a problem in the file, counted from 1.
    pub fn line(&self, problem: &Problem) -> Option<usize> {
        let Origin::File(span) = &problem.origin else { return None };
        let before = self.source.get(..span.start)?;
        Some(before.matches('\n').count() + 1)
    }

    fn render(&self, renderer: &Renderer) -> String {
        let path = self.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let reports: Vec<String> = self.problems.iter().map(|problem| self.report(problem, &path, renderer)).collect();
        // The lines of the file are quoted, but never a card's number in them.
        masked(&reports.join("\n\n")).into_owned()
    }

    fn report(&self, problem: &Problem, path: &str, renderer: &Renderer) -> String {
        let title = Level::ERROR.primary_title(problem.title.as_str());
        let elsewhere = match &problem.origin {
            Origin::File(_) => String::new(),
            Origin::Environment(name) => format!("environment variable {name}: {}", problem.label),
            Origin::Flag(text) => format!("--set {text}: {}", problem.label),
            Origin::Default => problem.label.clone(),
        };
        let mut group = match &problem.origin {
            Origin::File(span) => {
                let Lines { text, first, span } = Lines::of(&self.source, span);
                let label = AnnotationKind::Primary.span(span).label(problem.label.as_str());
                title.element(Snippet::source(text).line_start(first).path(path).annotation(label))
            }
            Origin::Environment(_) | Origin::Flag(_) | Origin::Default => {
                title.element(Level::NOTE.message(elsewhere.as_str()))
            }
        };
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let report: [Group<'_>; 1] = [group];
        renderer.render(&report)
    }
}

/// The lines of a file that a problem refers to. The report reads nothing else of the file: a long file with many
/// problems would take long.
struct Lines<'a> {
    text: &'a str,
    /// The number of the first, counted from 1.
    first: usize,
    /// Where in them.
    span: Range<usize>,
}

impl<'a> Lines<'a> {
    fn of(source: &'a str, span: &Range<usize>) -> Lines<'a> {
        let start = source.floor_char_boundary(span.start);
        let end = source.ceil_char_boundary(span.end).max(start);
        let from = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let to = source[end..].find('\n').map_or(source.len(), |newline| end + newline);
        let first = source[..from].bytes().filter(|byte| *byte == b'\n').count() + 1;
        Lines { text: &source[from..to], first, span: start - from..end - from }
    }
}
