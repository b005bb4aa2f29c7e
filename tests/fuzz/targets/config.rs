//! Any text as a configuration: taken, or refused with problems that can be shown.
//!
//! Nothing of it touches the disk: what a configuration names is looked at by whoever opens it, not here.
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
