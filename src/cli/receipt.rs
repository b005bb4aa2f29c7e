//! `wattstile receipt`: checks receipts offline.

use super::gate_or_data::{Which, give};
use super::output::GOOD;
use super::{CliError, Exit, Output};
use crate::api::{ChargerRow, SessionSheet};
use crate::billing::{PublicKey, SignatureError, SignedReceipt, verify_receipt};
use crate::units::visible;
use crate::web::segment;
use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

/// The largest receipt that is read, in bytes.
const RECEIPT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Receipts: what drivers get.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show a session's receipt
    #[command(
        after_help = "Example:\n  wattstile receipt show --last\n  wattstile receipt show 0198c --format html > receipt.html"
    )]
    Show(Show),
    /// Check a receipt's signature, offline
    #[command(after_help = "Example:\n  wattstile receipt verify receipt.json --key operator.pem\n\n\
        Ends with 0 when the receipt is as it was signed, with 1 when it was changed or \
        another key signed it, with 65 when it is no receipt.")]
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    which: Which,
    /// The session's id, or the beginning of it, or the receipt's number
    #[arg(required_unless_present = "last")]
    id: Option<String>,
    /// The newest session
    #[arg(long, conflicts_with = "id")]
    last: bool,
    /// In which form; json is the signed document
    #[arg(long, default_value = "txt", value_parser = ["txt", "html", "json"])]
    format: String,
    /// Instead, what the charger's meter signed of the session, byte for byte, for a program that verifies it
    #[arg(long, conflicts_with = "format")]
    signed_values: bool,
}

impl Show {
    /// What the meter signed, with the key that is registered for it now.
    fn signed_values(&self, output: &Output) -> Result<Exit, CliError> {
        let source = self.which.open(output)?;
        let name = segment(self.id.as_deref().unwrap_or("last"));
        let sheet: SessionSheet =
            serde_json::from_value(source.get(&format!("sessions/{name}"), &[])?).map_err(CliError::failed)?;
        if sheet.signed_values.is_empty() {
            return Err(CliError::new(
                Exit::NotFound,
                format!("the meter has signed nothing of session {}", sheet.row.id),
            ));
        }
        let charger = &sheet.row.charger;
        let page = source.get("chargers", &[("prefix", charger.clone())])?;
        let chargers: Vec<ChargerRow> = serde_json::from_value(page["items"].clone()).map_err(CliError::failed)?;
        let key = chargers.into_iter().find(|row| row.id == *charger).and_then(|row| row.meter_key);
        let document = serde_json::json!({
            "schema": "wattstile.signed-values/1", "session": sheet.row.id, "transaction_id": sheet.row.transaction_id,
            "charger": charger, "values": sheet.signed_values, "meter_key": key,
        });
        give(output, &document, |out| {
            // Verbatim for a file or a program; on a terminal what a charger sent must not steer it.
            let is_terminal = io::stdout().is_terminal();
            let shown = |data| if is_terminal { visible(data) } else { Cow::Borrowed(data) };
            sheet.signed_values.iter().try_for_each(|value| writeln!(out, "{}", shown(&*value.data)))
        })?;
        Ok(Exit::Ok)
    }

    fn run(&self, output: &Output) -> Result<Exit, CliError> {
        if self.signed_values {
            return self.signed_values(output);
        }
        let format = if output.is_json() { "json" } else { &self.format };
        let name = segment(self.id.as_deref().unwrap_or("last"));
        let width = output.answer_columns().map(|width| ("width", width.to_string()));
        let query: Vec<(&str, String)> = width.into_iter().collect();
        let text = self.which.open(output)?.text(&format!("receipts/{name}.{format}"), &query)?;
        output.raw(&if output.is_json() { with_schema(&text) } else { text })?;
        Ok(Exit::Ok)
    }
}

/// The signed document with its schema in front, as every answer in JSON has it; the rest stays as it was signed.
fn with_schema(document: &str) -> String {
    match document.trim_start().strip_prefix('{') {
        Some(members) => format!("{{\n  \"schema\": \"{}\",{members}", SignedReceipt::SCHEMA),
        None => document.to_owned(),
    }
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The signed receipt, in JSON
    file: PathBuf,
    /// The public key that must have signed it: PEM, hexadecimal or base64
    #[arg(long, value_name = "FILE", env = "WATTSTILE_RECEIPT_KEY")]
    key: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.verb {
        Verb::Show(show) => show.run(output),
        Verb::Verify(verify) => verify.run(output),
    }
}

impl Verify {
    fn run(&self, output: &Output) -> Result<Exit, CliError> {
        let key = self.key.as_deref().map(read_key).transpose()?;
        let document = read(&self.file)?;
        let receipt = match verify_receipt(&document, key.as_ref()) {
            Ok(receipt) => receipt,
            Err(error) => return Err(refusal(&self.file, &error)),
        };
        output.answer("receipt-check/1", &verdict(&receipt, key.is_some()), |out| {
            writeln!(out, "{}", receipt.receipt.to_text())?;
            writeln!(out, "  {:<12}{GOOD}OK{GOOD:#}  Ed25519 key {}", "signature", receipt.signature.key_id)
        })?;
        if key.is_none() {
            output.inform("the receipt is whole; to know who signed it, give the operator's public key with --key");
        }
        Ok(Exit::Ok)
    }
}

fn verdict(signed: &SignedReceipt, key_known: bool) -> serde_json::Value {
    let receipt = &signed.receipt;
    serde_json::json!({
        "valid": true,
        "key_id": signed.signature.key_id,
        "key_expected": key_known,
        "number": receipt.number,
        "session": receipt.session,
        "total": receipt.total,
        "currency": receipt.currency,
    })
}

fn refusal(file: &Path, error: &SignatureError) -> CliError {
    let exit = match error {
        SignatureError::Malformed(_) | SignatureError::PublicKey => Exit::Corrupt,
        SignatureError::Broken | SignatureError::OtherKey { .. } | SignatureError::SigningKey(_) => Exit::Failed,
    };
    CliError::new(exit, format!("{}: {error}", file.display()))
}

fn read_key(path: &Path) -> Result<PublicKey, CliError> {
    let text = read(path)?;
    let text = String::from_utf8_lossy(&text);
    PublicKey::parse(&text).map_err(|error| CliError::new(Exit::Config, format!("{}: {error}", path.display())))
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(RECEIPT_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length as u64 > RECEIPT_BYTES_MAX => {
            Err(CliError::new(Exit::Corrupt, format!("{}: too large for a receipt", path.display())))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(CliError::file(path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_with_its_schema_is_still_the_signed_one() {
        let signed = include_str!("../../tests/data/receipt.json");
        let shown = with_schema(signed);
        let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(value["schema"], "wattstile.signed-receipt/1");
        assert!(shown.starts_with("{\n  \"schema\""), "{shown}");
        assert_eq!(verify_receipt(shown.as_bytes(), None).unwrap(), verify_receipt(signed.as_bytes(), None).unwrap());
        let other = shown.replace("signed-receipt/1", "signed-receipt/2");
        assert!(matches!(verify_receipt(other.as_bytes(), None), Err(SignatureError::Malformed(_))));
    }
}
