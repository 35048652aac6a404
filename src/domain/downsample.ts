/** Which points of a series to show. */
export interface Downsampled {
  /** Positions of the points kept, ascending. */
  indexes: number[];
  /** Whether any point was left out. */
  sampled: boolean;
}

/**
 * At most `maxPoints` points that draw the same curve: the first and the last, and the least and the greatest of each
 * of `(maxPoints - 2) / 2` equal stretches of steps. NaN and infinities are neither least nor greatest; a stretch of
 * nothing else keeps its first point. `steps` ascend; `maxPoints` below 4 leaves only the last point and the first.
 */
export function downsampleMinMax(steps: ArrayLike<number>, values: ArrayLike<number>, maxPoints: number): Downsampled {
  const count = steps.length;
  if (count <= maxPoints) return { indexes: Array.from({ length: count }, (_, index) => index), sampled: false };
  if (maxPoints < 1) return { indexes: [], sampled: true };
  if (maxPoints === 1) return { indexes: [count - 1], sampled: true };
  const bucketCount = Math.floor((maxPoints - 2) / 2);
  const firstStep = steps[0] ?? 0;
  const span = (steps[count - 1] ?? 0) - firstStep;
  const bucketOf = (index: number): number =>
    span === 0 ? 0 : Math.min(bucketCount - 1, Math.floor((((steps[index] ?? 0) - firstStep) / span) * bucketCount));
  const indexes = [0];
  let start = 1;
  while (bucketCount > 0 && start < count - 1) {
    const bucket = bucketOf(start);
    let end = start + 1;
    while (end < count - 1 && bucketOf(end) === bucket) end += 1;
    indexes.push(...extremes(values, start, end));
    start = end;
  }
  indexes.push(count - 1);
  return { indexes, sampled: true };
}

/** Positions of the least and the greatest finite value in [start, end), ascending; one where they are the same. */
function extremes(values: ArrayLike<number>, start: number, end: number): number[] {
  let least = -1;
  let greatest = -1;
  for (let index = start; index < end; index += 1) {
    const value = values[index] ?? NaN;
    if (!Number.isFinite(value)) continue;
    if (least === -1 || value < (values[least] ?? NaN)) least = index;
    if (greatest === -1 || value > (values[greatest] ?? NaN)) greatest = index;
  }
  if (least === -1) return [start];
  return least === greatest ? [least] : [Math.min(least, greatest), Math.max(least, greatest)];
}
