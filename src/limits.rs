//! Every bound of the process: queues, tables, frames, retries.
