//! How long one record takes from bytes to calls. Measures decoding alone: nothing is judged.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark stops by panicking, and criterion's macros document nothing"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use toolwarden::decode::{Format, Item, Options, Record, Scratch, decode_with};
use toolwarden::event::{Position, Timestamp};

fn record(payload: &[u8]) -> Record<'_> {
    Record {
        position: Position { topic: "calls", ..Position::default() },
        append_time: Timestamp::MAX,
        key: None,
        content_type: None,
        payload: Some(payload),
    }
}

fn bench(criterion: &mut Criterion, name: &str, payload: &[u8], format: Format) {
    let options = Options { format, ..Options::default() };
    let mut calls = 0_u64;
    let mut scratch = Scratch::new();
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(u64::try_from(payload.len()).unwrap()));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            decode_with(
                &mut scratch,
                &record(black_box(payload)),
                &options,
                &mut |item| match item {
                    Item::Call(call) => calls += 1 + u64::from(black_box(call).position.index),
                    item => panic!("{item:?}"),
                },
            );
        });
    });
    group.finish();
    assert!(calls > 0, "{name}: nothing was decoded");
}

fn native(criterion: &mut Criterion) {
    let payload = include_bytes!("../fixtures/decode/native_404.json");
    assert_eq!(payload.len(), 404, "the number to reach is stated for this size");
    bench(criterion, "native_404_auto", payload, Format::Auto);
    bench(criterion, "native_404_told", payload, Format::Native);
    let bare: Vec<u8> = {
        let text = std::str::from_utf8(payload).unwrap();
        let (head, rest) = text.split_once("\"arguments\"").unwrap();
        let (_, tail) = rest.split_once("},").unwrap();
        format!("{head}{tail}").into_bytes()
    };
    bench(criterion, "native_without_arguments", &bare, Format::Auto);
}

criterion_group!(benches, native);
criterion_main!(benches);
