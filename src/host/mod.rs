//! What the program learns from and leaves on the machine that it runs on, each in one place.
//!
//! * [`SystemClock`], [`wall_clock`]: the machine's clocks. Everything that decides gets its time as an argument.
//! * [`ProcessUsage`]: memory, processor time and open files of a process.
//! * [`replace_file`], [`bytes_below`]: files that are replaced as a whole, and the room that files take.

mod clock;
mod files;
mod process;

pub use clock::{SystemClock, wall_clock};
pub use files::{Durability, bytes_below, replace_file, sync_folder};
pub use process::{ProcessUsage, open_files};
