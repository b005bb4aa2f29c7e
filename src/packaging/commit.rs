//! The build script: passes the commit of the sources to the compiler.
//!
//! Files are read and no program is started: `.git` of a clone or of a worktree, and in a source archive `commit`
//! beside this file, into which `git archive` writes the commit. `WATTSTILE_COMMIT` has precedence over both, for
//! builds without either. Optimized builds follow every commit. Development builds follow the sources: a commit alone
//! compiles nothing again.

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=WATTSTILE_COMMIT");
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let named = std::env::var("WATTSTILE_COMMIT").ok();
    let found = find(&root, named.as_deref());
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        println!("cargo::rerun-if-changed=src");
    } else {
        println!("cargo::rerun-if-changed=src/packaging/commit.rs");
        for file in &found.read {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    if let Some(commit) = found.commit {
        println!("cargo::rustc-env=WATTSTILE_BUILT_FROM={commit}");
    }
}

/// A commit, and the files that would change with it.
#[derive(Debug, Default)]
pub struct Found {
    /// The first twelve digits of its hash.
    pub commit: Option<String>,
    /// What was read for it.
    pub read: Vec<PathBuf>,
}

/// The commit of the sources in this folder.
pub fn find(root: &Path, named: Option<&str>) -> Found {
    let mut found = Found::default();
    if let Some(commit) = named.and_then(short) {
        found.commit = Some(commit);
        return found;
    }
    if let Some(git) = git_folder(&root.join(".git")) {
        found.commit = head(&git, &mut found.read);
        return found;
    }
    found.commit = read(&root.join("src/packaging/commit"), &mut found.read).and_then(|text| short(&text));
    found
}

/// The folder with `HEAD`: `.git` itself, or what the file `.git` of a worktree names.
fn git_folder(dot_git: &Path) -> Option<PathBuf> {
    if dot_git.is_dir() {
        return Some(dot_git.to_owned());
    }
    let text = fs::read_to_string(dot_git).ok()?;
    let named = text.strip_prefix("gitdir:")?.trim();
    Some(dot_git.parent()?.join(named))
}

/// The commit that is checked out: `HEAD` names it, or a branch, which stands in a file of its own or among the packed ones.
fn head(git: &Path, files: &mut Vec<PathBuf>) -> Option<String> {
    let head = read(&git.join("HEAD"), files)?;
    // The record of what was checked out grows with each commit, also where a packed branch gets a file of its own.
    files.extend(Some(git.join("logs/HEAD")).filter(|record| record.is_file()));
    let Some(branch) = head.strip_prefix("ref:").map(str::trim) else { return short(&head) };
    // A worktree has a HEAD of its own, and the branches of its clone.
    let common = fs::read_to_string(git.join("commondir")).ok();
    let common = common.map_or_else(|| git.to_owned(), |path| git.join(path.trim()));
    if let Some(commit) = read(&common.join(branch), files) {
        return short(&commit);
    }
    let packed = read(&common.join("packed-refs"), files)?;
    packed.lines().find_map(|line| line.strip_suffix(branch)?.strip_suffix(' ')).and_then(short)
}

fn read(path: &Path, files: &mut Vec<PathBuf>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    files.push(path.to_owned());
    Some(text.trim().to_owned())
}

/// The first twelve digits of a hash; nothing of what is none.
fn short(hash: &str) -> Option<String> {
    let hash = hash.trim();
    let whole = hash.len() >= 12 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    whole.then(|| hash[..12].to_ascii_lowercase())
}
