/** Runs `work` for about `seconds` after a warm-up; milliseconds of each run, ascending. */
export function timeRuns(work: () => void, seconds: number): Float64Array {
  for (let warm = 0; warm < 20; warm++) work();
  const times: number[] = [];
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end) {
    const start = performance.now();
    work();
    times.push(performance.now() - start);
  }
  return Float64Array.from(times).toSorted();
}
