//! The one binary. Everything is in the library; see [`wattstile`].

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    // In huge pages a third more would be resident than is ever written, for 3 % of processor time. Where the kernel does
    // not know the wish nothing is lost.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    wattstile::cli::run()
}
