//! Composition: which parts make a running gate.
