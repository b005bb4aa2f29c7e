//! Notifications of the gate to the service manager that started it.

use crate::common::Served;
use std::collections::BTreeMap;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};
use wattstile::journal::Layout;

/// One message: its lines by name.
type Notices = BTreeMap<String, String>;

/// A service manager that listens.
struct Manager(UnixDatagram);

impl Manager {
    fn notices(&self) -> Notices {
        let mut buffer = [0; 4_096];
        let length = self.0.recv(&mut buffer).expect("the gate tells something");
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        text.lines()
            .map(|line| line.split_once('=').unwrap())
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    /// The first message with this line.
    fn notices_until(&self, name: &str) -> Notices {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let shown = self.notices();
            if shown.contains_key(name) {
                return shown;
            }
        }
        panic!("nothing of {name} for 30 s");
    }

    fn new(socket: UnixDatagram) -> Manager {
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Manager(socket)
    }
}

/// A gate that is not started yet.
fn gate(more: &[(&str, &str)]) -> Served {
    let layout = Layout { partitions: 8, generation_blocks: 4_096 };
    let mut gate = Served::stopped(tempfile::tempdir().unwrap(), layout, &[]);
    gate.environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    gate
}

#[test]
fn readiness_reloads_health_and_the_end_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::new(UnixDatagram::bind(&path).unwrap());
    let mut gate = gate(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")]);
    let config = folder.path().join("wattstile.toml");
    fs::write(&config, "[log]\nlevel = \"info\"\n").unwrap();
    gate.arguments = ["--config", config.to_str().unwrap()].map(str::to_owned).to_vec();
    gate.start_again();

    let first = manager.notices();
    assert!(first["STATUS"].starts_with("starting") && !first.contains_key("READY"), "{first:?}");
    assert_eq!(first["EXTEND_TIMEOUT_USEC"], "60000000", "a long recovery is no reason to be killed");
    assert_eq!(manager.notices_until("READY")["READY"], "1");
    assert_eq!(gate.asks("/readyz").0, 200);
    let fed = manager.notices_until("WATCHDOG");
    assert_eq!(fed["WATCHDOG"], "1");
    assert_eq!(fed["STATUS"], "ready: 0 chargers online, 0 connections of processors, 0 sessions charging, 0 settling");

    gate.signal("HUP");
    let reloading = manager.notices_until("RELOADING");
    let micros: u64 = reloading["MONOTONIC_USEC"].parse().unwrap();
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
    let late = uptime - micros as f64 / 1e6;
    assert!((-1.0..30.0).contains(&late), "it is this machine's monotonic clock: {micros}, {uptime}");
    let ready = manager.notices_until("READY");
    assert_eq!(ready["STATUS"], "ready: loaded again");

    fs::write(&config, "[log]\nlevl = \"info\"\n").unwrap();
    gate.signal("HUP");
    manager.notices_until("RELOADING");
    let ready = manager.notices_until("READY");
    assert!(ready["STATUS"].contains("not all could be loaded again"), "{ready:?}");
    assert!(manager.notices_until("WATCHDOG")["STATUS"].contains("the last reload failed"));

    gate.signal("TERM");
    let stopping = manager.notices_until("STOPPING");
    assert!(stopping["STATUS"].starts_with("stopping"), "{stopping:?}");
    assert_eq!(gate.ended(Duration::from_secs(30)), Some(0));
}

#[test]
fn an_abstract_socket_is_found_and_without_watchdog_none_is_fed() {
    let name = format!("wattstile-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::new(UnixDatagram::bind_addr(&address).unwrap());
    // The watchdog of another process is not ours.
    let mut gate = gate(&[("NOTIFY_SOCKET", &format!("@{name}")), ("WATCHDOG_USEC", "200000"), ("WATCHDOG_PID", "1")]);
    gate.start_again();
    manager.notices_until("READY");
    std::thread::sleep(Duration::from_millis(600));
    gate.signal("TERM");
    loop {
        let shown = manager.notices();
        assert!(!shown.contains_key("WATCHDOG"), "{shown:?}");
        if shown.contains_key("STOPPING") {
            break;
        }
    }
    assert_eq!(gate.ended(Duration::from_secs(30)), Some(0));
}

#[test]
fn a_manager_that_does_not_listen_is_no_reason_to_end() {
    let mut gate = gate(&[("NOTIFY_SOCKET", "/nonexistent/notify"), ("WATCHDOG_USEC", "nonsense")]);
    gate.start_again();
    assert!(gate.log().contains("the service manager cannot be notified"), "{}", gate.log());
    assert_eq!(gate.terminate(), Some(0));
}

/// systemd hands a credential to the user of a service by an access list; its mask looks like a right of the group.
#[test]
fn a_credential_of_the_service_manager_may_look_readable_by_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("console.token");
    fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let mut gate = gate(&[("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap())]);
    gate.arguments = vec!["--set".to_owned(), format!("console.token_file={}", token.display())];
    for (mode, starts) in [(0o440, true), (0o444, false)] {
        fs::set_permissions(&token, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(gate.attempt(), starts, "{mode:o}: {}", gate.log());
        if starts {
            assert_eq!(gate.terminate(), Some(0));
        }
    }
    gate.environment.clear();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o440)).unwrap();
    assert!(!gate.attempt(), "anywhere else the group may read it");
}
