//! Compiles the protocol's schema: Rust types for the wire room, and a descriptor set for everybody else.

use protox::Compiler;
use std::path::PathBuf;

const DIRECTORY: &str = "src/wire/schema";
const SCHEMA: &str = "wattstile.proto";

fn main() {
    println!("cargo::rerun-if-changed={DIRECTORY}/{SCHEMA}");
    println!("cargo::rerun-if-changed={DIRECTORY}/build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut compiler = Compiler::new([DIRECTORY]).expect("the schema's directory exists");
    if let Err(error) = compiler.open_file(SCHEMA) {
        panic!("{DIRECTORY}/{SCHEMA}: {error:?}");
    }
    std::fs::write(out.join("wattstile.binpb"), compiler.encode_file_descriptor_set()).expect("OUT_DIR is writable");
    prost_build::Config::new()
        .compile_fds(compiler.file_descriptor_set())
        .expect("the descriptors were just checked by protox");
}
