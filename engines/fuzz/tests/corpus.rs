//! Plays the whole corpus again: what a fuzzer has found to be different, and what once broke.

use std::{fs, path::Path};

use fuzz::TARGETS;

#[test]
fn every_target_reads_its_whole_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in TARGETS {
        let files: Vec<_> = fs::read_dir(corpus.join(target.name)).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.len() >= 5, "{}: {} files", target.name, files.len());
        for file in files {
            let bytes = fs::read(&file).unwrap();
            let run = std::panic::catch_unwind(|| (target.run)(&bytes));
            assert!(run.is_ok(), "{}", file.display());
        }
    }
}
