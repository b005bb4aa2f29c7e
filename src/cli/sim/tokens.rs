//! `wattstile sim tokens`: what makes a simulated processor misbehave on demand.

use crate::cli::{CliError, Exit, Output};
use crate::sim::processor::{MAGIC_AMOUNT_MINOR, MAGIC_WORDS, Misbehaviour};
use serde::Serialize;

#[derive(Serialize)]
struct Word {
    token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount_minor: Option<i64>,
    what: &'static str,
}

/// Lists them.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(output: &Output) -> Result<Exit, CliError> {
    let misbehaviours = Misbehaviour::ALL.into_iter().zip(1..).map(|(one, number)| Word {
        token: format!("tok_{}", one.name()),
        amount_minor: Some(MAGIC_AMOUNT_MINOR + number),
        what: one.meaning(),
    });
    let others = MAGIC_WORDS.iter().map(|(word, what)| Word { token: format!("tok_{word}"), amount_minor: None, what });
    let words: Vec<Word> = misbehaviours.chain(others).collect();
    output.answer("tokens/1", &words, |out| {
        for word in &words {
            let amount = word.amount_minor.map_or(String::new(), |minor| minor.to_string());
            writeln!(out, "{:<29} {amount:>8}  {}", word.token, word.what)?;
        }
        writeln!(out, "\nBetween `tok_` and the word of a misbehaviour may stand the operation it befalls:")?;
        writeln!(out, "authorize_ (the default), increment_, decrement_, capture_, void_ or refund_.")?;
        writeln!(out, "After a dot anything may follow: tok_capture_silent.driver-7")?;
        writeln!(out, "An authorization of such an amount (minor units) misbehaves like its token.")
    })?;
    Ok(Exit::Ok)
}
