//! `wattstile completions`: what a shell completes after `wattstile`.

use super::{CliError, Exit, Output};
use clap_complete::{Shell, generate};

/// Print the completions of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
wattstile completions bash > /etc/bash_completion.d/wattstile\n  \
wattstile completions zsh > ~/.zfunc/_wattstile\n  \
wattstile completions fish > ~/.config/fish/completions/wattstile.fish")]
pub struct Args {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script that the shell reads.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    generate(args.shell, &mut super::command(), super::NAME, &mut script);
    output.raw(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
