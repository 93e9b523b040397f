//! Writes what the targets of checkpoints begin with to the corpus: again, when their
//! format has changed.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (number, (target, bytes)) in tradejoin_fuzzing::checkpoint_seeds().into_iter().enumerate() {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("seed-{number}")), bytes)?;
    }
    Ok(())
}
