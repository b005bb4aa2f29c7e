//! The commit in the version: right in a clone, a worktree and a source archive.

#[allow(dead_code)]
#[path = "../../../src/packaging/commit.rs"]
mod commit;

use super::{WATTSTILE, done, root, tool};
use std::fs;
use std::path::Path;
use std::process::Command;

fn found(root: &Path) -> Option<String> {
    commit::find(root, None).commit
}

#[test]
fn the_commit_is_found_in_clone_worktree_and_archive() {
    let Some(git) = tool("git") else { return };
    let place = tempfile::tempdir().unwrap();
    let clone = place.path().join("clone");
    let git_in = |folder: &Path, arguments: &[&str]| {
        let settings =
            ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "init.defaultBranch=trunk", "-c", "gc.auto=0"];
        done(Command::new(&git).current_dir(folder).args(settings).args(arguments)).trim().to_owned()
    };
    fs::create_dir_all(clone.join("src/packaging")).unwrap();
    for name in ["commit", ".gitattributes"] {
        let name = Path::new("src/packaging").join(name);
        fs::copy(root().join(&name), clone.join(&name)).unwrap();
    }
    git_in(&clone, &["init", "--quiet"]);
    assert_eq!(found(&clone), None, "there is no commit yet");
    git_in(&clone, &["add", "."]);
    git_in(&clone, &["commit", "--quiet", "-m", "one"]);
    let one = git_in(&clone, &["rev-parse", "HEAD"])[..12].to_owned();
    assert_eq!(found(&clone), Some(one.clone()));

    // What changes with the next commit is looked at, also where the branch is packed.
    git_in(&clone, &["pack-refs", "--all"]);
    assert_eq!(found(&clone), Some(one.clone()), "a packed branch");
    let before: Vec<_> = commit::find(&clone, None).read.iter().map(|file| fs::read(file).unwrap()).collect();
    let looked_at = commit::find(&clone, None).read;
    git_in(&clone, &["commit", "--quiet", "--allow-empty", "-m", "two"]);
    let after: Vec<_> = looked_at.iter().map(|file| fs::read(file).unwrap()).collect();
    assert_ne!(before, after, "{looked_at:?}");
    let two = git_in(&clone, &["rev-parse", "HEAD"])[..12].to_owned();
    assert_eq!(found(&clone), Some(two.clone()));

    let worktree = place.path().join("worktree");
    git_in(&clone, &["worktree", "add", "--quiet", "-b", "branch", worktree.to_str().unwrap(), &one]);
    assert_eq!(found(&worktree), Some(one.clone()), "a worktree has a HEAD of its own");
    git_in(&worktree, &["checkout", "--quiet", "--detach", &two]);
    assert_eq!(found(&worktree), Some(two.clone()), "no branch is checked out");

    let archive = place.path().join("archive");
    fs::create_dir(&archive).unwrap();
    git_in(&clone, &["archive", "--format=tar", "--output", "../archive.tar", &one]);
    done(Command::new("tar").current_dir(&archive).args(["-xf", "../archive.tar"]));
    assert_eq!(found(&archive), Some(one), "the archive of a commit");
    // Unpacked into another project's clone, that project's commit is none of ours.
    fs::write(archive.join("src/packaging/commit"), fs::read(root().join("src/packaging/commit")).unwrap()).unwrap();
    assert_eq!(found(&archive), None, "files of no commit");

    let named = commit::find(&archive, Some("0123456789ABCDEF0123456789abcdef01234567"));
    assert_eq!(named.commit.as_deref(), Some("0123456789ab"), "the builder names it");
    assert_eq!(commit::find(&clone, Some("latest")).commit, Some(two), "what is no hash is passed over");
}

#[test]
fn the_program_tells_its_version_and_commit() {
    let text = done(Command::new(WATTSTILE).arg("--version"));
    let version = text.trim().strip_prefix(concat!("wattstile ", env!("CARGO_PKG_VERSION"), " (")).expect(&text);
    let commit = version.trim_end_matches(')').split(',').next().unwrap();
    if root().join(".git").exists() {
        assert!(commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
        let Some(git) = tool("git") else { return };
        done(Command::new(git).current_dir(root()).args(["cat-file", "-e", commit]));
    } else {
        assert!(!commit.is_empty(), "{text}")
    }
    assert_eq!(version.contains("development build"), cfg!(debug_assertions), "{text}");
}
