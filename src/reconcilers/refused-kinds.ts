/**
 * Some clusters refuse a job without saying whether there are too many or this one asks for too much. Which it is shows when jobs of other
 * kinds are sent right after it: if they are refused as well, there are too many; once one is taken, the kinds refused just before have to
 * step back. A kind that had to do so several times asks for too much: a place that became free in between is not the reason each time.
 */
import type { Resources } from '../domain/job-spec.ts';

/** How many other kinds are sent, one job of each, after one was refused. */
const MOST_OTHERS = 3;
/** How often a kind steps back before it counts as one that asks for too much. */
const MOST_STEPS_BACK = 3;
/** For how long it does the first time; then twice as long each time. */
const STEP_BACK_MS = 30_000;
/** Kinds remembered of one lane; beyond these it begins anew. */
const MAX_KINDS = 100;

interface Kind {
  resources: Resources;
  stepsBack: number;
  /** Milliseconds of the clock. */
  asideUntil: number;
}

interface Lane {
  /** Kinds that were refused, by what they ask for. */
  kinds: Map<string, Kind>;
  /** Those refused one after the other just now: yet another one is to go next. */
  inRow: Kind[];
  /** Those that were sent as the other ones before, in vain, since the lane last had one taken. */
  triedBefore: Set<Kind>;
}

/** A kind is what jobs ask for: those that ask for the same are refused for the same. */
export class RefusedKinds {
  readonly #lanes = new Map<string, Lane>();

  /** Whether the kind is known to ask for too much. */
  isTooLarge(lane: string, resources: Resources): boolean {
    return (this.#lanes.get(lane)?.kinds.get(keyOf(resources))?.stepsBack ?? 0) >= MOST_STEPS_BACK;
  }

  /** One job of the kind was refused alone. */
  noteRefused(lane: string, resources: Resources): void {
    const known = this.#lanes.get(lane) ?? { kinds: new Map<string, Kind>(), inRow: [], triedBefore: new Set<Kind>() };
    this.#lanes.set(lane, known);
    if (known.kinds.size >= MAX_KINDS) known.kinds.clear();
    const kind = known.kinds.get(keyOf(resources)) ?? { resources, stepsBack: 0, asideUntil: -Infinity };
    known.kinds.set(keyOf(resources), kind);
    known.inRow.push(kind);
    if (known.inRow.length <= MOST_OTHERS) return;
    for (const other of known.inRow.slice(1)) known.triedBefore.add(other);
    known.inRow = [];
  }

  noteTaken(lane: string, resources: Resources, now: number): void {
    const known = this.#lanes.get(lane);
    if (known === undefined) return;
    known.kinds.delete(keyOf(resources));
    for (const kind of known.inRow) {
      kind.asideUntil = now + STEP_BACK_MS * 2 ** kind.stepsBack;
      kind.stepsBack += 1;
    }
    known.inRow = [];
    known.triedBefore.clear();
  }

  /** Whether one job of another kind is to go next. */
  wantsAnother(lane: string): boolean {
    return (this.#lanes.get(lane)?.inRow.length ?? 0) > 0;
  }

  /** There is no other kind to try: the cluster's word stands for now, and those that were tried may be tried again. */
  noteNoOther(lane: string): void {
    const known = this.#lanes.get(lane);
    if (known === undefined) return;
    known.inRow = [];
    known.triedBefore.clear();
  }

  /** The kinds that are not to go next. */
  aside(lane: string, now: number): Resources[] {
    const known = this.#lanes.get(lane);
    if (known === undefined) return [];
    const steppedBack = [...known.kinds.values()].filter(({ asideUntil }) => asideUntil > now);
    const tried = known.inRow.length === 0 ? [] : [...known.inRow, ...known.triedBefore];
    return [...steppedBack, ...tried].map(({ resources }) => resources);
  }
}

function keyOf(resources: Resources): string {
  return JSON.stringify(resources);
}
