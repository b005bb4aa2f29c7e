//! How the process ends: one number per kind of ending, the same for every verb.

use super::journal;
use crate::app::StartError;
use std::error::Error;
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
    /// The requested item does not exist.
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
        (Exit::Refused, "refused by a rule, or in conflict with the existing data"),
        (Exit::Unreachable, "a peer is unreachable or did not answer in time"),
        (Exit::Corrupt, "stored data is damaged"),
        (Exit::Temporary, "a failure of ours that may pass: full disk, failed sync"),
        (Exit::Config, "the configuration is invalid, or names what cannot be used"),
        (Exit::Interrupted, "interrupted"),
    ];

    /// The code of what the system refused, where it has one of its own: a full disk may pass, a read-only one has to be
    /// mounted or named otherwise.
    pub fn of_system(error: &std::io::Error) -> Option<Exit> {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Some(Exit::Temporary),
            std::io::ErrorKind::ReadOnlyFilesystem => Some(Exit::Config),
            _ => None,
        }
    }

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

/// Reason why a verb failed, with a text for the terminal.
///
/// Lower modules have typed errors; here they become an exit code and a text.
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
        let exit = Exit::of_system(error).unwrap_or(match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        });
        CliError::new(exit, format!("{}: {error}", path.display()))
    }

    /// An error of a room below: `exit`, unless an error of the system behind it has a code of its own.
    pub fn caused(exit: Exit, error: &(dyn Error + 'static)) -> CliError {
        let mut cause = Some(error);
        while let Some(behind) = cause {
            if let Some(exit) = behind.downcast_ref().and_then(Exit::of_system) {
                return CliError::new(exit, error);
            }
            cause = behind.source();
        }
        CliError::new(exit, error)
    }

    /// Why a gate did not start, or its data could not be read.
    pub fn start(error: &StartError) -> CliError {
        match error {
            StartError::Journal(failure) => journal::error(failure),
            StartError::Files(_) | StartError::System { .. } => CliError::caused(Exit::Failed, error),
        }
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

    #[test]
    fn a_read_only_disk_is_a_matter_of_configuration_wherever_it_shows() {
        let read_only = || std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem);
        let path = std::path::PathBuf::from("data/lock");
        assert_eq!(CliError::file(&path, &read_only()).exit, Exit::Config);
        let of_a_file = crate::transport::files::FileError::Io { path: path.clone(), error: read_only() };
        assert_eq!(CliError::caused(Exit::Failed, &of_a_file).exit, Exit::Config);
        let of_the_journal = crate::journal::Failure::Io { doing: "opening", path, source: read_only() };
        assert_eq!(journal::error(&of_the_journal).exit, Exit::Config);
        assert_eq!(CliError::start(&StartError::Journal(of_the_journal)).exit, Exit::Config);
    }
}
