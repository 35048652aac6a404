/** The small forms in SLURM's listings: times, durations, sizes, exit codes. Null stands for "none" and "unknown". */

/** A moment in UTC, which the commands are told to print. */
export function parseMoment(text: string): Date | null {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/.test(text)) return null;
  return new Date(`${text}Z`);
}

/** `10:00`, `1:00:00`, `2-00:00:00` and `2-12` in seconds; `30` alone is minutes, as in a time limit. Null for UNLIMITED and the like. */
export function parseSeconds(text: string): number | null {
  const match = /^(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?$/.exec(text);
  if (match === null) return null;
  const [days, ...rest] = match.slice(1).map((part) => (part === undefined ? null : Number(part)));
  const parts = rest.filter((part) => part !== null);
  // With days the first part is hours; without, the last of two is seconds.
  const [hours = 0, minutes = 0, seconds = 0] = days !== null || parts.length === 3 ? parts : [0, ...parts];
  return (((days ?? 0) * 24 + hours) * 60 + minutes) * 60 + seconds;
}

/** The same in whole minutes, rounded up. */
export function parseMinutes(text: string): number | null {
  const seconds = parseSeconds(text);
  return seconds === null ? null : Math.ceil(seconds / 60);
}

const SIZE_FACTORS: Record<string, number> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4, P: 1024 ** 5 };

/** `1480K`, `1.50G` in bytes. */
export function parseBytes(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)([KMGTP]?)$/.exec(text);
  return match === null ? null : Math.round(Number(match[1]) * (SIZE_FACTORS[match[2] ?? ''] ?? 1));
}

/**
 * SLURM's `code:signal`. Our script passes on a command's death by a signal as code 128 + signal, as shells do. Some
 * versions of sacct take 128 off such a code, so that `9:0` may be either: the exit record knows.
 */
export function parseExitCode(text: string): { exitCode: number | null; signal: number | null } {
  const match = /^(\d+):(\d+)$/.exec(text);
  if (match === null) return { exitCode: null, signal: null };
  const exitCode = Number(match[1]);
  const signal = Number(match[2]);
  if (signal === 0 && exitCode > 128 && exitCode <= 192) return { exitCode, signal: exitCode - 128 };
  return { exitCode, signal: signal === 0 ? null : signal };
}

/** A word, or null for SLURM's many ways to say that there is none. */
export function parseWord(text: string): string | null {
  return ['', 'None', '(null)', 'N/A', 'None assigned', 'Unknown'].includes(text) ? null : text;
}
