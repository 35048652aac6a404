/** The server process: what its pid file says, how it is started, found again and stopped. */
import { spawn } from 'node:child_process';
import { open, readFile, realpath, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../domain/errors.ts';
import { pause, processFacts, waitForEnd, workingDirectoryOf } from './processes.ts';
import type { DatabaseLog } from '../log.ts';
import type { ServerUser } from './user.ts';

/** Longer than a start takes, unless the server has much to recover after a crash. */
const SLOW_START_MS = 10_000;
/** A process whose server was killed ends with its statement, which may take a minute. */
const LEFTOVER_TIMEOUT_MS = 70_000;
/** What PostgreSQL says while there are such processes. */
const STILL_IN_USE = /pre-existing shared memory block/;
/** Ending every session and writing a checkpoint; a server with much unwritten data needs a while. */
const FAST_SHUTDOWN_TIMEOUT_MS = 30_000;
const IMMEDIATE_SHUTDOWN_TIMEOUT_MS = 5_000;
const PID_FILE = 'postmaster.pid';
/** The server's log starts anew at a start when it has grown beyond this. */
const MAX_LOG_BYTES = 10 * 1024 * 1024;

export interface Postmaster {
  pid: number;
  /** Resolves when the process has ended, by itself or not. */
  ended: Promise<void>;
}

interface StartRequest {
  program: string;
  /** The folder with PG_VERSION. */
  dataFolder: string;
  arguments: string[];
  logFile: string;
  user: ServerUser;
  signal?: AbortSignal | undefined;
  log?: DatabaseLog | undefined;
}

/**
 * Starts the server and waits until it accepts connections, however long it recovers after a crash; also for processes of a killed server that still write to the folder. Throws
 * UserError with the end of its log when it does not start.
 */
export async function startPostmaster(request: StartRequest): Promise<Postmaster> {
  const deadline = Date.now() + LEFTOVER_TIMEOUT_MS;
  for (;;) {
    try {
      return await startOnce(request);
    } catch (error) {
      if (!(error instanceof UserError && STILL_IN_USE.test(error.message)) || Date.now() > deadline) throw error;
      await pause(100);
    }
  }
}

async function startOnce(request: StartRequest): Promise<Postmaster> {
  const log = await openLog(request.logFile);
  const logStart = (await log.stat()).size;
  try {
    const child = spawn(request.program, ['-D', request.dataFolder, ...request.arguments], {
      cwd: request.dataFolder,
      // A session of its own: Ctrl-C in a terminal is for this process, which stops the server when it is done with it.
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: SERVER_ENVIRONMENT,
      ...asUser(request.user),
    });
    const ended = new Promise<void>((resolve) => {
      child.once('error', () => resolve());
      child.once('exit', () => resolve());
    });
    const ready = await waitUntilReady(request, child.pid, ended);
    if (!ready || child.pid === undefined) {
      if (child.pid !== undefined) await stopPostmaster(child.pid);
      request.signal?.throwIfAborted();
      throw UserError.of('CONFLICT', `PostgreSQL did not start: ${await logSince(request.logFile, logStart)}`);
    }
    return { pid: child.pid, ended };
  } finally {
    await log.close();
  }
}

/** All that PostgreSQL's programs are given of an environment: what they do depends on their arguments alone. */
export const SERVER_ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/** The options that make a child process run as the user. */
export function asUser(user: ServerUser): { uid?: number; gid?: number } {
  return user.isOther ? { uid: user.uid, gid: user.gid } : {};
}

/** Fast shutdown: sessions are ended, everything is written. Falls back to an immediate one, then gives up with an error. */
export async function stopPostmaster(pid: number): Promise<void> {
  if (!signal(pid, 'SIGINT') || await waitForEnd(pid, FAST_SHUTDOWN_TIMEOUT_MS)) return;
  if (!signal(pid, 'SIGQUIT') || await waitForEnd(pid, IMMEDIATE_SHUTDOWN_TIMEOUT_MS)) return;
  throw new Error(`PostgreSQL (process ${pid}) does not stop`);
}

/** Sends a signal; false when the process is gone. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}

/** Stops a server that a killed owner left running on the folder. True when one ran. */
export async function clearLeftover(dataFolder: string): Promise<boolean> {
  const pid = await readPid(dataFolder);
  const running = pid !== null && await isPostmasterOf(pid, dataFolder);
  if (running) await stopPostmaster(pid);
  else await clearReusedId(dataFolder);
  return running;
}

/**
 * Removes a pid file whose process id belongs to an unrelated process by now, which PostgreSQL would take for a running server. Any other stays: by it PostgreSQL finds out whether processes
 * of the killed server still write to the folder, and does not start before they have ended.
 */
export async function clearReusedId(dataFolder: string): Promise<void> {
  const pid = await readPid(dataFolder);
  if (pid !== null && await processFacts(pid) !== null && !await isPostmasterOf(pid, dataFolder)) await rm(join(dataFolder, PID_FILE), { force: true });
}

async function readPid(dataFolder: string): Promise<number | null> {
  const pid = Number((await readFile(join(dataFolder, PID_FILE), 'utf8').catch(() => '')).split('\n')[0]);
  return Number.isInteger(pid) && pid > 0 ? pid : null;
}

async function isPostmasterOf(pid: number, dataFolder: string): Promise<boolean> {
  const facts = await processFacts(pid);
  if (facts === null || facts.name !== 'postgres') return false;
  const folder = await workingDirectoryOf(pid);
  return folder === null || folder === await realpath(dataFolder);
}

/** The pid file's eighth line tells how far the server is. One that is stopped while it recovers begins anew at its next start, so it is given all the time it needs. */
async function waitUntilReady({ dataFolder, signal: aborted, log }: StartRequest, pid: number | undefined, ended: Promise<void>): Promise<boolean> {
  const slowFrom = Date.now() + SLOW_START_MS;
  let running = true;
  let isSlow = false;
  while (running && !aborted?.aborted) {
    if (!isSlow && Date.now() > slowFrom) {
      isSlow = true;
      log?.warn({}, 'the database server is still starting; after a crash it recovers first, which may take minutes (see server.log in its folder)');
    }
    const lines = (await readFile(join(dataFolder, PID_FILE), 'utf8').catch(() => '')).split('\n');
    if (Number(lines[0]) === pid && lines[7]?.trim() === 'ready') return true;
    running = await Promise.race([ended.then(() => false), pause(5).then(() => true)]);
  }
  return false;
}

async function openLog(path: string): Promise<FileHandle> {
  const size = await stat(path).then((entry) => entry.size, () => 0);
  return open(path, size > MAX_LOG_BYTES ? 'w' : 'a', 0o600);
}

async function logSince(path: string, start: number): Promise<string> {
  const text = (await readFile(path)).subarray(start).toString('utf8').trim();
  return text.split('\n').slice(-10).join('\n') || 'it wrote nothing to its log';
}

/** Throws UserError when the folder was made by another major version, whose files this one cannot read. */
export function refuseOtherVersion(found: string, majorVersion: string, folder: string): void {
  if (found === majorVersion) return;
  throw UserError.of('CONFLICT', `the database in ${folder} was made by PostgreSQL ${found}, and this version brings PostgreSQL ${majorVersion}; `
    + `dump it with PostgreSQL ${found} (pg_dumpall) and load it into a new data directory, or run PostgreSQL ${found} yourself and set DATABASE_URL`);
}
