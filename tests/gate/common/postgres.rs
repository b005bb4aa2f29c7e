//! A PostgreSQL server of a test's own: in a temporary folder, on a free port, as an unprivileged user.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server, which ends with it.
pub struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    server: Option<Child>,
}

/// Where Debian keeps the programs of the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = versions.map(|entry| entry.path()).filter(|path| number(path).is_some()).max_by_key(number)?;
    Some(newest.join("bin")).filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0"))
}

impl Postgres {
    /// Makes an empty database and starts its server; none: PostgreSQL is not installed.
    pub fn start() -> Option<Postgres> {
        let programs = programs()?;
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut postgres = Postgres { folder, programs, port, server: None };
        // The server refuses to run as root: Debian's package has made a user for it.
        fs::set_permissions(postgres.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let data = postgres.data();
        let made = postgres
            .command("initdb")
            .args(["--auth=trust", "--username=wattstile", "--no-sync", "--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        postgres.start_again();
        Some(postgres)
    }

    /// The address of its database.
    pub fn url(&self) -> String {
        format!("postgres://wattstile@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts the server and waits until it answers.
    pub fn start_again(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).unwrap();
            let mut server = self
                .command("postgres")
                .arg("-D")
                .arg(self.data())
                .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"])
                .args(["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=20"])
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            while Instant::now() < deadline && server.try_wait().unwrap().is_none() {
                let url = self.url().parse().unwrap();
                if wattstile::reporting::store::open(&url).is_ok() {
                    self.server = Some(server);
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            // Processes of a server that was killed may hold its memory for a moment.
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(Instant::now() < deadline, "the server does not start\n{log}");
            let _ = server.kill();
            let _ = server.wait();
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Kills the server: its other processes end by themselves.
    pub fn kill(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let pid = file.lines().next().unwrap_or_default().to_owned();
        assert!(!pid.is_empty(), "the server has its number in its folder");
        let _ = Command::new("kill").args(["-9", &pid]).status();
        let _ = server.kill();
        let _ = server.wait();
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program of PostgreSQL, as the user that it runs as.
    fn command(&self, program: &str) -> Command {
        let path: &Path = &self.programs.join(program);
        if !is_root() {
            return Command::new(path);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(path);
        command.current_dir("/");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}
