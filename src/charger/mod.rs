//! The charger's machine: its connectors, which of its sessions are open, what is repeated.
