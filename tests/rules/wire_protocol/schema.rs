//! What is generated from the schema and kept beside it, so that a build needs no schema compiler: the Rust types of the
//! wire room, and the descriptor set for languages without a compiler of their own.

use std::path::{Path, PathBuf};

/// `UPDATE_GOLDEN=1 cargo test --test rules schema` writes both anew.
#[test]
fn generated_files_are_the_schemas() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire/schema");
    let mut compiler = protox::Compiler::new([&folder]).unwrap();
    compiler.open_file("wattstile.proto").unwrap();
    let generated = tempfile::tempdir().unwrap();
    let mut types = prost_build::Config::new();
    types.out_dir(generated.path()).compile_fds(compiler.file_descriptor_set()).unwrap();
    let files: [(PathBuf, Vec<u8>); 2] = [
        (folder.join("wattstile.v1.rs"), std::fs::read(generated.path().join("wattstile.v1.rs")).unwrap()),
        (folder.join("wattstile.binpb"), compiler.encode_file_descriptor_set()),
    ];
    for (kept, generated) in files {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&kept, &generated).unwrap();
        }
        assert!(std::fs::read(&kept).unwrap() == generated, "{} is older than wattstile.proto", kept.display());
    }
}
