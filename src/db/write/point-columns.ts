/** Points as columns of equal length: plain lists of numbers, because an object for each point costs more than all else that is done with it. */

export interface PointColumns {
  steps: number[];
  /** NaN and infinities are values. */
  values: number[];
  /** Milliseconds since 1970. */
  times: number[];
}

/** All of the points by growing step, each step once: what is given last wins. The columns themselves where they are so already. */
export function orderedByStep(parts: readonly PointColumns[]): PointColumns {
  for (const { steps, values, times } of parts) {
    if (values.length !== steps.length || times.length !== steps.length) throw new Error('the columns of a series differ in length');
  }
  const [first] = parts;
  if (first !== undefined && parts.length === 1 && isGrowing(first.steps)) return first;
  const all = { steps: parts.flatMap(({ steps }) => steps), values: parts.flatMap(({ values }) => values), times: parts.flatMap(({ times }) => times) };
  return isGrowing(all.steps) ? all : sorted(all);
}

function isGrowing(steps: readonly number[]): boolean {
  for (let index = 1; index < steps.length; index += 1) if (steps[index - 1]! >= steps[index]!) return false;
  return true;
}

function sorted({ steps, values, times }: PointColumns): PointColumns {
  const indexOf = new Map(steps.map((step, index) => [step, index]));
  const indices = [...indexOf.values()].sort((a, b) => steps[a]! - steps[b]!);
  return { steps: indices.map((index) => steps[index]!), values: indices.map((index) => values[index]!), times: indices.map((index) => times[index]!) };
}

/** Of points by growing step those from a step on. */
export function fromStep({ steps, values, times }: PointColumns, step: number): PointColumns {
  const found = steps.findIndex((each) => each >= step);
  const start = found === -1 ? steps.length : found;
  return { steps: steps.slice(start), values: values.slice(start), times: times.slice(start) };
}

/** Where the last finite value is, the least and the greatest, the first of equal ones; null where none is finite. */
export function finiteExtremes({ values }: PointColumns): { last: number; least: number; greatest: number } | null {
  let [last, least, greatest] = [-1, -1, -1];
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index]!;
    if (!Number.isFinite(value)) continue;
    last = index;
    if (least === -1 || value < values[least]!) least = index;
    if (greatest === -1 || value > values[greatest]!) greatest = index;
  }
  return last === -1 ? null : { last, least, greatest };
}
