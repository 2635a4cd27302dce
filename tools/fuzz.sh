#!/bin/sh
# Fuzzes what the engines read from others, guided by coverage, on stable Rust: sh tools/fuzz.sh TARGET [SECONDS]
# TARGET: frames, packets, control, changes. What is new goes into engines/fuzz/corpus/TARGET, at the end made as small as it can be
# without losing coverage; what breaks stays in the working directory as crash-…, and belongs into the corpus once it is mended.
set -eu
cd "$(dirname "$0")/../engines"
target=${1:?"usage: tools/fuzz.sh frames|packets|control|changes [SECONDS]"}
seconds=${2:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz passes; only its sanitizers need a nightly compiler, and there is no unsafe code in what is fuzzed.
level='-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters'
RUSTFLAGS="-Cpasses=sancov-module $level -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks" \
  cargo build --quiet --release --locked -p fuzz --features libfuzzer --target "$host" --target-dir target/fuzz --config profile.release.lto=false --config profile.release.codegen-units=16
corpus=fuzz/corpus/$target
found=$(mktemp -d)
small=$(mktemp -d)
trap 'rm -rf "$found" "$small"' EXIT
export FUZZ_TARGET="$target"
"target/fuzz/$host/release/fuzz" "$found" "$corpus" -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=1024
"target/fuzz/$host/release/fuzz" -merge=1 -max_len=4096 "$small" "$corpus" "$found"
rm -f "$corpus"/*
cp "$small"/* "$corpus"/
echo "$target: $(ls "$corpus" | wc -l) files, $(cat "$corpus"/* | wc -c) bytes" >&2
