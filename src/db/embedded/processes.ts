/** What can be known of a process from outside. */
import { execFile } from 'node:child_process';
import { readFile, readlink } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface ProcessFacts {
  /** Name of the executable. */
  name: string;
  /** When it started, in the system's own words: tells two processes apart that had the same id one after the other. */
  started: string;
}

/** Facts about a living process; null when there is none with this id or only its zombie is left. */
export async function processFacts(pid: number): Promise<ProcessFacts | null> {
  return process.platform === 'linux' ? linuxFacts(pid) : otherFacts(pid);
}

/** The directory a process works in; null when that cannot be seen. */
export async function workingDirectoryOf(pid: number): Promise<string | null> {
  return readlink(`/proc/${pid}/cwd`).catch(() => null);
}

/** Resolves to whether the process is gone when the time is up. */
export async function waitForEnd(pid: number, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (await processFacts(pid) !== null) {
    if (Date.now() > deadline) return false;
    await pause(10);
  }
  return true;
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => { setTimeout(resolve, milliseconds); });
}

async function linuxFacts(pid: number): Promise<ProcessFacts | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  // The name stands in parentheses and may itself hold some; state and start time are fields 3 and 22.
  const match = stat?.match(/^\d+ \((.*)\) (.+)$/s);
  const fields = match?.[2]?.split(' ') ?? [];
  const [state, started] = [fields[0], fields[19]];
  if (match?.[1] === undefined || started === undefined || state === 'Z' || state === 'X') return null;
  return { name: match[1], started };
}

async function otherFacts(pid: number): Promise<ProcessFacts | null> {
  const listed = await run('ps', ['-o', 'stat=,lstart=,comm=', '-p', String(pid)], { env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' } }).catch(() => null);
  const match = listed?.stdout.trim().match(/^(\S+)\s+(\S+ \S+\s+\S+ \S+ \S+)\s+(.+)$/);
  if (match?.[1] === undefined || match[2] === undefined || match[3] === undefined || match[1].startsWith('Z')) return null;
  return { name: match[3].split('/').at(-1) ?? '', started: match[2] };
}
