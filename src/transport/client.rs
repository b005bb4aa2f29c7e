//! The peer's end: how simulated chargers and processors connect to a gate.

use super::pki::Certified;
use super::socket::{HandshakeError, Socket};
use super::tls::provider;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection.
    #[error("{address}: {error}")]
    Tcp {
        /// Where to.
        address: SocketAddr,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// The gate did not answer in time.
    #[error("{address}: no answer in time")]
    TooSlow {
        /// Where to.
        address: SocketAddr,
    },
    /// The TLS handshake failed.
    #[error("{address}: {error}")]
    Handshake {
        /// Where to.
        address: SocketAddr,
        /// How.
        error: HandshakeError,
    },
    /// The own key and certificate are not usable.
    #[error("own key and certificate: {0}")]
    Own(rustls::Error),
    /// No authority by which a gate could be recognised.
    #[error("the authority of the gate: {0}")]
    Authority(String),
    /// The gate's name cannot stand in a certificate.
    #[error("`{0}` is not a name that a gate can have")]
    Name(String),
}

/// The gate's name and roots for a peer: shared by all peers of a simulation.
#[derive(Clone)]
pub struct Trust {
    verifier: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

/// Connects as one peer.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    source: Option<IpAddr>,
}

/// For TCP and TLS together.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

impl Trust {
    /// Accepts as the gate any server with this name (DNS or IP) in a certificate below one of these roots.
    ///
    /// # Errors
    /// [`ConnectError::Name`], [`ConnectError::Authority`].
    pub fn new(roots: &[CertificateDer<'static>], name: &str) -> Result<Trust, ConnectError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone()).map_err(|error| ConnectError::Authority(error.to_string()))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider())
            .build()
            .map_err(|error| ConnectError::Authority(error.to_string()))?;
        let name = ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::Name(name.to_owned()))?;
        Ok(Trust { verifier, name })
    }
}

impl Connector {
    /// Connects with this certificate, by TLS 1.3 and without resumption.
    ///
    /// # Errors
    /// [`ConnectError::Own`].
    pub fn new(trust: &Trust, own: Certified) -> Result<Connector, ConnectError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(ConnectError::Own)?
            .with_webpki_verifier(Arc::clone(&trust.verifier))
            .with_client_auth_cert(own.chain, own.key)
            .map_err(ConnectError::Own)?;
        config.resumption = Resumption::disabled();
        Ok(Connector { config: Arc::new(config), name: trust.name.clone(), source: None })
    }

    /// Connects without a certificate, by TLS 1.3: something else says who it is.
    ///
    /// # Errors
    /// [`ConnectError::Own`].
    pub fn nameless(trust: &Trust) -> Result<Connector, ConnectError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(ConnectError::Own)?
            .with_webpki_verifier(Arc::clone(&trust.verifier))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Connector { config: Arc::new(config), name: trust.name.clone(), source: None })
    }

    /// Connects from this address of the machine from now on; without it, the system chooses one.
    pub fn from_address(self, source: Option<IpAddr>) -> Connector {
        Connector { source, ..self }
    }

    /// Connects to a gate. In TLS 1.3 the gate judges the certificate afterwards: a refusal shows at the first read.
    ///
    /// # Errors
    /// [`ConnectError::Tcp`], [`ConnectError::TooSlow`], [`ConnectError::Handshake`].
    pub async fn connect(&self, address: SocketAddr) -> Result<Socket, ConnectError> {
        let connecting = async {
            let tcp = tcp_from(self.source, address).await.map_err(|error| ConnectError::Tcp { address, error })?;
            tcp.set_nodelay(true).map_err(|error| ConnectError::Tcp { address, error })?;
            let failed = |error| ConnectError::Handshake { address, error };
            let mut socket = Socket::client(tcp, Arc::clone(&self.config), self.name.clone())
                .map_err(|error| failed(HandshakeError::Tls(error)))?;
            socket.handshake().await.map_err(failed)?;
            Ok(socket)
        };
        match tokio::time::timeout(CONNECT_DEADLINE, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::TooSlow { address }),
        }
    }
}

/// A TCP connection, from a given address of this machine or from any.
///
/// # Errors
/// The connection cannot be made, or the address is not one of this machine.
pub async fn tcp_from(source: Option<IpAddr>, address: SocketAddr) -> std::io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}
