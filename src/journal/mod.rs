//! The log: records, stores, group commit, the gate, snapshots, recovery.
