//! Any text as a configuration: accepted, or refused with printable problems.
//!
//! Nothing touches the disk: files that a configuration names are checked when they are opened, not here.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wattstile::config::Layers;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // The last line is a flag, and all of it a variable.
    let (source, flag) = text.rsplit_once('\n').unwrap_or((text, text));
    let layers = Layers {
        path: None,
        source: source.to_owned(),
        environment: vec![("WATTSTILE_GATE__SHARDS".to_owned(), flag.to_owned())],
        flags: vec![flag.to_owned()],
    };
    match layers.load() {
        Ok(loaded) => {
            drop(loaded.config.session_policy());
            // What is taken is written down as it was read.
            for section in loaded.config.write() {
                assert!(!section.key.is_empty());
            }
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            for problem in &error.problems {
                // A problem has a line of the file, or came from elsewhere.
                assert!(error.line(problem).is_none_or(|line| line <= source.matches('\n').count() + 1));
            }
        }
    }
});
