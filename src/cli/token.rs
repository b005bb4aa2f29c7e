//! `wattstile token`: tokens of the API.

use super::gate_or_data::{Source, Which, give, moment, table};
use super::{CliError, Exit, Output};
use crate::host::wall_clock;
use crate::web::access::{Expiry, Role, TOKENS_FILE, TokenError, TokenRow, TokenWish, Tokens};
use crate::web::segment;
use serde_json::{Value, json};

/// Tokens of the API.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a token, and show it once; a running gate takes it at once
    #[command(after_help = "Examples:\n  wattstile token create --name till --role finance --expires 90d\n  \
        wattstile token create --name grafana --role viewer --json")]
    Create {
        /// Its name: orders are attributed to it
        #[arg(long)]
        name: String,
        /// viewer sees; operator also runs sessions, processors and accounts; finance also moves money; admin may do everything
        #[arg(long)]
        role: Role,
        /// When it ends: a span such as 90d, or a time such as 2027-01-01T00:00:00Z; without it: never
        #[arg(long, value_name = "WHEN")]
        expires: Option<Expiry>,
    },
    /// List tokens; their secrets are not kept
    Ls,
    /// Take a token out of use at once, and sign out the browsers that came by it
    Revoke {
        /// Its name
        name: String,
    },
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let data = args.which.existing_data()?;
    let gate = args.which.running()?;
    let tokens = Tokens::open(&data.join(TOKENS_FILE));
    match args.verb {
        Verb::Create { name, role, expires } => {
            let wish = TokenWish { name, role, expires };
            let document = match gate {
                Some(gate) => gate.post("tokens", &wish)?,
                None => document(&tokens.create(&wish, wall_clock()).map_err(wrong)?)?,
            };
            give(output, &document, |out| {
                let text = |key: &str| document[key].as_str().unwrap_or("never").to_owned();
                writeln!(out, "token    {}\nname     {}", text("token"), text("name"))?;
                writeln!(out, "role     {}\nexpires  {}", text("role"), moment(&text("expires_at")))?;
                writeln!(out, "It is shown this once: only its hash is kept.")
            })?;
        }
        Verb::Ls => ls(gate.as_ref(), &tokens, output)?,
        Verb::Revoke { name } => {
            let document = match gate {
                Some(gate) => gate.post(&format!("tokens/{}/revoke", segment(&name)), &json!({}))?,
                None if tokens.revoke(&name).map_err(wrong)? => {
                    json!({ "schema": "wattstile.order/1", "name": name, "revoked": true })
                }
                None => return Err(CliError::not_found(format!("there is no token `{name}`"))),
            };
            give(output, &document, |out| writeln!(out, "{name}  is revoked"))?;
        }
    }
    Ok(Exit::Ok)
}

fn ls(gate: Option<&Source>, tokens: &Tokens, output: &Output) -> Result<(), CliError> {
    let document = match gate {
        Some(gate) => gate.get("tokens", &[])?,
        None => {
            let rows = tokens.rows(wall_clock()).map_err(wrong)?;
            json!({ "schema": "wattstile.token-list/1", "items": rows, "next": null })
        }
    };
    let rows: Vec<TokenRow> = serde_json::from_value(document["items"].clone()).map_err(CliError::failed)?;
    let cells = rows.iter().map(|row| {
        let until = row.expires_at.as_deref().map_or("never".to_owned(), moment);
        let until = if row.expired { format!("{until} (over)") } else { until };
        vec![row.name.clone(), row.role.to_string(), moment(&row.created_at), until]
    });
    let cells: Vec<Vec<String>> = cells.collect();
    give(output, &document, |out| table(out, &["name", "role", "made", "expires"], &cells))
}

fn document<T: serde::Serialize>(answer: &T) -> Result<Value, CliError> {
    serde_json::to_value(answer).map_err(CliError::failed)
}

fn wrong(error: TokenError) -> CliError {
    match error {
        TokenError::Name | TokenError::Over(_) => CliError::new(Exit::Usage, error),
        TokenError::Taken(_) | TokenError::Many => CliError::new(Exit::Refused, error),
        TokenError::File { .. } => CliError::failed(error),
        TokenError::Content { .. } => CliError::caused(Exit::Config, &error),
    }
}
