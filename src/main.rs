//! The one binary. Everything is in the library; see [`wattstile`].

use mimalloc::MiMalloc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the report of a panic may take.
const REPORT_TIME: Duration = Duration::from_secs(2);

static PANICKED: AtomicBool = AtomicBool::new(false);

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    // In huge pages a third more would be resident than is ever written, for 3 % of processor time. Where the kernel does
    // not know the wish nothing is lost.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    abort_at_panic();
    wattstile::cli::run()
}

/// Ends the process at a panic, also in a profile that unwinds. A runtime catches the panic of a task, and an actor would
/// be gone while its process goes on.
///
/// The report may never end: printing a backtrace takes memory, and where none is left the standard library waits for the
/// lock of the backtrace that it is printing. So a thread that is there from the beginning ends the process as well.
fn abort_at_panic() {
    let end = std::thread::Builder::new().name("abort".to_owned()).stack_size(64 << 10).spawn(|| {
        while !PANICKED.load(Ordering::Acquire) {
            std::thread::park();
        }
        std::thread::sleep(REPORT_TIME);
        std::process::abort();
    });
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.store(true, Ordering::Release);
        if let Ok(end) = &end {
            end.thread().unpark();
        }
        report(panic);
        std::process::abort();
    }));
}
