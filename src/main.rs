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
    // In huge pages a third more would be resident than is ever written, for 3 % of processor time. A kernel without
    // this option ignores the call.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    abort_at_panic();
    wattstile::cli::run()
}

/// Ends the process at a panic, also in a profile that unwinds. A runtime catches the panic of a task: the actor
/// would end while its process continues.
///
/// The report may block for ever: printing a backtrace allocates, and without memory the standard library waits for
/// the lock of the backtrace that it is printing. So a thread that is started beforehand ends the process after
/// [`REPORT_TIME`].
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
