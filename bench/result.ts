/** What a bench answers: the goal in words, whether it was met, and the figures behind it. */
export interface BenchResult {
  goal: string;
  ok: boolean;
  [figure: string]: unknown;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/** To three significant digits. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
