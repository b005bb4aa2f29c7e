//! The one binary. Everything is in the library; see [`wattstile`].

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    wattstile::cli::run()
}
