//! A gate in a process of its own, for chaos: started, killed with SIGKILL, started again, ended in good order.

use crate::cli::{CliError, Exit};
use crate::host::wall_clock;
use crate::message::Subject;
use crate::sim::tls::dialler;
use crate::transport::pki_folder::PkiFolder;
use crate::transport::{Connector, Trust};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// 0.42 per kWh and 21 % on top.
const TARIFF: &str = r#"{
  "country_code": "NL", "party_id": "WST", "id": "CHAOS", "currency": "EUR", "preauthorize_amount": 20.00,
  "elements": [{"price_components": [{"type": "ENERGY", "price": 0.42, "vat": 21.0, "step_size": 1}]}],
  "last_updated": "2026-01-01T00:00:00Z"
}"#;

/// A gate that runs as `wattstile serve`, and can be killed and started again.
pub(super) struct Served {
    dir: PathBuf,
    pki: PkiFolder,
    trust: Trust,
    chargers: SocketAddr,
    processors: SocketAddr,
    child: Option<Child>,
}

/// How long a gate may take to be ready.
const READY: Duration = Duration::from_secs(60);

impl Served {
    pub(super) fn start(dir: &Path) -> Result<Served, CliError> {
        let file = |path: &Path, error: io::Error| CliError::file(path, &error);
        let tariffs = dir.join("tariffs");
        fs::create_dir_all(&tariffs).map_err(|error| file(&tariffs, error))?;
        let tariff = tariffs.join("chaos.json");
        fs::write(&tariff, TARIFF).map_err(|error| file(&tariff, error))?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let pki = PkiFolder::open_or_create(&dir.join("pki"), "wattstile.local", &names, wall_clock())
            .map_err(CliError::failed)?;
        let trust = Trust::new(std::slice::from_ref(pki.root()), "localhost").map_err(CliError::failed)?;
        let (chargers, processors) = (free_address()?, free_address()?);
        let mut served = Served { dir: dir.to_owned(), pki, trust, chargers, processors, child: None };
        served.start_again()?;
        Ok(served)
    }

    pub(super) fn start_again(&mut self) -> Result<(), CliError> {
        let path = self.dir.join("gate.log");
        let log = fs::OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(|error| CliError::file(&path, &error))?;
        let errors = log.try_clone().map_err(|error| CliError::file(&path, &error))?;
        let set = [
            format!("gate.data_dir={}", self.dir.display()),
            format!("chargers.listen={}", self.chargers),
            format!("processors.listen={}", self.processors),
            "console.listen=127.0.0.1:0".to_owned(),
            "tariffs.default=CHAOS".to_owned(),
            "gate.partitions=8".to_owned(),
            "gate.shards=2".to_owned(),
            "payment.answer_authorize=2s".to_owned(),
            "log.level=warn".to_owned(),
        ];
        let mut command = Command::new(std::env::current_exe().map_err(CliError::failed)?);
        command.arg("serve").stdin(Stdio::null()).stdout(log).stderr(errors);
        for setting in set {
            command.arg("--set").arg(setting);
        }
        let mut child = command.spawn().map_err(CliError::failed)?;
        let deadline = Instant::now() + READY;
        while TcpStream::connect(self.processors).is_err() {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(CliError::failed(format!("the gate ended with {status}: see {}", path.display())));
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                return Err(CliError::new(
                    Exit::Unreachable,
                    format!("the gate does not come up: see {}", path.display()),
                ));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child = Some(child);
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM; it has to end well.
    pub(super) fn terminate(&mut self) -> Result<(), CliError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let asked = Command::new("kill").arg(child.id().to_string()).status().map_err(CliError::failed)?;
        if !asked.success() {
            let _ = child.kill();
        }
        let status = child.wait().map_err(CliError::failed)?;
        if status.success() { Ok(()) } else { Err(CliError::failed(format!("the gate ended with {status}"))) }
    }

    pub(super) fn dialler(&mut self, subject: &Subject) -> Result<crate::sim::pipe::Dialler, CliError> {
        let own = self.pki.peer(subject, super::CERTIFICATE_DAYS, wall_clock()).map_err(CliError::failed)?;
        let address = match subject {
            Subject::Processor(_) => self.processors,
            Subject::Charger(_) | Subject::Site(_) | Subject::Gate(_) => self.chargers,
        };
        Ok(dialler(Connector::new(&self.trust, own).map_err(CliError::failed)?, address))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_address() -> Result<SocketAddr, CliError> {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(CliError::failed)
}
