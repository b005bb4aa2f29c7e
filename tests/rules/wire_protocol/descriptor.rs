//! The compiled schema that ships beside the `.proto`, for languages without a compiler of their own.

/// `UPDATE_GOLDEN=1 cargo test --test rules descriptor` writes it anew.
#[test]
fn the_shipped_descriptor_set_is_the_schemas() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/wire/schema/wattstile.binpb");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, wattstile::wire::DESCRIPTOR_SET).unwrap();
    }
    let shipped = std::fs::read(path).expect("the descriptor set is there");
    assert!(shipped == wattstile::wire::DESCRIPTOR_SET, "{path} is older than wattstile.proto");
}
