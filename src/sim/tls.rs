//! The way to a gate over mutual TLS.

use super::pipe::{Dialler, Dialling, Duplex};
use crate::transport::Connector;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Dials a gate at this address as the peer that the connector was made for.
pub fn dialler(connector: Connector, address: SocketAddr) -> Dialler {
    Arc::new(move || -> Dialling {
        let connector = connector.clone();
        Box::pin(async move {
            let socket = connector.connect(address).await.map_err(|error| io::Error::other(error.to_string()))?;
            Ok(Box::new(socket) as Box<dyn Duplex>)
        })
    })
}
