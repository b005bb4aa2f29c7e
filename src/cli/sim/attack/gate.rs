//! The gate that is attacked: a process of its own, with everything that it needs in one folder.

use crate::cli::{CliError, Exit};
use crate::host::wall_clock;
use crate::sim::attack::{ATTACKERS, Attacker, ConsoleWay, Ways};
use crate::sim::pace::FastClock;
use crate::tariff::Tariff;
use crate::transport::Trust;
use crate::transport::pki_folder::PkiFolder;
use crate::units::Currency;
use crate::web::{ConsoleEndpoint, ENDPOINT_FILE};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The tariff of this currency: a start, energy, time and parking, each with tax, so that every kind of component has a
/// part in every receipt.
fn tariff_text(currency: Currency) -> String {
    let (id, code) = (tariff_id(currency), currency.code());
    format!(
        r#"{{
  "country_code": "NL", "party_id": "WST", "id": "{id}", "currency": "{code}", "preauthorize_amount": 20.00,
  "elements": [{{"price_components": [
    {{"type": "FLAT", "price": 0.50, "vat": 21.0, "step_size": 1}},
    {{"type": "ENERGY", "price": 0.42, "vat": 21.0, "step_size": 1}},
    {{"type": "TIME", "price": 1.20, "vat": 21.0, "step_size": 1}},
    {{"type": "PARKING_TIME", "price": 2.40, "vat": 21.0, "step_size": 1}}
  ]}}],
  "last_updated": "2026-01-01T00:00:00Z"
}}"#
    )
}

fn tariff_id(currency: Currency) -> String {
    format!("ATTACK-{}", currency.code())
}

/// The tariff of the regular chargers.
pub(super) fn tariff() -> Result<Tariff, CliError> {
    Ok(Tariff::parse(&tariff_text(Currency::EUR)).map_err(CliError::failed)?.tariff)
}

/// A gate that runs as `wattstile serve`.
pub(super) struct OwnGate {
    dir: PathBuf,
    chargers: SocketAddr,
    processors: SocketAddr,
    probes: SocketAddr,
    child: Option<Child>,
}

/// How long a gate may take to be ready.
const READY: Duration = Duration::from_secs(90);
/// How long it may take to end in good order.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

impl OwnGate {
    /// Makes certificates, a tariff and a configuration in the folder, and starts it.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn start(dir: &Path) -> Result<OwnGate, CliError> {
        let write = |path: PathBuf, text: &str| fs::write(&path, text).map_err(|error| CliError::file(&path, &error));
        let tariffs = dir.join("tariffs");
        fs::create_dir_all(&tariffs).map_err(|error| CliError::file(&tariffs, &error))?;
        let of_attackers = ATTACKERS.iter().map(Attacker::chargers).filter(|(_, currency)| *currency != Currency::EUR);
        let of_attackers: Vec<(String, Currency)> = of_attackers.collect();
        for currency in of_attackers.iter().map(|(_, currency)| *currency).chain([Currency::EUR]) {
            write(tariffs.join(format!("{}.json", tariff_id(currency))), &tariff_text(currency))?;
        }
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        PkiFolder::open_or_create(&dir.join("pki"), "wattstile.local", &names, wall_clock())
            .map_err(CliError::failed)?;
        let (chargers, processors, probes) = (free_address()?, free_address()?, free_address()?);
        let config = format!(
            "[gate]\ndata_dir = {dir:?}\npartitions = 8\n\n\
             [chargers]\nlisten = \"{chargers}\"\nsilence = \"30s\"\nlate_readings = \"5s\"\nno_start = \"30s\"\n\n\
             [processors]\nlisten = \"{processors}\"\n\n[console]\nlisten = \"127.0.0.1:0\"\nprobes_listen = \"{probes}\"\n\n\
             [tariffs]\ndefault = \"ATTACK-EUR\"\n\n\
             [payment]\nanswer_authorize = \"3s\"\nanswer_increment = \"3s\"\nanswer_capture = \"3s\"\n\
             answer_void = \"3s\"\nanswer_refund = \"3s\"\n\n\
             [journal]\nlog_mib_max = 512\n\n\
             [[site]]\nid = \"EVIL-wildcard-site-00\"\nchargers = [\"EVIL-wild-*\"]\n",
            dir = dir.display().to_string(),
        );
        let assigned = of_attackers.iter().map(|(chargers, currency)| {
            format!("\n[[assignment]]\nchargers = \"{chargers}\"\ntariff = \"{}\"\n", tariff_id(*currency))
        });
        let config: String = std::iter::once(config).chain(assigned).collect();
        write(dir.join("wattstile.toml"), &config)?;
        let mut gate = OwnGate { dir: dir.to_owned(), chargers, processors, probes, child: None };
        gate.start_again()?;
        Ok(gate)
    }

    /// Starts its process and waits until it is ready.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn start_again(&mut self) -> Result<(), CliError> {
        let path = self.dir.join("gate.log");
        let log = fs::OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(|error| CliError::file(&path, &error))?;
        let errors = log.try_clone().map_err(|error| CliError::file(&path, &error))?;
        let mut command = Command::new(std::env::current_exe().map_err(CliError::failed)?);
        command.args(["serve", "--config"]).arg(self.dir.join("wattstile.toml"));
        let mut child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().map_err(CliError::failed)?;
        let deadline = Instant::now() + READY;
        let is_ready = |pid: u32| {
            let place = console_place(&self.dir.join("data")).filter(|place| place.pid == pid);
            place.is_some() && TcpStream::connect(self.processors).is_ok()
        };
        while !is_ready(child.id()) {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(CliError::failed(format!("the gate ended with {status}: see {}", path.display())));
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let text = format!("the gate does not come up: see {}", path.display());
                return Err(CliError::new(Exit::Unreachable, text));
            }
            std::thread::sleep(RETRY_INTERVAL);
        }
        self.child = Some(child);
        Ok(())
    }

    /// How peers and attackers reach it.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn ways(&self) -> Result<Ways, CliError> {
        let folder = PkiFolder::open(&self.dir.join("pki")).map_err(CliError::failed)?;
        let trust = Trust::new(std::slice::from_ref(folder.root()), "localhost").map_err(CliError::failed)?;
        let console = ConsoleWay { probes: self.probes, ..console_of(&self.dir.join("data"))? };
        let listeners = (self.chargers, self.processors);
        Ok(Ways::new(listeners, Some(console), folder, trust, Arc::new(FastClock::new(1))))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Its exit code, if it has ended by itself; the code is missing when a signal ended it.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        match self.child.as_mut()?.try_wait() {
            Ok(Some(status)) => {
                self.child = None;
                Some(status.code())
            }
            Ok(None) | Err(_) => None,
        }
    }

    /// SIGTERM, and its exit code; missing when it does not end in time.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn terminate(&mut self) -> Result<Option<i32>, CliError> {
        let Some(mut child) = self.child.take() else { return Ok(None) };
        Command::new("kill").arg(child.id().to_string()).status().map_err(CliError::failed)?;
        let deadline = Instant::now() + ENDS_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait().map_err(CliError::failed)? {
                return Ok(status.code());
            }
            std::thread::sleep(RETRY_INTERVAL);
        }
        let _ = child.kill();
        let _ = child.wait();
        Ok(None)
    }
}

impl Drop for OwnGate {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The console of the gate that runs on this data.
pub(super) fn console_of(data: &Path) -> Result<ConsoleWay, CliError> {
    let place = console_place(data)
        .ok_or_else(|| CliError::new(Exit::Unreachable, format!("no gate runs on {}", data.display())))?;
    Ok(ConsoleWay { address: place.address, probes: place.address, token: place.token })
}

fn console_place(data: &Path) -> Option<ConsoleEndpoint> {
    serde_json::from_slice(&fs::read(data.join(ENDPOINT_FILE)).ok()?).ok()
}

fn free_address() -> Result<SocketAddr, CliError> {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(CliError::failed)
}
