//! The unit for systemd: verified by systemd's own tools, and compared with the gate's needs.

use super::{WATTSTILE, done, root, tool};
use std::fs;
use std::process::Command;
use wattstile::cli::Exit;
use wattstile::config::Config;
use wattstile::limits;
use wattstile::transport::descriptors::Plan;

const UNIT: &str = include_str!("../../../src/packaging/systemd/wattstile.service");

/// Every value of a setting, in order.
fn values(key: &str) -> Vec<&'static str> {
    UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

fn value(key: &str) -> &'static str {
    let found = values(key);
    assert_eq!(found.len(), 1, "{key}");
    found[0]
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("wattstile.service");
    // The program and its pages are not installed here.
    let text = UNIT.replace("/usr/bin/wattstile", WATTSTILE);
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("Documentation=")).collect();
    fs::write(&unit, text.join("\n")).unwrap();
    let verified = Command::new(&analyze).arg("verify").arg("--recursive-errors=no").arg(&unit).output().unwrap();
    let shown = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !shown.contains("wattstile"), "{shown}");
    // 1.5 of 10; the rest is its use of the network.
    done(Command::new(&analyze).args(["security", "--no-pager", "--offline=true", "--threshold=15"]).arg(&unit));
}

#[test]
fn the_drop_in_for_credentials_is_sound() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    let drop_in = fs::read_to_string(root().join("src/packaging/systemd/credentials.conf")).unwrap();
    let unit = folder.path().join("wattstile.service");
    let text = UNIT.replace("/usr/bin/wattstile", WATTSTILE);
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("Documentation=")).collect();
    fs::write(&unit, text.join("\n") + "\n" + &drop_in).unwrap();
    let verified = Command::new(&analyze).arg("verify").arg("--recursive-errors=no").arg(&unit).output().unwrap();
    let shown = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !shown.contains("wattstile"), "{shown}");
    assert!(drop_in.lines().any(|line| line.starts_with("LoadCredential=")));
}

#[test]
fn open_files_fit_the_built_in_bounds() {
    let config = Config::default();
    let most = |connections: u32| connections as usize;
    let plan = Plan::wanted(most(config.chargers.connections_max), most(config.processors.connections_max));
    // What a gate has open beside its listeners, as `doctor` counts it.
    let wanted = plan.total() + 128 + limits::DESCRIPTORS_RESERVED;
    let limit: u64 = value("LimitNOFILE").parse().unwrap();
    assert!(limit >= wanted, "{limit} are allowed, {wanted} are wanted");
}

#[test]
fn what_fails_the_same_way_again_is_not_started_again() {
    let prevented: Vec<u8> = value("RestartPreventExitStatus").split(' ').map(|code| code.parse().unwrap()).collect();
    for exit in [Exit::Usage, Exit::Refused, Exit::Corrupt, Exit::Config] {
        assert!(prevented.contains(&exit.code()), "{exit:?}");
    }
    for exit in [Exit::Failed, Exit::Temporary, Exit::Unreachable] {
        assert!(!prevented.contains(&exit.code()), "{exit:?} may pass");
    }
    assert_eq!((value("Restart"), value("StartLimitIntervalSec")), ("on-failure", "0"));
}

#[test]
fn the_gate_is_started_as_the_program_can_be() {
    let start = value("ExecStart");
    let arguments: Vec<&str> = start.split(' ').skip(1).collect();
    assert_eq!(arguments[0], "serve");
    let ran = Command::new(WATTSTILE).args(&arguments).output().unwrap();
    let shown = String::from_utf8_lossy(&ran.stderr);
    assert!(
        shown.contains("/etc/wattstile/wattstile.toml"),
        "the arguments are understood, only the file is not here: {shown}"
    );
    assert_eq!(value("Type"), "notify");
    assert!(value("ExecReload").contains("HUP"));
    assert_eq!(format!("/var/lib/{}", value("StateDirectory")), value("WorkingDirectory"));
}
