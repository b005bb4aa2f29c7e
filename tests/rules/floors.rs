//! The house stands: imports go strictly downward, rooms on one floor do not see each other, and only the rooms that are
//! meant to know a library name it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and their floors, as in the documentation of the library.
const FLOORS: &[(&str, u8)] = &[
    ("units", 0),
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
    ("journal", 4),
    ("node", 5),
    ("actors", 6),
    ("transport", 7),
    ("console", 8),
    ("sim", 8),
    ("config", 9),
    ("app", 10),
    ("cli", 11),
    ("manual", 11),
];

/// Floor 0 is one room with three doors; metrics are names that everybody may use.
const SHARED_FLOOR: u8 = 0;

/// Which rooms may name a library.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("actix", &["actors", "app"]),
    ("actix_rt", &["actors", "app"]),
    ("sled", &["journal/sled"]),
    ("rustls", &["transport"]),
    ("tokio_rustls", &["transport"]),
    ("rcgen", &["transport"]),
    ("x509_parser", &["transport"]),
    ("axum", &["console"]),
    ("hyper", &["console"]),
    ("hyper_util", &["console"]),
    ("clap", &["cli"]),
];

/// Rooms in which everything is decided: no clock, socket, disk, dice, runtime.
const PURE: &[&str] = &[
    "units",
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
];

/// Rooms that know no runtime either; what they need of the outside is handed to them.
const WITHOUT_RUNTIME: &[&str] = &["node"];

/// What a pure room never names.
/// A thread's own table of values (`LocalKey`) is memory: it asks nobody. Making threads and waiting in them is what is meant.
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
    for (path, text) in sources() {
        let room = room_of(&path);
        let Some(floor) = floors.get(room.as_str()) else {
            assert!(matches!(room.as_str(), "lib" | "main"), "{room} has no floor: {}", path.display());
            continue;
        };
        for (line, used) in uses(&text) {
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
    for (path, text) in sources() {
        let place = path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
        for (library, homes) in LIBRARIES {
            if homes.iter().any(|home| place.starts_with(home)) {
                continue;
            }
            for (number, line) in code_lines(&text) {
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
    for (path, text) in sources() {
        let room = room_of(&path);
        if !PURE.contains(&room.as_str()) && !WITHOUT_RUNTIME.contains(&room.as_str()) {
            continue;
        }
        for (number, line) in code_lines(&text) {
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
    for (path, text) in sources() {
        if room_of(&path) == "sim" {
            wrong.extend(
                uses(&text).into_iter().filter(|(_, used)| used == "actors").map(|(line, _)| (path.clone(), line)),
            );
        }
    }
    assert!(wrong.is_empty(), "the simulator uses actors: {wrong:?}");
}

#[test]
fn money_and_energy_know_no_floats() {
    let rooms = ["units", "tariff", "ledger", "payment", "billing", "session", "account", "accounting"];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if rooms.contains(&room_of(&path).as_str()) {
            for (number, line) in code_lines(&text) {
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

/// Every source file, without what is only compiled for tests of its own room.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_apart(&path) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 50, "the sources are where they are expected");
    found
}

/// Files that are not part of the library as it runs: the build script, and tests in files of their own.
fn is_apart(path: &Path) -> bool {
    path.ends_with("packaging/commit.rs")
        || path.ends_with("tests.rs")
        || path.components().any(|part| part.as_os_str() == "tests")
}

/// The first folder below `src`, or the file's name.
fn room_of(path: &Path) -> String {
    let place = path.strip_prefix(root().join("src")).unwrap();
    let first = place.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Lines of code with their numbers: no comments, and nothing from the file's tests on.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .zip(1..)
        .map(|(line, number)| (number, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Rooms that a file imports from.
fn uses(text: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (number, line) in code_lines(text) {
        for part in line.split("crate::").skip(1) {
            let room: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            used.push((number, room));
        }
    }
    used
}
