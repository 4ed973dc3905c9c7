/** Benchmarks: end to end ({@link anneal.bench.Bench}, the cases of {@code anneal bench}) and JMH for kernels. */
package anneal.bench;
