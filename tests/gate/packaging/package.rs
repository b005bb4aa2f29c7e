//! The Debian package: what is in it, its installation, and the installed gate in the sandbox of its unit.

use super::{WATTSTILE, done, root, tool};
use crate::common::TARIFF;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The package of the program under test, made once.
fn package() -> Option<&'static Path> {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    tool("dpkg-deb")?;
    Some(MADE.get_or_init(|| build("deb")))
}

fn build(place: &str) -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("packaging-{place}"));
    let _ = fs::remove_dir_all(&out);
    let built = done(
        Command::new(root().join("src/packaging/debian/build"))
            .args(["--development", "--binary", WATTSTILE, "--out"])
            .arg(&out)
            .env("DPKG_DEB_COMPRESSOR_TYPE", "none")
            .env("SOURCE_DATE_EPOCH", "1780000000"),
    );
    PathBuf::from(built.trim())
}

/// The package, unpacked.
fn unpacked() -> Option<tempfile::TempDir> {
    let package = package()?;
    let folder = tempfile::tempdir().unwrap();
    done(Command::new("dpkg-deb").arg("-R").arg(package).arg(folder.path()));
    Some(folder)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o7777
}

#[test]
fn everything_is_in_its_place_with_its_mode() {
    let Some(folder) = unpacked() else { return };
    let tree = folder.path();
    for (path, wanted) in [
        ("usr/bin/wattstile", 0o755),
        ("usr/lib/systemd/system/wattstile.service", 0o644),
        ("usr/lib/sysusers.d/wattstile.conf", 0o644),
        ("usr/lib/tmpfiles.d/wattstile.conf", 0o644),
        ("etc/wattstile/wattstile.toml", 0o644),
        ("etc/wattstile/tariffs", 0o755),
        ("usr/share/man/man1", 0o755),
        ("usr/share/man/man1/wattstile.1.gz", 0o644),
        ("usr/share/man/man1/wattstile-cert-issue.1.gz", 0o644),
        ("usr/share/bash-completion/completions/wattstile", 0o644),
        ("usr/share/zsh/vendor-completions/_wattstile", 0o644),
        ("usr/share/fish/vendor_completions.d/wattstile.fish", 0o644),
        ("usr/share/doc/wattstile/copyright", 0o644),
        ("usr/share/doc/wattstile/changelog.gz", 0o644),
        ("usr/share/doc/wattstile/changelog.Debian.gz", 0o644),
        ("usr/share/doc/wattstile/manual/operations.md", 0o644),
        ("usr/share/doc/wattstile/manual/installation.md", 0o644),
        ("usr/share/doc/wattstile/examples/prometheus/wattstile.rules.yml", 0o644),
        ("usr/share/doc/wattstile/examples/grafana/wattstile.json", 0o644),
        ("DEBIAN/postinst", 0o755),
        ("DEBIAN/prerm", 0o755),
        ("DEBIAN/postrm", 0o755),
    ] {
        assert_eq!(mode(&tree.join(path)), wanted, "{path}");
    }
    let control = fs::read_to_string(tree.join("DEBIAN/control")).unwrap();
    for line in ["Package: wattstile", concat!("Version: ", env!("CARGO_PKG_VERSION"), "-1"), "Depends: libc6 (>= 2."] {
        assert!(control.contains(line), "{line}\n{control}");
    }
    assert_eq!(fs::read_to_string(tree.join("DEBIAN/conffiles")).unwrap(), "/etc/wattstile/wattstile.toml\n");
    let copyright = fs::read_to_string(tree.join("usr/share/doc/wattstile/copyright")).unwrap();
    assert!(copyright.contains("Permission is hereby granted") && copyright.contains("Apache-2.0"), "{copyright}");
    done(Command::new("md5sum").args(["--check", "--quiet", "DEBIAN/md5sums"]).current_dir(tree));

    // What the unit names comes with the package.
    let unit = fs::read_to_string(tree.join("usr/lib/systemd/system/wattstile.service")).unwrap();
    for named in unit.split([' ', '=', '\n']) {
        let installed = match named.strip_prefix("man:").map(|page| page.trim_end_matches("(1)")) {
            Some(page) => format!("usr/share/man/man1/{page}.1.gz"),
            None if named.starts_with("/usr/") || named.starts_with("/etc/") => named[1..].to_owned(),
            None => match named.strip_prefix("file:///") {
                Some(file) => file.to_owned(),
                None => continue,
            },
        };
        assert!(tree.join(&installed).exists(), "{installed}");
    }
    for script in ["postinst", "prerm", "postrm"] {
        done(Command::new("sh").arg("-n").arg(tree.join("DEBIAN").join(script)));
    }
    let shown = done(Command::new(tree.join("usr/bin/wattstile")).arg("--version"));
    assert_eq!(shown, done(Command::new(WATTSTILE).arg("--version")));
}

#[test]
fn the_same_program_gives_the_same_package() {
    let Some(package) = package() else { return };
    assert_eq!(fs::read(package).unwrap(), fs::read(build("again")).unwrap());
}

#[test]
fn a_development_build_is_packaged_only_when_asked_for() {
    if tool("dpkg-deb").is_none() || !cfg!(debug_assertions) {
        return;
    }
    let build = root().join("src/packaging/debian/build");
    let refused = Command::new(build).args(["--binary", WATTSTILE, "--out", "/nonexistent"]).output().unwrap();
    let shown = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && shown.contains("development build"), "{shown}");
}

#[test]
fn the_installed_configuration_refuses_to_start_and_says_what_to_edit() {
    let config = root().join("src/packaging/wattstile.toml");
    let check = |more: &[&str]| {
        let ran = Command::new(WATTSTILE).args(["serve", "--config"]).arg(&config).args(more).output().unwrap();
        (ran.status.code().unwrap(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    let (code, shown) = check(&[]);
    assert!(code == 78 && shown.contains("operator.name"), "{code}: {shown}");
    let folder = tempfile::tempdir().unwrap();
    let tariffs = format!("tariffs.folder={}", folder.path().display());
    let data = format!("gate.data_dir={}", folder.path().join("data").display());
    let keys = folder.path().join("keys");
    done(Command::new(WATTSTILE).args(["keys", "init", "--file"]).arg(&keys));
    let keys = format!("credentials.keys_file={}", keys.display());
    let sets = ["operator.name=Us", &tariffs, &data, &keys].map(|set| ["--set", set]).concat();
    let (code, shown) = check(&sets);
    assert!(code == 78 && shown.contains("tariffs.default") && shown.contains("certificates"), "{code}: {shown}");
}

/// The package in a root of its own, by dpkg itself.
fn installed() -> Option<tempfile::TempDir> {
    let (package, dpkg) = (package()?, tool("dpkg")?);
    tool("systemd-sysusers")?;
    tool("systemd-tmpfiles")?;
    if !fs::read_to_string("/proc/self/status").unwrap().contains("Uid:\t0\t") {
        eprintln!("skipped: only root can install a package");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path();
    for place in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc", "usr/bin", "usr/lib"] {
        fs::create_dir_all(scratch.join(place)).unwrap();
    }
    fs::write(scratch.join("var/lib/dpkg/status"), "").unwrap();
    let shown = done(
        Command::new(dpkg)
            .arg(format!("--root={}", scratch.display()))
            .args(["--force-script-chrootless", "--force-depends", "--install"])
            .arg(package)
            .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap())),
    );
    assert!(shown.contains("is installed and not started"), "{shown}");
    Some(folder)
}

#[test]
fn dpkg_installs_and_removes_it_and_the_books_stay() {
    let Some(folder) = installed() else { return };
    let scratch = folder.path();
    let users = fs::read_to_string(scratch.join("etc/passwd")).unwrap();
    let user = users.lines().find(|line| line.starts_with("wattstile:")).expect("the user is made");
    assert!(user.ends_with("nologin"), "{user}");
    for private in ["var/lib/wattstile", "etc/wattstile/pki"] {
        assert_eq!(mode(&scratch.join(private)), 0o700, "{private}");
    }
    let links = |folder: &str| fs::read_dir(scratch.join(folder)).map_or(0, Iterator::count);
    assert_eq!(links("etc/systemd/system/multi-user.target.wants"), 0, "it does not start by itself");

    let config = scratch.join("etc/wattstile/wattstile.toml");
    fs::write(&config, "[gate]\nname = \"ours\"\n").unwrap();
    fs::write(scratch.join("var/lib/wattstile/books"), "1").unwrap();
    let dpkg = |verb: &str| {
        let root = format!("--root={}", scratch.display());
        done(Command::new("dpkg").args([&root, "--force-script-chrootless", verb, "wattstile"]));
    };
    dpkg("--remove");
    assert!(!scratch.join("usr/bin/wattstile").exists() && config.exists(), "a changed configuration stays");
    dpkg("--purge");
    assert!(!config.exists() && scratch.join("var/lib/wattstile/books").exists(), "books outlive the package");
}

/// What the unit forbids, as far as bubblewrap can: a root that is read only, no user's files, no devices, a network of
/// loopback alone, no capabilities, no new privileges, an unknown user. Its filter of system calls is not imitated.
#[test]
fn the_installed_gate_works_in_the_sandbox_of_its_unit() {
    let (Some(bwrap), Some(folder)) = (tool("bwrap"), unpacked()) else { return };
    let tree = folder.path();
    let settle = |text: String| {
        let edits = [
            ("mode = \"production\"", "mode = \"development\""),
            ("# default = \"STANDARD\"", "default = \"TEST\""),
            ("# name = \"Your Charging Ltd\"", "name = \"Ours\""),
        ];
        edits.into_iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        })
    };
    let config = tree.join("etc/wattstile/wattstile.toml");
    fs::write(&config, settle(fs::read_to_string(&config).unwrap())).unwrap();
    fs::write(tree.join("etc/wattstile/tariffs/test.json"), TARIFF).unwrap();
    let pki = tree.join("etc/wattstile/pki");
    done(Command::new(WATTSTILE).args(["cert", "init", "--pki"]).arg(&pki));
    done(Command::new(WATTSTILE).args(["keys", "init", "--file"]).arg(pki.join("credential.keys")));
    let (state, run) = (tree.join("state"), tree.join("run"));
    fs::create_dir(&state).unwrap();
    fs::create_dir(&run).unwrap();
    let socket = UnixDatagram::bind(run.join("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();

    let script = "\
        (: >/etc/wattstile/written) 2>/dev/null && exit 91
        (: >/usr/written) 2>/dev/null && exit 92
        wattstile serve --config /etc/wattstile/wattstile.toml &
        gate=$!
        tries=0
        until wattstile health --data /var/lib/wattstile; do
            tries=$((tries + 1))
            [ $tries -lt 300 ] || exit 93
            sleep 0.1
        done
        kill -TERM $gate
        wait $gate";
    let bound = |from: &Path| from.to_str().unwrap().to_owned();
    let mut command = Command::new(bwrap);
    command.args(["--unshare-all", "--uid", "990", "--gid", "990", "--cap-drop", "ALL", "--new-session"]);
    command.args(["--die-with-parent", "--clearenv", "--setenv", "PATH", "/usr/bin"]);
    command.args(["--setenv", "NOTIFY_SOCKET", "/run/wattstile-test/notify", "--setenv", "WATCHDOG_USEC", "400000"]);
    command.args(["--ro-bind", "/usr/lib", "/usr/lib", "--symlink", "usr/lib", "/lib"]);
    command.args(["--ro-bind-try", "/usr/lib64", "/usr/lib64", "--symlink", "usr/lib64", "/lib64"]);
    for program in ["sh", "sleep"] {
        let program = format!("/usr/bin/{program}");
        command.args(["--ro-bind", &program, &program]);
    }
    command.args(["--ro-bind", &bound(&tree.join("usr/bin/wattstile")), "/usr/bin/wattstile"]);
    command.args(["--ro-bind", &bound(&tree.join("etc/wattstile")), "/etc/wattstile"]);
    command.args(["--bind", &bound(&state), "/var/lib/wattstile", "--bind", &bound(&run), "/run/wattstile-test"]);
    command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--remount-ro", "/"]);
    command.args(["--chdir", "/var/lib/wattstile", "sh", "-c", script]);
    let ran = command.output().unwrap();
    let shown = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{shown}");
    assert!(shown.contains("shards answer"), "{shown}");
    let mut received = BTreeSet::new();
    let mut buffer = [0; 4_096];
    socket.set_nonblocking(true).unwrap();
    while let Ok(length) = socket.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        received.extend(text.lines().map(|line| line.split('=').next().unwrap().to_owned()));
    }
    for name in ["READY", "STOPPING", "STATUS"] {
        assert!(received.contains(name), "{name}: {received:?}\n{shown}");
    }
    assert!(state.join("data").is_dir(), "its data is in its own directory");
}
