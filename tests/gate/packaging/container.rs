//! The Containerfile, without an engine that builds it: what it copies is there, and what it starts is understood.

use super::{WATTSTILE, root};
use std::process::Command;

const CONTAINERFILE: &str = include_str!("../../../src/packaging/Containerfile");
const IGNORED: &str = include_str!("../../../src/packaging/Containerfile.dockerignore");

/// The instructions, each on one line.
fn instructions() -> Vec<(String, String)> {
    let text = CONTAINERFILE.replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(verb, rest)| (verb.to_owned(), rest.to_owned())).collect()
}

/// The arguments of a command in its exec form.
fn words(verb: &str) -> Vec<String> {
    let of_image = instructions().into_iter().rev().find(|(name, _)| name == verb).expect(verb).1;
    serde_json::from_str(&of_image[of_image.find('[').expect("exec form")..]).unwrap()
}

#[test]
fn what_the_image_is_made_of_is_in_the_tree() {
    let stages: Vec<_> = instructions().into_iter().filter(|(verb, _)| verb == "FROM").collect();
    assert_eq!(stages.len(), 2, "compiled in one, run in another");
    let minimum = include_str!("../../../Cargo.toml").lines().find_map(|line| line.strip_prefix("rust-version = \""));
    let wanted = format!("rust:{}-", minimum.unwrap().trim_end_matches('"'));
    assert!(stages[0].1.starts_with(&wanted), "{wanted} compiles it: {stages:?}");
    let copied = instructions().into_iter().filter(|(verb, rest)| verb == "COPY" && !rest.starts_with("--from"));
    for (_, rest) in copied {
        let mut sources: Vec<&str> = rest.split_whitespace().collect();
        sources.pop();
        for source in sources {
            assert!(root().join(source).exists(), "{source}");
            let top = source.split('/').next().unwrap();
            assert!(IGNORED.lines().any(|line| line.strip_prefix('!') == Some(top)), "{source} is kept from the build");
        }
    }
    // Every source file of a target that Cargo looks for is copied.
    for folder in ["src", "benches"] {
        assert!(CONTAINERFILE.contains(&format!("COPY {folder} {folder}\n")), "{folder}");
    }
    assert!(CONTAINERFILE.contains("--profile dist"), "fully optimized");
}

#[test]
fn the_image_starts_the_gate_as_a_plain_user_and_asks_for_its_health() {
    let user = instructions().into_iter().rev().find(|(verb, _)| verb == "USER").expect("a user of its own").1;
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}: numbers, and not root");
    assert_eq!(words("ENTRYPOINT"), ["/usr/bin/wattstile"]);
    // Both commands are understood by the program; there is no gate and no such file here.
    let shown = |arguments: &[String]| {
        let ran = Command::new(WATTSTILE).args(arguments).output().unwrap();
        (ran.status.code().unwrap(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    let (code, error) = shown(&words("CMD"));
    assert!(code != 2 && error.contains("/etc/wattstile/wattstile.toml"), "{code}: {error}");
    let health = words("HEALTHCHECK");
    assert_eq!((health[0].as_str(), shown(&health[1..]).0), ("/usr/bin/wattstile", 5));
}
