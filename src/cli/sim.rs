//! `wattstile sim`: simulated peers in a process of their own, over the real protocol.

mod attack;
mod chaos;
mod fleet;
mod processor;
mod served;
mod settling;
mod tokens;

use super::{CliError, Exit, Output};
use crate::host::wall_clock;
use crate::message::Subject;
use crate::sim::pipe::Dialler;
use crate::sim::tls::dialler;
use crate::transport::pki_folder::PkiFolder;
use crate::transport::resolve;
use crate::transport::{Connector, Signals, Trust, Wish};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// Simulated chargers and processors
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Run simulated chargers with their drivers
    Fleet(fleet::Args),
    /// Run a simulated payment processor
    Processor(processor::Args),
    /// Attack a gate while honest drivers charge, and check what it promises
    Attack(attack::Args),
    /// Kill a gate while its peers misbehave, and compare the books afterwards
    Chaos(chaos::Args),
    /// Simulate a gate, its chargers and its processors on a virtual clock while everything goes wrong
    World(super::simulate::Args),
    /// List the tokens and amounts that make a simulated processor misbehave
    Tokens,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
pub fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    match args.verb {
        Verb::Fleet(args) => fleet::run(args, output),
        Verb::Processor(args) => processor::run(args, output),
        Verb::Attack(args) => attack::run(args, output),
        Verb::Chaos(args) => chaos::run(args, output),
        Verb::World(args) => super::simulate::run(args, output),
        Verb::Tokens => tokens::run(output),
    }
}

/// The gate's address, and the certificates of its peers.
#[derive(Debug, clap::Args)]
struct Target {
    /// The gate's listener for these peers
    #[arg(value_parser = resolve, long, value_name = "ADDRESS", env = "WATTSTILE_GATE")]
    gate: SocketAddr,
    /// The gate's name in its certificate
    #[arg(long, value_name = "NAME", default_value = "localhost", env = "WATTSTILE_GATE_NAME")]
    gate_name: String,
    /// Folder of the development PKI that issues the peers' certificates
    #[arg(long, value_name = "DIR", env = "WATTSTILE_PKI", default_value = ".wattstile/gate/pki")]
    pki: PathBuf,
}

/// Validity of the certificates of simulated peers, in days.
const CERTIFICATE_DAYS: u32 = 30;

/// The way of every peer to the gate.
struct Ways {
    folder: PkiFolder,
    trust: Trust,
    gate: SocketAddr,
}

impl Target {
    fn open(&self) -> Result<Ways, CliError> {
        let folder = PkiFolder::open(&self.pki).map_err(|error| {
            CliError::new(Exit::NotFound, error).help("`wattstile cert init` makes a PKI; --pki names its folder")
        })?;
        let trust = Trust::new(std::slice::from_ref(folder.root()), &self.gate_name).map_err(CliError::failed)?;
        Ok(Ways { folder, trust, gate: self.gate })
    }
}

impl Ways {
    fn of(&mut self, subject: &Subject) -> Result<Dialler, CliError> {
        Ok(dialler(self.connector(subject)?, self.gate))
    }

    /// How a peer connects, wherever.
    fn connector(&mut self, subject: &Subject) -> Result<Connector, CliError> {
        let own = self.folder.peer(subject, CERTIFICATE_DAYS, wall_clock()).map_err(CliError::failed)?;
        Connector::new(&self.trust, own).map_err(CliError::failed)
    }
}

/// A runtime for simulated peers.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("sim")
        .enable_all()
        .build()
        .map_err(CliError::failed)
}

/// Waits until the time is over or a signal arrives; meanwhile calls `beat` twice a second.
async fn until_the_end(duration: Option<Duration>, mut beat: impl FnMut()) -> Result<(), CliError> {
    let mut signals = Signals::new().map_err(CliError::failed)?;
    let end = duration.map(|duration| Instant::now() + duration);
    loop {
        let next = Instant::now() + Duration::from_millis(500);
        let next = end.map_or(next, |end| end.min(next));
        tokio::select! {
            wish = signals.next() => if wish != Wish::Reload { return Ok(()) },
            () = tokio::time::sleep_until(next) => {}
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok(());
        }
        beat();
    }
}
