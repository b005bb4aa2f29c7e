//! How the process ends: one number per kind of ending, the same for every verb.

use std::process::ExitCode;

/// The exit codes. They are part of the interface: scripts branch on them, so a number is never given a second meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It was tried and failed, or a check found something wrong.
    Failed = 1,
    /// The arguments make no sense (clap ends with the same number).
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 3,
    /// Refused by a rule, or in conflict with what is already there.
    Refused = 4,
    /// A peer could not be reached, or did not answer in time.
    Unreachable = 5,
    /// Stored data is damaged (sysexits: EX_DATAERR).
    Corrupt = 65,
    /// A failure of ours that a later start may not have: a full disk, a failed sync (sysexits: EX_TEMPFAIL).
    Temporary = 75,
    /// The configuration is invalid (sysexits: EX_CONFIG).
    Config = 78,
    /// Stopped from outside by SIGINT (128 + 2, as a shell reports it).
    Interrupted = 130,
}

impl Exit {
    /// Every code with what it means, for the help text and the manual.
    pub const ALL: [(Exit, &'static str); 10] = [
        (Exit::Ok, "done"),
        (Exit::Failed, "failed, or a check found something wrong"),
        (Exit::Usage, "wrong arguments"),
        (Exit::NotFound, "not found"),
        (Exit::Refused, "refused by a rule, or in conflict with what is there"),
        (Exit::Unreachable, "a peer is unreachable or did not answer in time"),
        (Exit::Corrupt, "stored data is damaged"),
        (Exit::Temporary, "a failure of ours that may pass: full disk, failed sync"),
        (Exit::Config, "the configuration is invalid"),
        (Exit::Interrupted, "interrupted"),
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a verb did not do what was asked, in words for the person at the terminal.
///
/// The rooms below have their own typed errors; this is where they become an exit code and a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// How the process ends.
    pub exit: Exit,
    /// What went wrong and with what; one line, or several that were rendered already.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// It stands in the log already.
    pub is_logged: bool,
}

impl CliError {
    /// An error that ends the process with this code.
    pub fn new(exit: Exit, message: impl ToString) -> CliError {
        CliError { exit, message: message.to_string(), help: None, is_logged: false }
    }

    /// Adds what to do about it.
    pub fn help(mut self, help: impl ToString) -> CliError {
        self.help = Some(help.to_string());
        self
    }

    /// A failure ([`Exit::Failed`]).
    pub fn failed(message: impl ToString) -> CliError {
        CliError::new(Exit::Failed, message)
    }

    /// Something that is not there ([`Exit::NotFound`]).
    pub fn not_found(message: impl ToString) -> CliError {
        CliError::new(Exit::NotFound, message)
    }

    /// A file that could not be read or written, named.
    pub fn file(path: &std::path::Path, error: &std::io::Error) -> CliError {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Exit::Temporary,
            _ => Exit::Failed,
        };
        CliError::new(exit, format!("{}: {error}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_code_once_in_order() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 65, 75, 78, 130]);
    }

    #[test]
    fn the_manual_has_the_same_table() {
        let manual = include_str!("../manual/operations.md");
        for (exit, meaning) in Exit::ALL {
            let row = format!("| {} | {meaning} |", exit.code());
            assert!(manual.contains(&row), "{row}");
        }
    }

    #[test]
    fn a_full_disk_is_a_failure_that_may_pass() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = CliError::file(std::path::Path::new("receipts/1.json"), &full);
        assert_eq!(error.exit, Exit::Temporary);
        assert!(error.to_string().starts_with("receipts/1.json: "), "{error}");
    }
}
