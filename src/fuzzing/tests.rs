//! Replays the corpus: every input that the fuzzers found worth keeping, one a line, and every input that once broke something.

use super::{TARGETS, run};
use std::collections::BTreeSet;
use std::path::Path;

/// Reads a line as `u8::escape_ascii` writes it.
fn unescape(line: &str) -> Vec<u8> {
    let mut bytes = line.bytes();
    let mut read = Vec::new();
    while let Some(byte) = bytes.next() {
        read.push(match (byte, byte == b'\\') {
            (plain, false) => plain,
            (_, true) => match bytes.next().unwrap() {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                quoted => quoted,
            },
        });
    }
    read
}

#[test]
fn an_input_reads_back_as_it_is_kept() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(unescape(&all.escape_ascii().to_string()), all);
}

#[test]
fn every_target_passes_its_corpus_and_every_corpus_has_its_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut kept: BTreeSet<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    for (target, _) in TARGETS {
        let file = folder.join(format!("{target}.txt"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(text.lines().count() > 0, "{} is empty", file.display());
        for (number, line) in text.lines().enumerate() {
            // Named before it runs: a panic inside tells the rest.
            let at = format!("{target}.txt line {}", number + 1);
            let passed = std::panic::catch_unwind(|| run(target, &unescape(line)));
            assert!(passed.is_ok(), "{at} breaks the target {target}");
        }
        kept.remove(*target);
    }
    assert!(kept.is_empty(), "corpora without a target: {kept:?}");
}
