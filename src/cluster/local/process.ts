/**
 * Processes of this machine, told apart by pid and start time, because a pid alone is given again to somebody else.
 * On Linux from /proc; elsewhere from ps.
 */
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

export interface ProcessRow {
  pid: number;
  groupId: number;
  /** Clock ticks after boot; from ps: seconds of the epoch. Either way the same for the whole life of a process. */
  startTicks: number;
}

const hasProc = process.platform === 'linux';
/** Fields of /proc/PID/stat after the command's name. */
const STATE = 0;
const GROUP_ID = 2;
const START_TICKS = 19;

/** Every living process by pid; zombies are dead. */
export async function listProcesses(): Promise<Map<number, ProcessRow>> {
  const rows = hasProc ? await listProc() : readPs((await promisify(execFile)('ps', ['-A', ...PS_COLUMNS], { env: PS_ENVIRONMENT })).stdout);
  return new Map(rows.map((row) => [row.pid, row]));
}

async function listProc(): Promise<ProcessRow[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const rows = await Promise.all(pids.map(async (pid) => readStat(Number(pid), await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''))));
  return rows.flatMap((row) => row ?? []);
}

/**
 * `pid.startTicks` of a child that was just started. To be called before the event loop turns: until then even a child
 * that has ended is still listed.
 */
export function identifyChild(pid: number): string {
  const row = hasProc ? readStat(pid, readFileSync(`/proc/${pid}/stat`, 'utf8'), true)
    : readPs(execFileSync('ps', ['-p', String(pid), ...PS_COLUMNS], { encoding: 'utf8', env: PS_ENVIRONMENT }))[0];
  return processId(pid, row?.startTicks ?? 0);
}

export function processId(pid: number, startTicks: number): string {
  return `${pid}.${startTicks}`;
}

export function parseProcessId(id: string): { pid: number; startTicks: number } | null {
  const match = /^(\d+)\.(\d+)$/.exec(id);
  return match === null ? null : { pid: Number(match[1]), startTicks: Number(match[2]) };
}

/** The command line of a process, or an empty text when there is none. */
export async function commandLineOf(pid: number): Promise<string> {
  if (hasProc) return readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return promisify(execFile)('ps', ['-o', 'command=', '-p', String(pid)]).then(({ stdout }) => stdout, () => '');
}

/**
 * Whether one of the processes was started by the script of a job, by the variable that it hands down: after a restart of
 * the machine, or after a long time, the number of its group is that of somebody else's. Where the system does not show
 * the environment of processes, the answer is yes.
 */
export async function isAnyOfJob(pids: number[], jobDirectory: string): Promise<boolean> {
  if (!hasProc) return true;
  const environments = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')));
  return environments.some((environment) => environment.split('\0').includes(`EXPGRAPH_JOB_DIR=${jobDirectory}`));
}

/** The most memory that the given processes have had resident, summed; null where the system does not say. */
export async function peakResidentBytes(pids: number[]): Promise<number | null> {
  if (!hasProc) return null;
  const peaks = await Promise.all(pids.map(async (pid) => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
  }));
  const sum = peaks.reduce((total, peak) => total + peak, 0);
  return sum === 0 ? null : sum;
}

function readStat(pid: number, stat: string, withZombies = false): ProcessRow | null {
  // The name is in parentheses and may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[STATE] ?? '';
  if (state === '' || (!withZombies && 'ZXx'.includes(state))) return null;
  return { pid, groupId: Number(fields[GROUP_ID]), startTicks: Number(fields[START_TICKS]) };
}

const PS_COLUMNS = ['-o', 'pid=,pgid=,stat=,lstart='];
const PS_ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

function readPs(text: string): ProcessRow[] {
  return text.split('\n').flatMap((line) => {
    const [pid, groupId, state = 'Z', ...start] = line.trim().split(/\s+/);
    if (state.startsWith('Z')) return [];
    return [{ pid: Number(pid), groupId: Number(groupId), startTicks: Date.parse(`${start.join(' ')} UTC`) / 1000 }];
  });
}
