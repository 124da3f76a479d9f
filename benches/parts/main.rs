//! The hot parts alone, timed: `cargo bench --bench parts`.

mod work;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parts");
    group.throughput(Throughput::Elements(work::LINES as u64));
    for mut part in work::parts() {
        group.bench_function(part.name, |bencher| bencher.iter(|| part.run()));
    }
    group.finish();
}

criterion_group!(benches, parts);
criterion_main!(benches);
