//! Every file and folder that README and manual name exists.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_path_that_a_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for document in documents(root) {
        let text = fs::read_to_string(&document).unwrap();
        for (number, line) in text.lines().enumerate() {
            for (named, path) in named(line) {
                if !root.join(&path).exists() {
                    wrong.push(format!("{}:{}: `{named}`", document.strip_prefix(root).unwrap().display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "documents name what is not there:\n{}", wrong.join("\n"));
}

#[test]
fn names_without_a_folder_stand_in_that_of_the_name_before() {
    let paths = |line| named(line).into_iter().map(|(_, path)| path.display().to_string()).collect::<Vec<String>>();
    assert_eq!(paths("`src/a/b.rs`, `c.rs` and `x.y`"), ["src/a/b.rs", "src/a/c.rs"]);
    assert_eq!(paths("`src/a`, `c.rs`"), ["src/a", "src/a/c.rs"]);
    assert_eq!(paths("`c.rs` alone, `cargo test`, `src/a/*.md`"), Vec::<String>::new());
}

/// The paths in code quotes of a line: those below the tree's folders, and files of Rust in the folder of the name before.
fn named(line: &str) -> Vec<(&str, PathBuf)> {
    const FOLDERS: [&str; 4] = ["src/", "tests/", "benches/", "certs/"];
    let mut found: Vec<(&str, PathBuf)> = Vec::new();
    for quoted in line.split('`').skip(1).step_by(2) {
        if quoted.contains(|c: char| c.is_whitespace() || "*{}<>$".contains(c)) {
            continue;
        }
        if FOLDERS.iter().any(|folder| quoted.starts_with(folder)) {
            found.push((quoted, PathBuf::from(quoted)));
        } else if quoted.ends_with(".rs")
            && let Some((_, before)) = found.last()
        {
            let folder = if before.extension().is_some() { before.parent().unwrap() } else { before };
            let path = folder.join(quoted);
            found.push((quoted, path));
        }
    }
    found
}

fn documents(root: &Path) -> Vec<PathBuf> {
    let pages = fs::read_dir(root.join("src/manual")).unwrap().map(|entry| entry.unwrap().path());
    let mut documents: Vec<PathBuf> = pages.filter(|page| page.extension().is_some_and(|end| end == "md")).collect();
    documents.extend(["README.md", "certs/README.md", "src/packaging/README.md"].map(|name| root.join(name)));
    documents
}
