//! A gate in a process of its own, and what its peers need to reach it.

#![allow(dead_code)]

pub mod business;
pub mod driven;
pub mod postgres;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wattstile::journal::{DataDir, Layout};
use wattstile::message::Subject;
use wattstile::sim::pipe::Dialler;
use wattstile::sim::tls::dialler;
use wattstile::transport::pki::{Certified, Reason, Validity};
use wattstile::transport::pki_folder::PkiFolder;
use wattstile::transport::{Connector, Trust};
use wattstile::units::{Clock, TimeSpan, Timestamp};
use wattstile::web::{ConsoleEndpoint, ENDPOINT_FILE};

/// 0.50 to start, 0.42 per kWh, and 21 % on top.
pub const TARIFF: &str = r#"{
  "country_code": "NL", "party_id": "WST", "id": "TEST", "currency": "EUR", "preauthorize_amount": 20.00,
  "elements": [{"price_components": [
    {"type": "FLAT", "price": 0.50, "vat": 21.0, "step_size": 1},
    {"type": "ENERGY", "price": 0.42, "vat": 21.0, "step_size": 1}
  ]}],
  "last_updated": "2026-01-01T00:00:00Z"
}"#;

/// A gate that runs as `wattstile serve`, and can be killed and started again.
pub struct Served {
    folder: tempfile::TempDir,
    pki: PkiFolder,
    trust: Trust,
    pub chargers: SocketAddr,
    pub processors: SocketAddr,
    more: Vec<String>,
    /// Arguments of `serve` beside the settings.
    pub arguments: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// What starts it: a program and arguments that its own command line is appended to.
    pub started_by: Vec<String>,
    child: Option<Child>,
}

impl Served {
    /// Makes certificates, a tariff and an empty data directory, and starts the gate.
    pub fn start(more: &[&str]) -> Served {
        Served::start_on(Layout { partitions: 8, generation_blocks: 4_096 }, more)
    }

    /// The same with a log in generations of another size: small ones are let go soon.
    pub fn start_on(layout: Layout, more: &[&str]) -> Served {
        let mut served = Served::stopped(tempfile::tempdir().unwrap(), layout, more);
        served.start_again();
        served
    }

    /// Everything that a gate needs, in this folder; it does not run yet.
    pub fn stopped(folder: tempfile::TempDir, layout: Layout, more: &[&str]) -> Served {
        let pki = folder.path().join("pki");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let pki = PkiFolder::open_or_create(&pki, "wattstile.local", &names, now()).unwrap();
        let trust = Trust::new(&[pki.root().clone()], "localhost").unwrap();
        fs::create_dir(folder.path().join("tariffs")).unwrap();
        fs::write(folder.path().join("tariffs/test.json"), TARIFF).unwrap();
        DataDir::create(&folder.path().join("data"), layout).unwrap();
        let [chargers, processors] = free_addresses();
        let more = more.iter().map(|&more| more.to_owned()).collect();
        Served {
            folder,
            pki,
            trust,
            chargers,
            processors,
            more,
            arguments: Vec::new(),
            environment: Vec::new(),
            started_by: Vec::new(),
            child: None,
        }
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the process and waits until it accepts connections.
    pub fn start_again(&mut self) {
        assert!(self.attempt(), "the gate ended\n{}", self.log());
    }

    /// Starts the process and waits until it accepts connections. False: it ended.
    pub fn attempt(&mut self) -> bool {
        self.spawn();
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(self.processors).is_err() {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                self.child = None;
                return false;
            }
            assert!(Instant::now() < deadline, "the gate does not come up\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        let set = [
            format!("gate.data_dir={}", self.folder.path().display()),
            format!("chargers.listen={}", self.chargers),
            format!("processors.listen={}", self.processors),
            "console.listen=127.0.0.1:0".to_owned(),
            "tariffs.default=TEST".to_owned(),
            "gate.partitions=8".to_owned(),
            "gate.shards=2".to_owned(),
        ];
        let gate = env!("CARGO_BIN_EXE_wattstile");
        let mut command = match self.started_by.split_first() {
            None => Command::new(gate),
            Some((starter, arguments)) => {
                let mut command = Command::new(starter);
                command.args(arguments).arg(gate);
                command
            }
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.arg("serve").args(&self.arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        for setting in set.iter().chain(&self.more) {
            command.args(["--set", setting]);
        }
        self.child = Some(command.spawn().unwrap());
    }

    /// Starts the process where it cannot run, and waits for its exit code.
    pub fn attempt_until_it_ends(&mut self) -> Option<i32> {
        self.spawn();
        self.child.take().expect("it was started").wait().unwrap().code()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Its exit code, when it ends by itself.
    pub fn ended(&mut self, timeout: Duration) -> Option<i32> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            if let Some(status) = self.child.as_mut().expect("it runs").try_wait().unwrap() {
                self.child = None;
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// SIGTERM, and its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.take().expect("it runs").wait().unwrap().code()
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -s {name}");
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Its resident memory, in bytes.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") << 10
    }

    /// Where its console is.
    pub fn console(&self) -> ConsoleEndpoint {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            // Its console's address appears a moment after it accepts connections.
            let place = fs::read(self.folder.path().join("data").join(ENDPOINT_FILE)).ok();
            let place = place.and_then(|bytes| serde_json::from_slice::<ConsoleEndpoint>(&bytes).ok());
            if let Some(place) = place.filter(|place| place.pid == self.id()) {
                return place;
            }
            assert!(Instant::now() < deadline, "no console\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the command line finds it, where it runs: its console opens a moment after the listeners.
    pub fn wait_for_console(&self) {
        if self.child.is_some() {
            self.console();
        }
    }

    /// What its console answers without a token: `/metrics`, `/livez`, `/readyz`.
    pub fn asks(&self, path: &str) -> (u16, String) {
        let place = self.console();
        let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
        let mut answer = agent.get(format!("http://{}{path}", place.address)).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    /// A way for a peer to reach it.
    pub fn dialler(&mut self, subject: &Subject) -> Dialler {
        let own = self.pki.peer(subject, 30, now()).unwrap();
        let address = match subject {
            Subject::Processor(_) => self.processors,
            _ => self.chargers,
        };
        dialler(Connector::new(&self.trust, own).unwrap(), address)
    }

    /// A key and certificate for a peer.
    pub fn certified(&mut self, subject: &Subject) -> Certified {
        self.pki.peer(subject, 30, now()).unwrap()
    }

    /// A key and certificate for a peer that is good for so long.
    pub fn certified_for(&mut self, subject: &Subject, life: Duration) -> Certified {
        let life = TimeSpan::from_ms(life.as_millis().try_into().unwrap());
        let not_before = now().saturating_add(TimeSpan::from_secs(-3_600));
        self.pki.issue(subject, Validity { not_before, not_after: now().saturating_add(life) }).unwrap()
    }

    /// Puts every certificate of a peer on the revocation list; the gate reads the list again by itself, or on SIGHUP.
    pub fn revoke(&mut self, subject: &Subject) {
        self.pki.revoke(subject, Reason::KeyCompromise, now()).unwrap();
    }

    /// By what its peers recognise it.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// A way to a listener with whatever certificate.
    pub fn dialler_with(&self, own: Certified, address: SocketAddr) -> Dialler {
        dialler(Connector::new(&self.trust, own).unwrap(), address)
    }

    /// The script's name and the arguments by which a peer in another language finds the gate.
    pub fn peer_arguments(&mut self, script: &str, subject: &Subject) -> Vec<String> {
        let own = self.certified(subject);
        let out = self.folder.path().join("bundles").join(script);
        let bundle = self.pki.write_bundle(&out, subject, &own.chain, Some(&own)).unwrap();
        let (address, id) = match subject {
            Subject::Processor(id) => (self.processors, id.to_string()),
            Subject::Charger(id) => (self.chargers, id.to_string()),
            other => panic!("{other:?}"),
        };
        let shown = |path: &Path| path.display().to_string();
        let (cert, key, ca) = (shown(&bundle.certificate), shown(&bundle.key.unwrap()), shown(&bundle.authority));
        let port = address.port().to_string();
        let pairs = [
            ("--host", "127.0.0.1"),
            ("--port", &port),
            ("--server-name", "localhost"),
            ("--cert", &cert),
            ("--key", &key),
            ("--ca", &ca),
            ("--id", &id),
        ];
        let arguments = pairs.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]);
        std::iter::once(script.to_owned()).chain(arguments).collect()
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("gate.log")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the gate's log\n{}", self.log());
        }
    }
}

/// Says that a test is skipped because something is missing here. `.ci/run` installs all that tests need and sets
/// `WATTSTILE_TEST_TOOLS`: then it is a failure.
#[track_caller]
pub fn skipped_without(what: impl std::fmt::Display) {
    use std::io::Write as _;
    let must_be_there = std::env::var_os("WATTSTILE_TEST_TOOLS").is_some();
    assert!(!must_be_there, "{what} is missing, and WATTSTILE_TEST_TOOLS is set");
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    // The real standard error: what a test prints is shown only when it fails.
    let _ = writeln!(std::io::stderr(), "\nskipped: {test} needs {what}");
}

/// The wall clock.
pub fn now() -> Timestamp {
    wattstile::host::SystemClock::new().now().wall
}

/// Addresses that nothing listens on, each another: all are taken before the first is given back.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let taken = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    taken.map(|listener| listener.local_addr().unwrap())
}
