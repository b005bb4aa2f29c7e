//! The one binary. Everything is in the library; see [`wattstile`].

use mimalloc::MiMalloc;

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
fn abort_at_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}
