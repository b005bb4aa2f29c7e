//! TLS of a client towards servers of others: a database, for instance. The server is recognised by its name and an authority.

use super::tls::provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Where systems keep the authorities that they trust.
pub const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// An encrypted connection to a server.
pub type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

/// What a client recognises servers by.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// With the authorities in a file; without one, with those of the system.
    ///
    /// # Errors
    /// The file cannot be read, or has no certificate.
    pub fn new(roots: Option<&Path>) -> io::Result<ClientTls> {
        let system = || SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
        let path = roots.or_else(system);
        let path =
            path.ok_or_else(|| io::Error::other("the system has no file of authorities: name one (sslrootcert)"))?;
        let failed = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let text = fs::read(path).map_err(failed)?;
        let mut store = RootCertStore::empty();
        let certificates: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&text).filter_map(Result::ok).collect();
        // Some systems have roots that no library reads.
        let (added, _) = store.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "there is no certificate in it")));
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(ClientTls { config: Arc::new(config) })
    }

    /// Makes a connection an encrypted one, to the server of this name.
    ///
    /// # Errors
    /// It has no certificate of that name below one of the authorities, or the connection breaks.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<ClientStream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        tokio_rustls::TlsConnector::from(self.config.clone()).connect(name, stream).await
    }
}
