/** SLURM's ways to write the ids of array tasks. */

/** The id of a task of a batch that was submitted as `baseId`. */
export function taskSlurmJobId(baseId: string, taskIndex: number, taskCount: number): string {
  return taskCount === 1 ? baseId : `${baseId}_${taskIndex}`;
}

/** A job as it stands in a listing: its base id and the array indexes meant, null for a job that is no array. */
export interface ListedId {
  baseId: string;
  taskIndexes: number[] | null;
}

/** Reads `123`, `123_4` and the form of tasks that still wait together, `123_[0-49,60%5]`. Null for anything else. */
export function parseListedId(text: string): ListedId | null {
  const match = /^(\d+)(?:_(?:(\d+)|\[([\d,:-]+)(?:%\d+)?\]))?$/.exec(text);
  if (match === null) return null;
  const [, baseId = '', index, ranges] = match;
  if (index !== undefined) return { baseId, taskIndexes: [Number(index)] };
  return { baseId, taskIndexes: ranges === undefined ? null : ranges.split(',').flatMap(expandRange) };
}

/** `3`, `0-9`, `0-9:2`. */
function expandRange(text: string): number[] {
  const [span = '', step = '1'] = text.split(':');
  const [first = 0, last = first] = span.split('-').map(Number);
  const stride = Math.max(1, Number(step));
  return Array.from({ length: Math.max(0, Math.floor((last - first) / stride) + 1) }, (_, index) => first + index * stride);
}

/** The same ids in few words: tasks of one array become `123_[0-4,7]`, which SLURM acts on in one request. */
export function compactIds(slurmJobIds: string[]): string[] {
  const single: string[] = [];
  const arrays = new Map<string, number[]>();
  for (const id of slurmJobIds) {
    const [baseId = '', index] = id.split('_');
    if (index === undefined) single.push(id);
    else arrays.set(baseId, [...(arrays.get(baseId) ?? []), Number(index)]);
  }
  return [...single, ...[...arrays].map(([baseId, indexes]) => {
    const ranges = toRanges(indexes);
    return ranges.includes(',') || ranges.includes('-') ? `${baseId}_[${ranges}]` : `${baseId}_${ranges}`;
  })];
}

function toRanges(indexes: number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const index of [...new Set(indexes)].sort((a, b) => a - b)) {
    const run = runs.at(-1);
    if (run !== undefined && run[1] === index - 1) run[1] = index;
    else runs.push([index, index]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(',');
}
