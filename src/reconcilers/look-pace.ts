/**
 * How often SLURM may be asked while changes are pushed. A few questions may follow each other quickly, for somebody who cancels a job
 * wants to see it end; a steady demand is served evenly, more slowly where each look takes several sacct. The description of the cluster takes 1 squeue a minute besides.
 */

const MINUTE_MS = 60_000;
/** In any minute. */
const MOST = { looks: 8, sacctCommands: 6 };
/** Below these the next question may come soon. */
const QUICK = { looks: 4, sacctCommands: 3 };
const QUICK_GAP_MS = 2_000;
const STEADY_GAP_MS = 15_000;

interface Look {
  at: number;
  sacctCommands: number;
}

export class LookPace {
  #looks: Look[] = [];

  /** A look has been taken. Times are milliseconds of one clock. */
  note(at: number, sacctCommands: number): void {
    this.#looks = [...this.#looks.filter((look) => look.at > at - MINUTE_MS), { at, sacctCommands }];
  }

  /** The earliest time for the next look. */
  earliest(): number {
    const last = this.#looks.at(-1);
    if (last === undefined) return -Infinity;
    // The next one is taken to cost what the last one did.
    const cost = Math.max(1, last.sacctCommands);
    const soon = this.#after(last.at + QUICK_GAP_MS);
    const isQuick = soon.length < QUICK.looks && sacctOf(soon) < QUICK.sacctCommands;
    let at = last.at + (isQuick ? QUICK_GAP_MS : Math.max(STEADY_GAP_MS, this.#evenGap(last.at, cost)));
    for (let counted = this.#after(at); counted.length >= MOST.looks || (counted.length > 0 && sacctOf(counted) + cost > MOST.sacctCommands); counted = this.#after(at)) {
      at = (counted[0]?.at ?? at) + MINUTE_MS;
    }
    return at;
  }

  /** Milliseconds between looks at which those that may still be taken last until others are a minute ago. */
  #evenGap(from: number, cost: number): number {
    const looks = this.#after(from);
    return Math.max(...looks.map(({ at }, index) => {
      const left = looks.slice(index);
      const room = Math.min(MOST.looks - left.length, Math.floor((MOST.sacctCommands - sacctOf(left)) / cost));
      return (at + MINUTE_MS - from) / (Math.max(0, room) + 1);
    }));
  }

  /** The looks that count for a minute that ends then. */
  #after(at: number): Look[] {
    return this.#looks.filter((look) => look.at > at - MINUTE_MS);
  }
}

function sacctOf(looks: Look[]): number {
  return looks.reduce((sum, look) => sum + look.sacctCommands, 0);
}
