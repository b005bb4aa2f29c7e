//! Access to the machine that the program runs on: clocks, usage of processes, files.
//!
//! * [`SystemClock`], [`wall_clock`]: the machine's clocks. Machines get the time as an argument.
//! * [`ProcessUsage`]: memory, processor time and open files of a process.
//! * [`holder_of`]: the process that listens at an address.
//! * [`replace_file`], [`bytes_below`]: files that are replaced as a whole, and the room that files take.

mod clock;
mod files;
mod listener;
mod process;

pub use clock::{SystemClock, wall_clock};
pub use files::{Durability, bytes_below, replace_file, sync_folder};
pub use listener::{Holder, cannot_listen, holder_of};
pub use process::{ProcessUsage, open_files};
