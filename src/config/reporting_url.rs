//! The address of a reporting database.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// The name of the file in the data directory that `sqlite:` alone means.
pub const FILE: &str = "reporting.sqlite";

/// A reporting database.
#[derive(Clone, Debug)]
pub enum ReportingUrl {
    /// A file of SQLite; an empty path is [`FILE`] in the data directory.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Box<PostgresUrl>),
}

/// The address of a PostgreSQL server.
#[derive(Clone)]
pub struct PostgresUrl {
    /// As the library reads it.
    pub config: Config,
    /// None: without TLS. The file with the authorities that are trusted; none: those of the system.
    pub tls: Option<Option<PathBuf>>,
    shown: String,
}

/// Why a text is no address of a reporting database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// Another kind.
    #[error("wanted sqlite:, sqlite:PATH or postgres://USER@HOST/DATABASE")]
    Kind,
    /// PostgreSQL's library does not read it.
    #[error("wanted postgres://USER@HOST:PORT/DATABASE: {0}")]
    Postgres(String),
    /// Another machine without TLS.
    #[error(
        "wanted sslmode=require (with sslrootcert=FILE where the authority is not one of the system): the host {0} is \
             another machine, and without TLS anyone between reads everything"
    )]
    Plain(String),
}

impl ReportingUrl {
    /// The same with a place for every path: the file in the data directory where none is named.
    pub fn in_data(self, data: &Path) -> ReportingUrl {
        match self {
            ReportingUrl::Sqlite(path) if path.as_os_str().is_empty() => ReportingUrl::Sqlite(data.join(FILE)),
            other => other,
        }
    }
}

impl ReportingUrl {
    /// The same with the password of the server's user.
    pub fn with_password(mut self, password: &str) -> ReportingUrl {
        if let ReportingUrl::Postgres(url) = &mut self {
            url.config.password(password);
        }
        self
    }
}

impl FromStr for ReportingUrl {
    type Err = UrlFault;

    fn from_str(text: &str) -> Result<ReportingUrl, UrlFault> {
        if text == "sqlite" {
            return Ok(ReportingUrl::Sqlite(PathBuf::new()));
        }
        if let Some(path) = text.strip_prefix("sqlite:") {
            // Both of the usual spellings: sqlite:PATH and sqlite://PATH.
            let path = path.strip_prefix("//").unwrap_or(path);
            return Ok(ReportingUrl::Sqlite(PathBuf::from(path)));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(UrlFault::Kind);
        }
        let (plain, roots) = without_roots(text);
        let config: Config = plain.parse().map_err(|error| UrlFault::Postgres(cause_of(&error)))?;
        let tls = match config.get_ssl_mode() {
            SslMode::Require => Some(roots.map(PathBuf::from)),
            _ if roots.is_some() => Some(roots.map(PathBuf::from)),
            _ => None,
        };
        if tls.is_none()
            && let Some(host) = config.get_hosts().iter().find_map(other_machine)
        {
            return Err(UrlFault::Plain(host));
        }
        Ok(ReportingUrl::Postgres(Box::new(PostgresUrl { config, tls, shown: masked(text) })))
    }
}

/// The library knows no `sslrootcert`, which every other client does; `verify-full` is what is meant by TLS here.
fn without_roots(text: &str) -> (String, Option<String>) {
    let Some((start, query)) = text.split_once('?') else { return (text.to_owned(), None) };
    let (mut roots, mut kept) = (None, Vec::new());
    for part in query.split('&') {
        match part.split_once('=') {
            Some(("sslrootcert", file)) => {
                roots = Some(percent_encoding::percent_decode_str(file).decode_utf8_lossy().into_owned());
            }
            Some(("sslmode", "verify-full" | "verify-ca")) => kept.push("sslmode=require"),
            _ => kept.push(part),
        }
    }
    let query = kept.join("&");
    (if query.is_empty() { start.to_owned() } else { format!("{start}?{query}") }, roots)
}

fn other_machine(host: &Host) -> Option<String> {
    match host {
        Host::Unix(_) => None,
        Host::Tcp(name) => {
            let is_here =
                name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
            (!is_here).then(|| name.clone())
        }
    }
}

fn cause_of(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// The address without its password.
fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let shown = match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:***@{host}"),
            None => format!("{user}@{host}"),
        },
        None => authority.to_owned(),
    };
    let path = match path.split_once('?') {
        Some((path, query)) => {
            let part =
                |part: &str| if part.starts_with("password=") { "password=***".to_owned() } else { part.to_owned() };
            let query: Vec<String> = query.split('&').map(part).collect();
            format!("{path}?{}", query.join("&"))
        }
        None => path.to_owned(),
    };
    format!("{scheme}://{shown}{path}")
}

/// Without its password.
impl fmt::Display for ReportingUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReportingUrl::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            ReportingUrl::Postgres(url) => f.write_str(&url.shown),
        }
    }
}

/// Never shows the password.
impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl PartialEq for ReportingUrl {
    fn eq(&self, other: &ReportingUrl) -> bool {
        match (self, other) {
            (ReportingUrl::Sqlite(one), ReportingUrl::Sqlite(other)) => one == other,
            (ReportingUrl::Postgres(one), ReportingUrl::Postgres(other)) => {
                one.config == other.config && one.tls == other.tls
            }
            _ => false,
        }
    }
}

impl Eq for ReportingUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, UrlFault> {
        text.parse::<ReportingUrl>().map(|url| url.to_string())
    }

    #[test]
    fn addresses_are_read_and_shown_without_passwords() {
        assert_eq!(shown("sqlite").as_deref(), Ok("sqlite:"));
        assert_eq!(shown("sqlite:").as_deref(), Ok("sqlite:"));
        assert_eq!(shown("sqlite:/var/lib/r.db").as_deref(), Ok("sqlite:/var/lib/r.db"));
        assert_eq!(shown("sqlite:///var/lib/r.db").as_deref(), Ok("sqlite:/var/lib/r.db"));
        let in_data = "sqlite".parse::<ReportingUrl>().unwrap().in_data(Path::new("/data"));
        assert_eq!(in_data, ReportingUrl::Sqlite("/data/reporting.sqlite".into()));
        let text = "postgres://wattstile:secret@127.0.0.1:5433/books";
        assert_eq!(shown(text).as_deref(), Ok("postgres://wattstile:***@127.0.0.1:5433/books"));
        assert!(!format!("{:?}", text.parse::<ReportingUrl>()).contains("secret"));
        assert_eq!(
            shown("postgresql://localhost/books?user=w&password=secret").as_deref(),
            Ok("postgresql://localhost/books?user=w&password=***")
        );
    }

    #[test]
    fn another_machine_needs_tls() {
        assert!(matches!(shown("postgres://w@db.example/books"), Err(UrlFault::Plain(host)) if host == "db.example"));
        let tls = |text: &str| match text.parse::<ReportingUrl>() {
            Ok(ReportingUrl::Postgres(url)) => url.tls,
            other => panic!("{other:?}"),
        };
        assert_eq!(tls("postgres://w@db.example/books?sslmode=require"), Some(None));
        assert_eq!(
            tls("postgres://w@db.example/books?sslmode=verify-full&sslrootcert=%2Fca.pem"),
            Some(Some("/ca.pem".into()))
        );
        assert_eq!(tls("postgres://w@[::1]/books"), None);
        assert_eq!(tls("postgres:///books?host=/run/postgresql"), None);
        for wrong in ["", "mysql://x", "reporting.db", "postgres"] {
            assert_eq!(shown(wrong), Err(UrlFault::Kind), "{wrong}");
        }
        assert!(matches!(shown("postgres://w@localhost:port/books"), Err(UrlFault::Postgres(_))));
    }
}
