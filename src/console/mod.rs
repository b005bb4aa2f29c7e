//! The HTTP API, and the views that the command line prints.
