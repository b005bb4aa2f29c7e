//! `wattstile manual`: the manual's pages as text, without the documentation of the code.

use super::{CliError, Exit, Output};
use crate::cli::gate_or_data::table;
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

/// Read the manual
///
/// Without a page it lists them. On a terminal a page goes through the pager that PAGER names.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  wattstile manual\n  wattstile manual operations\n  wattstile manual protocol > protocol.md"
)]
pub struct Args {
    /// The page
    page: Option<String>,
}

/// A page: its name, and its text as it stands in the documentation.
struct Page {
    name: &'static str,
    text: &'static str,
    /// An appendix in its source form: a language and the text.
    appendix: Option<(&'static str, &'static str)>,
}

const fn page(name: &'static str, text: &'static str) -> Page {
    Page { name, text, appendix: None }
}

/// Every page, in an order in which they can be read.
const PAGES: [Page; 17] = [
    page("architecture", include_str!("../manual/architecture.md")),
    page("glossary", include_str!("../manual/glossary.md")),
    page("installation", include_str!("../manual/installation.md")),
    page("operations", include_str!("../manual/operations.md")),
    page("console", include_str!("../manual/console.md")),
    page("api", include_str!("../manual/api.md")),
    page("events", include_str!("../manual/events.md")),
    page("reporting", include_str!("../manual/reporting.md")),
    page("certificates", include_str!("../manual/certificates.md")),
    page("pricing", include_str!("../manual/pricing.md")),
    page("payments", include_str!("../manual/payments.md")),
    page("money", include_str!("../manual/money.md")),
    page("journal", include_str!("../manual/journal.md")),
    page("ocpp", include_str!("../manual/ocpp.md")),
    page("simulators", include_str!("../manual/simulators.md")),
    Page {
        appendix: Some(("proto", include_str!("../wire/schema/wattstile.proto"))),
        ..page("protocol", include_str!("../manual/protocol.md"))
    },
    page("robustness", include_str!("../manual/robustness.md")),
];

impl Page {
    fn title(&self) -> &'static str {
        self.text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or(self.name)
    }

    /// The page as Markdown that is read as it is.
    fn readable(&self) -> String {
        let mut text = with_readable_links(self.text);
        if let Some((language, source)) = self.appendix {
            text.push_str(&format!("\n# The schema\n\n```{language}\n{source}\n```\n"));
        }
        text
    }
}

/// Lists the pages, or shows one.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let Some(name) = args.page else {
        let list: Vec<_> =
            PAGES.iter().map(|page| serde_json::json!({ "page": page.name, "title": page.title() })).collect();
        output.answer("manual-list/1", &list, |out| {
            let rows: Vec<Vec<String>> =
                PAGES.iter().map(|page| vec![page.name.to_owned(), page.title().to_owned()]).collect();
            table(out, &["page", "title"], &rows)?;
            writeln!(out, "\n`wattstile manual PAGE` shows one.")
        })?;
        return Ok(Exit::Ok);
    };
    let Some(page) = PAGES.iter().find(|page| page.name.eq_ignore_ascii_case(&name)) else {
        let known: Vec<&str> = PAGES.iter().map(|page| page.name).collect();
        let error = CliError::not_found(format!("the manual has no page `{name}`"));
        return Err(error.help(format!("pages: {}", known.join(", "))));
    };
    let text = page.readable();
    if output.is_json() {
        let document = serde_json::json!({ "page": page.name, "title": page.title(), "text": text });
        output.answer("manual/1", &document, |_| Ok(()))?;
    } else if !(std::io::stdout().is_terminal() && paged(&text)) {
        output.raw(&text)?;
    }
    Ok(Exit::Ok)
}

/// Shows a text in the pager. Whether there was one.
fn paged(text: &str) -> bool {
    let pager = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let pager = pager.unwrap_or_else(|| "less".to_owned());
    let mut words = pager.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("less"));
    command.args(words).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", "FRX");
    }
    let Ok(mut running) = command.spawn() else { return false };
    if let Some(mut input) = running.stdin.take() {
        // A pager that is left early closes the pipe; that is no error.
        let _ = input.write_all(text.as_bytes());
    }
    running.wait().is_ok()
}

/// The text with links into the code as what they show, and links to other pages with the command that shows them.
fn with_readable_links(text: &str) -> String {
    let mut readable = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("](crate::") {
        let (before, after) = rest.split_at(found);
        let (Some(start), Some(end)) = (before.rfind('['), after.find(')')) else { break };
        readable.push_str(&before[..start]);
        readable.push_str(&before[start + 1..]);
        let target = &after["](crate::".len()..end];
        let page = target.strip_prefix("manual::").filter(|page| PAGES.iter().any(|known| known.name == *page));
        if let Some(page) = page {
            readable.push_str(&format!(" (`wattstile manual {page}`)"));
        }
        rest = &after[end + 1..];
    }
    readable.push_str(rest);
    readable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_the_manual_is_listed_and_has_a_title() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual");
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<String> = names.filter_map(|name| Some(name.strip_suffix(".md")?.to_owned())).collect();
        files.sort_unstable();
        let mut pages: Vec<&str> = PAGES.iter().map(|page| page.name).collect();
        pages.sort_unstable();
        assert_eq!(pages, files);
        assert!(PAGES.iter().all(|page| page.text.starts_with("# ")));
    }

    #[test]
    fn links_into_the_code_are_shown_as_their_text() {
        let text =
            "A [`Cost`](crate::units::Cost), see [the journal](crate::manual::journal), [b] and [c](https://x.y).";
        let right = "A `Cost`, see the journal (`wattstile manual journal`), [b] and [c](https://x.y).";
        assert_eq!(with_readable_links(text), right);
        for page in &PAGES {
            assert!(!page.readable().contains("](crate::"), "{}", page.name);
        }
    }
}
