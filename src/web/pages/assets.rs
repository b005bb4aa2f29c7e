//! The stylesheet and the script: embedded, and named with a digest of their content, so that browsers keep them.

use ring::digest::{SHA256, digest};
use std::sync::LazyLock;

/// A file of the console.
pub(in crate::web) struct Asset {
    /// Its media type.
    pub media: &'static str,
    /// Its content.
    pub text: &'static str,
    name: &'static str,
    digest: String,
}

impl Asset {
    /// The tag of its content.
    pub fn tag(&self) -> String {
        format!("\"{}\"", self.digest)
    }
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        ("console.css", "text/css; charset=utf-8", include_str!("assets/console.css")),
        ("console.js", "text/javascript; charset=utf-8", include_str!("assets/console.js")),
        ("mark.svg", "image/svg+xml", include_str!("assets/mark.svg")),
    ]
    .map(|(name, media, text)| {
        let digest = hex::encode(&digest(&SHA256, text.as_bytes()).as_ref()[..8]);
        Asset { media, text, name, digest }
    })
});

/// The asset at an address.
pub(in crate::web) fn asset(path: &str) -> Option<&'static Asset> {
    let name = path.strip_prefix("/assets/")?;
    ASSETS.iter().find(|asset| asset.name == name)
}

/// The address of an asset.
pub(super) fn address(name: &str) -> String {
    let digest = ASSETS.iter().find(|asset| asset.name == name).map(|asset| asset.digest.as_str());
    format!("/assets/{name}?v={}", digest.unwrap_or_default())
}
