/**
 * The rig's daemons: each runs in the foreground of its own session and is recorded in `<rig>/processes/<name>.json`
 * with its pid, start time and boot, so that a number that was given to another process is never mistaken for ours.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, readdirSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Names one process for ever: pids are reused, pid + start time + boot are not. */
export interface ProcessIdentity {
  pid: number;
  startTicks: string;
  bootId: string;
}

export interface DaemonSpec {
  /** File-name safe and unique in the rig: `slurmd.alpha.a1`. */
  name: string;
  argv: string[];
  environment: Record<string, string>;
  uid?: number;
  gid?: number;
}

export interface DaemonRecord extends DaemonSpec {
  process: ProcessIdentity;
  /** Who stopped it on purpose (a test); while that process lives, the rig counts as whole without this daemon. */
  stoppedBy: ProcessIdentity | null;
}

interface ProcessStat {
  pid: number;
  parentPid: number;
  state: string;
  startTicks: string;
}

/** Polls until the condition holds; throws a sentence with the wish when it does not within the time. */
export async function until(wish: string, timeoutMs: number, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs / 1000} s for ${wish}`);
    await delay(50);
  }
}

function processStat(pid: number): ProcessStat | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null;
  }
  // The second field is the command in parentheses and may itself hold blanks and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { pid, state: fields[0] ?? '', parentPid: Number(fields[1]), startTicks: fields[19] ?? '' };
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Null when no such process lives. */
export function identify(pid: number): ProcessIdentity | null {
  const stat = processStat(pid);
  if (stat === null || stat.state === 'Z') return null;
  return { pid, startTicks: stat.startTicks, bootId: bootId() };
}

export function isAlive(identity: ProcessIdentity): boolean {
  const now = identify(identity.pid);
  return now !== null && now.startTicks === identity.startTicks && now.bootId === identity.bootId;
}

/** Sends the signal if that very process still lives. */
function signal(identity: ProcessIdentity, name: NodeJS.Signals): void {
  if (!isAlive(identity)) return;
  try {
    process.kill(identity.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Ends the processes: politely first, by force after five seconds (or at once). */
export async function endAll(identities: ProcessIdentity[], first: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
  for (const identity of identities) signal(identity, first);
  const allGone = () => !identities.some(isAlive);
  await until('daemons to end', 5_000, allGone).catch(() => identities.forEach((identity) => signal(identity, 'SIGKILL')));
  await until('killed daemons to end', 10_000, allGone);
}

function livingPids(): number[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number);
}

/** All living descendants of the given processes. */
export function descendants(roots: ProcessIdentity[]): ProcessIdentity[] {
  const childrenOf = new Map<number, number[]>();
  for (const pid of livingPids()) {
    const stat = processStat(pid);
    if (stat !== null) childrenOf.set(stat.parentPid, [...(childrenOf.get(stat.parentPid) ?? []), pid]);
  }
  const found: number[] = [];
  const queue = roots.filter(isAlive).map((root) => root.pid);
  for (let pid = queue.shift(); pid !== undefined; pid = queue.shift()) {
    const children = childrenOf.get(pid) ?? [];
    found.push(...children);
    queue.push(...children);
  }
  return found.map(identify).filter((identity) => identity !== null);
}

/** Living processes whose initial environment holds every one of the given `NAME=value` entries. */
export function processesWithEnvironment(entries: string[]): ProcessIdentity[] {
  const matches = livingPids().filter((pid) => {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
      return entries.every((entry) => environment.includes(entry));
    } catch {
      return false;
    }
  });
  return matches.map(identify).filter((identity) => identity !== null);
}

/** Living processes that hold the file open. */
export function processesWithOpenFile(file: string): ProcessIdentity[] {
  const matches = livingPids().filter((pid) => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some((descriptor) => readlinkSync(`/proc/${pid}/fd/${descriptor}`) === file);
    } catch {
      return false;
    }
  });
  return matches.map(identify).filter((identity) => identity !== null);
}

function recordFile(rigDirectory: string, name: string): string {
  return join(rigDirectory, 'processes', `${name}.json`);
}

function writeRecord(rigDirectory: string, record: DaemonRecord): void {
  const file = recordFile(rigDirectory, record.name);
  writeFileSync(`${file}.new`, JSON.stringify(record, null, 2), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Every daemon that was started in this rig folder, alive or not. */
export function readRecords(rigDirectory: string): DaemonRecord[] {
  const folder = join(rigDirectory, 'processes');
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => name.endsWith('.json'));
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    try {
      return [JSON.parse(readFileSync(join(folder, name), 'utf8')) as DaemonRecord];
    } catch (error) {
      // A test has closed its own door meanwhile.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  });
}

export function readRecord(rigDirectory: string, name: string): DaemonRecord {
  return JSON.parse(readFileSync(recordFile(rigDirectory, name), 'utf8')) as DaemonRecord;
}

/** Starts a daemon that outlives this process; its output goes to `<rig>/log/<name>.out`. */
export function startDaemon(rigDirectory: string, spec: DaemonSpec): DaemonRecord {
  for (const folder of ['processes', 'log']) mkdirSync(join(rigDirectory, folder), { recursive: true });
  const output = openSync(join(rigDirectory, 'log', `${spec.name}.out`), 'a');
  const child = spawn(spec.argv[0]!, spec.argv.slice(1), {
    cwd: '/',
    detached: true,
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', ...spec.environment },
    stdio: ['ignore', output, output],
    ...(spec.uid === undefined ? {} : { uid: spec.uid, gid: spec.gid }),
  });
  closeSync(output);
  child.unref();
  const identity = child.pid === undefined ? null : identify(child.pid);
  if (identity === null) throw new Error(`${spec.argv.join(' ')} did not start`);
  const record: DaemonRecord = { ...spec, process: identity, stoppedBy: null };
  writeRecord(rigDirectory, record);
  return record;
}

/** Remembers that this process (a test) stopped the daemon on purpose. */
export function recordDeliberateStop(rigDirectory: string, record: DaemonRecord): void {
  writeRecord(rigDirectory, { ...record, stoppedBy: identify(process.pid) });
}
