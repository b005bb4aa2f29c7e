//! Checks of the module structure: imports go strictly downward, modules on one floor do not use each other, and only
//! the intended modules name a library.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Rooms and their floors, as in the documentation of the library.
const FLOORS: &[(&str, u8)] = &[
    ("units", 0),
    ("stored", 0),
    ("machine", 0),
    ("limits", 0),
    ("metrics", 0),
    ("host", 0),
    ("version", 0),
    ("tariff", 1),
    ("ledger", 1),
    ("payment", 2),
    ("billing", 2),
    ("session", 3),
    ("charger", 3),
    ("account", 3),
    ("message", 3),
    ("accounting", 4),
    ("wire", 4),
    ("ocpp", 4),
    ("journal", 4),
    ("node", 5),
    ("actors", 6),
    ("transport", 7),
    ("sim", 8),
    ("config", 9),
    ("api", 10),
    ("reporting", 11),
    ("web", 11),
    ("app", 12),
    ("bench", 13),
    ("cli", 14),
    ("manual", 14),
];

/// Floor 0 is one module with three entries; metrics are names that all modules may use.
const SHARED_FLOOR: u8 = 0;

/// Which rooms may name a library.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("actix", &["actors", "app", "bench"]),
    ("actix_rt", &["actors", "app"]),
    ("sled", &["journal/sled"]),
    ("rustls", &["transport"]),
    ("tokio_rustls", &["transport"]),
    ("rcgen", &["transport"]),
    ("x509_parser", &["transport"]),
    ("axum", &["web"]),
    ("hyper", &["web"]),
    ("hyper_util", &["web"]),
    ("rusqlite", &["reporting"]),
    ("tokio_postgres", &["reporting", "config/reporting_url"]),
    ("clap", &["cli"]),
];

/// Modules with deciding code: no clock, socket, disk, randomness, runtime.
const PURE: &[&str] = &[
    "units",
    "stored",
    "tariff",
    "ledger",
    "payment",
    "billing",
    "session",
    "charger",
    "account",
    "message",
    "accounting",
    "wire",
    "ocpp",
];

/// Rooms that know no runtime either; what they need of the outside is handed to them.
const WITHOUT_RUNTIME: &[&str] = &["node"];

/// What a pure room never names.
/// A thread's own table of values (`LocalKey`) is memory. Making threads and waiting in them is meant.
const IMPURE: &[&str] = &[
    "std::net",
    "std::fs",
    "thread::spawn",
    "thread::sleep",
    "thread::scope",
    "thread::Builder",
    "SystemTime",
    "Instant::now",
    "tokio::",
    "actix",
    "thread_rng",
];

#[test]
fn imports_go_strictly_downward() {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for Source { path, lines } in sources() {
        let room = room_of(path);
        let Some(floor) = floors.get(room.as_str()) else {
            assert!(matches!(room.as_str(), "lib" | "main"), "{room} has no floor: {}", path.display());
            continue;
        };
        for (line, used) in uses(lines) {
            let Some(used_floor) = floors.get(used.as_str()) else { continue };
            let allowed = used == room || used_floor < floor || (*floor == SHARED_FLOOR && used_floor == floor);
            if !allowed {
                wrong.push(format!("{}:{line}: {room} (floor {floor}) uses {used} ({used_floor})", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that go sideways or up:\n{}", wrong.join("\n"));
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for Source { path, lines } in sources() {
        let place = path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
        for (library, homes) in LIBRARIES {
            if homes.iter().any(|home| place.starts_with(home)) {
                continue;
            }
            for (number, line) in lines {
                if line.contains(&format!("use {library}::")) || line.contains(&format!(" {library}::")) {
                    wrong.push(format!("src/{place}:{number} names {library}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "libraries outside of their rooms:\n{}", wrong.join("\n"));
}

#[test]
fn what_decides_knows_no_clock_socket_disk_or_runtime() {
    let mut wrong = Vec::new();
    for Source { path, lines } in sources() {
        let room = room_of(path);
        let pure = PURE.contains(&room.as_str()) || WITHOUT_RUNTIME.contains(&room.as_str());
        if !pure || is_of_tests(path) {
            continue;
        }
        for (number, line) in lines {
            if let Some(impure) = IMPURE.iter().find(|impure| line.contains(**impure)) {
                wrong.push(format!("{}:{number} names {impure}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "pure rooms that look outside:\n{}", wrong.join("\n"));
}

/// There is one node: the simulated world drives what the actors drive, and none of the actors.
#[test]
fn the_simulated_world_runs_the_node_without_the_actors() {
    let mut wrong = Vec::new();
    for Source { path, lines } in sources() {
        if room_of(path) == "sim" {
            wrong.extend(uses(lines).into_iter().filter(|(_, used)| used == "actors").map(|(line, _)| (path, line)));
        }
    }
    assert!(wrong.is_empty(), "the simulator uses actors: {wrong:?}");
}

/// Loads measure a gate; nothing that serves chargers depends on them.
#[test]
fn only_the_bench_command_uses_loads() {
    let mut wrong = Vec::new();
    for Source { path, lines } in sources() {
        let of_bench = path.components().any(|part| part.as_os_str() == "bench");
        if !of_bench {
            let named = uses(lines).into_iter().filter(|(_, used)| used == "bench").map(|(line, _)| (path, line));
            wrong.extend(named);
        }
    }
    assert!(wrong.is_empty(), "loads outside of the bench: {wrong:?}");
}

#[test]
fn money_and_energy_know_no_floats() {
    let rooms = ["units", "tariff", "ledger", "payment", "billing", "session", "account", "accounting"];
    let mut wrong = Vec::new();
    for Source { path, lines } in sources() {
        if rooms.contains(&room_of(path).as_str()) {
            for (number, line) in lines {
                if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "f64" || word == "f32") {
                    wrong.push(format!("{}:{number}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "floats:\n{}", wrong.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A source file, and its lines of code with their numbers.
struct Source {
    path: PathBuf,
    lines: Vec<(usize, String)>,
}

/// Every source file but the build script, tests in files of their own included.
fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let mut found = Vec::new();
        let mut folders = vec![root().join("src")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs")
                    && !path.ends_with("packaging/commit.rs")
                {
                    let lines = code_lines(&fs::read_to_string(&path).unwrap());
                    found.push(Source { path, lines });
                }
            }
        }
        assert!(found.len() > 50, "the sources are where they are expected");
        found
    });
    &SOURCES
}

/// Tests in a file of their own: they may have another program look at what was decided.
fn is_of_tests(path: &Path) -> bool {
    path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests")
}

/// The first folder below `src`, or the file's name.
fn room_of(path: &Path) -> String {
    let place = path.strip_prefix(root().join("src")).unwrap();
    let first = place.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Lines of code with their numbers, without comments and texts: the whole file, its tests and what stands behind them.
fn code_lines(text: &str) -> Vec<(usize, String)> {
    let code = without_texts(text);
    (1..).zip(code.lines().map(str::to_owned)).filter(|(_, line)| !line.trim().is_empty()).collect()
}

/// Blanks comments, and what stands in quotation marks; lines stay where they are.
fn without_texts(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    while at < letters.len() {
        let end = match (letters[at], letters.get(at + 1)) {
            ('/', Some('/')) => until(&letters, at, "\n"),
            ('/', Some('*')) => end_of_comment(&letters, at),
            ('"', _) => end_of_text(&letters, at + 1),
            ('r', Some('"' | '#')) if at == 0 || !is_word(letters[at - 1]) || letters[at - 1] == 'b' => {
                let marks = letters[at + 1..].iter().take_while(|letter| **letter == '#').count();
                match letters.get(at + 1 + marks) {
                    Some('"') => until(&letters, at + 2 + marks, &format!("\"{}", "#".repeat(marks))) + 1 + marks,
                    _ => at,
                }
            }
            // A character, and no lifetime.
            ('\'', Some('\\')) => until(&letters, at + 3, "'") + 1,
            ('\'', Some(_)) if letters.get(at + 2) == Some(&'\'') => at + 3,
            _ => at,
        };
        let end = end.min(letters.len());
        if end == at {
            out.push(letters[at]);
            at += 1;
        } else {
            out.extend(letters[at..end].iter().map(|letter| if *letter == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where a mark begins, from a place on.
fn until(letters: &[char], from: usize, mark: &str) -> usize {
    let mark: Vec<char> = mark.chars().collect();
    let found = letters.get(from..).and_then(|rest| rest.windows(mark.len()).position(|found| found == mark));
    found.map_or(letters.len(), |place| from + place)
}

fn end_of_text(letters: &[char], mut at: usize) -> usize {
    while at < letters.len() {
        match letters[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// Comments stand in comments.
fn end_of_comment(letters: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < letters.len() {
        match (letters[at], letters.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[test]
fn a_file_is_read_to_its_end() {
    let text = r##"
use crate::units;
#[cfg(test)]
mod tests;
use crate::before::A; // crate::comment
#[cfg(test)]
mod inline {
    use crate::inside::B;
    const TEXT: &str = r#"
}
use crate::quoted::C;
"#;
    const LETTERS: [char; 3] = ['}', '\'', '"'];
}
/* crate::comment /* again */ crate::comment */
impl<'a> Name<'a> {
    fn always(&self) -> &'a str { crate::behind::name("crate::text \" crate::text") }
}
"##;
    let rooms: Vec<(usize, String)> = uses(&code_lines(text));
    let found: Vec<(usize, &str)> = rooms.iter().map(|(line, room)| (*line, room.as_str())).collect();
    assert_eq!(found, [(2, "units"), (5, "before"), (8, "inside"), (17, "behind")]);
}

/// Rooms that a file imports from.
fn uses(lines: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (number, line) in lines {
        for part in line.split("crate::").skip(1) {
            let room: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            used.push((*number, room));
        }
    }
    used
}
