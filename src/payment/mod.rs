//! One hold and its operations.
