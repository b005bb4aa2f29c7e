//! Which program this is: its version, and the commit that its sources are of.

use std::sync::LazyLock;

/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The first twelve digits of the commit; empty if the build did not get one.
pub const COMMIT: &str = match option_env!("WATTSTILE_BUILT_FROM") {
    Some(commit) => commit,
    None => "",
};

/// Version and commit as people read them. A development build is of that commit or of what was changed since.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let commit = if COMMIT.is_empty() { "commit unknown" } else { COMMIT };
        let kind = if cfg!(debug_assertions) { ", development build" } else { "" };
        format!("{VERSION} ({commit}{kind})")
    });
    &TEXT
}
