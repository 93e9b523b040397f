//! Draws the pictures of the docs from the recorded results: `docs/results` to
//! `docs/images`.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use tradejoin_benches::plots::pictures;

fn main() -> anyhow::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    for (name, picture) in pictures(&docs.join("results"))? {
        let path = docs.join("images").join(name);
        fs::write(&path, picture).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
