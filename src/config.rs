//! Configuration: TOML with a default for everything.
