//! TLS, listeners, connections, certificates, shutdown.
