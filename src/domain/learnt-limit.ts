/**
 * A limit on the number of jobs that a cluster does not tell, found out from what it takes and what it refuses: between the most that it is
 * known to take and the least that it refused, the middle is tried next. Once both meet, one more is tried now and then, for limits change.
 */
export interface LearntLimit {
  /** So many jobs of the user were there at once. */
  accepted: number;
  /** So many were too many. */
  refused: number;
  /** How many are tried beyond what is known. */
  step: number;
  /** Milliseconds of the clock: when more is tried although the limit is reached. */
  tryAt: number;
  /** Tries in a row that found the limit where it was. */
  vainTries: number;
  /** What the cluster said. */
  words: string;
}

const TRY_AGAIN_MS = { first: 30_000, most: 600_000 };

/** Jobs that were asked for on top of those present were refused. */
export function afterRefusal(
  known: LearntLimit | null, { present, asked, words, now, jitter }: { present: number; asked: number; words: string; now: number; jitter: number },
): LearntLimit {
  const refused = present + asked;
  const isAtLimit = asked <= 1;
  const vainTries = isAtLimit ? (known?.vainTries ?? 0) + 1 : known?.vainTries ?? 0;
  const pause = Math.min(TRY_AGAIN_MS.most, TRY_AGAIN_MS.first * 2 ** Math.max(0, vainTries - 1)) * (0.75 + jitter / 2);
  // What was taken earlier says nothing once less than that is refused.
  const accepted = known !== null && known.accepted < refused ? Math.max(known.accepted, present) : present;
  return { accepted, refused, step: 1, tryAt: now + pause, vainTries, words };
}

/** The cluster took jobs, and so many are there now. */
export function afterAcceptance(known: LearntLimit, present: number, now: number): LearntLimit {
  const accepted = Math.max(known.accepted, present);
  if (present < known.refused) return { ...known, accepted };
  return { ...known, accepted, refused: present + 1, step: known.step * 2, tryAt: now, vainTries: 0 };
}

/** How many more may be tried while so many are there. */
export function learntRoom({ accepted, refused, step, tryAt }: LearntLimit, present: number, now: number): number {
  if (present < accepted) return accepted - present;
  if (refused - present >= 2) return Math.floor((refused - present) / 2);
  return now >= tryAt ? step : 0;
}
