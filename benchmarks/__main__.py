"""Run every benchmark: `python -m benchmarks [--quick]`."""

from benchmarks import bench_batch_norm, bench_cross_correlation, bench_gradient_check

for benchmark in (bench_cross_correlation, bench_batch_norm, bench_gradient_check):
    print(f"\n{benchmark.__doc__.splitlines()[0]}\n", flush=True)
    benchmark.main()
