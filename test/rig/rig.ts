/**
 * The test rig: two real SLURM clusters on this machine, each behind its own sshd, with one accounting database.
 *
 *   absent -> (build) -> whole -> (a daemon dies) -> broken -> (cleaned away, built again) -> whole -> (takeDown) -> absent
 *
 * A daemon that a living test stopped on purpose does not make the rig broken.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildRig, removeRig, type Report, type Rig, type RigCluster } from './build.ts';
import { withLock } from './lock.ts';
import { installPackages, rigUnavailableReason, unixUser } from './packages.ts';
import { endAll, isAlive, readRecord, readRecords, recordDeliberateStop, startDaemon, until } from './processes.ts';
import { crashNode, startNodeDaemon, untilNodesUp } from './slurm-cluster.ts';
import { CLUSTER_SHAPES, type ClusterShape } from './slurm-config.ts';
import { crashSshDaemon, startSshDaemon } from './sshd.ts';

export { rigUnavailableReason };
export type { Rig, RigCluster };

export function rigDirectory(): string {
  return process.env['EXPGRAPH_RIG_DIR'] ?? '/tmp/expgraph-rig';
}

const lockFileOf = (directory: string) => `${directory}.lock`;

/** The rig of the folder if all of it runs (or was stopped by a living test), else null. */
function wholeRig(directory: string): Rig | null {
  let rig: Rig;
  try {
    rig = JSON.parse(readFileSync(join(directory, 'rig.json'), 'utf8')) as Rig;
  } catch {
    return null;
  }
  const isAccountedFor = (record: ReturnType<typeof readRecord>) => isAlive(record.process) || (record.stoppedBy !== null && isAlive(record.stoppedBy));
  const records = readRecords(directory);
  return records.length > 0 && records.every(isAccountedFor) ? rig : null;
}

/**
 * Answers the running rig, building it (and what it needs) first if need be. Throws when this machine cannot have one.
 * @param shapes its clusters; others than the usual ones in a folder of their own only, because a rig that runs is taken as it is
 */
export async function ensureRig(report: Report = () => {}, shapes: readonly ClusterShape[] = CLUSTER_SHAPES): Promise<Rig> {
  const reason = rigUnavailableReason();
  if (reason !== null) throw new Error(reason);
  const directory = rigDirectory();
  return withLock(lockFileOf(directory), async () => {
    const standing = wholeRig(directory);
    if (standing !== null) return standing;
    await removeRig(directory);
    installPackages(report);
    return buildRig(directory, shapes, report);
  });
}

/** Stops exactly what the rig started and removes its folder. Answers whether there was one. */
export async function takeDownRig(): Promise<boolean> {
  const directory = rigDirectory();
  return withLock(lockFileOf(directory), () => removeRig(directory));
}

export interface DaemonStatus {
  name: string;
  pid: number;
  isAlive: boolean;
}

/** What runs, without changing anything. */
export function rigStatus(): { rig: Rig | null; daemons: DaemonStatus[] } {
  const directory = rigDirectory();
  const daemons = readRecords(directory).map(({ name, process }) => ({ name, pid: process.pid, isAlive: isAlive(process) }));
  return { rig: wholeRig(directory), daemons };
}

/** The named cluster of the rig; throws on a name it has not. */
export function rigCluster(rig: Rig, name: string): RigCluster {
  const cluster = rig.clusters.find((candidate) => candidate.name === name);
  if (cluster === undefined) throw new Error(`no cluster ${name}; there are ${rig.clusters.map((candidate) => candidate.name).join(', ')}`);
  return cluster;
}

/** Kills a node and all its jobs, as a power cut would; the controller notices within about 25 seconds. */
export async function killNode(rig: Rig, cluster: string, node: string): Promise<void> {
  recordDeliberateStop(rig.directory, readRecord(rig.directory, `slurmd.${cluster}.${node}`));
  await crashNode(rig.directory, cluster, node);
}

/** Brings a killed node back and waits until jobs can run on it. */
export async function startNode(rig: Rig, cluster: string, node: string): Promise<void> {
  startNodeDaemon(rig.directory, cluster, node);
  await untilNodesUp(rig.directory, cluster, [node], 60_000);
}

/** Kills a cluster's SSH door with all its open connections; its jobs run on. */
export async function stopSshd(rig: Rig, cluster: string): Promise<void> {
  await crashSshDaemon(rig.directory, cluster);
}

/** Opens the door again, on the same port with the same host key. */
export async function startSshd(rig: Rig, cluster: string): Promise<void> {
  await startSshDaemon(rig.directory, cluster, rigCluster(rig, cluster).sshPort);
}

/** Stops a daemon in good order: `slurmctld.alpha`, `slurmdbd`. */
export async function stopDaemon(rig: Rig, name: string): Promise<void> {
  const record = readRecord(rig.directory, name);
  recordDeliberateStop(rig.directory, record);
  await endAll([record.process]);
}

/** Starts a stopped daemon again as it was. */
export function restartDaemon(rig: Rig, name: string): void {
  const { argv, environment } = readRecord(rig.directory, name);
  startDaemon(rig.directory, { name, argv, environment });
}

export interface SlurmOptions {
  /** Default: the rig's user. */
  as?: 'root';
  stdin?: string;
  environment?: Record<string, string>;
}

export interface SlurmAnswer {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** Runs a SLURM command on the cluster without SSH, in UTC; its exit code is for the caller to judge. */
export async function slurmAnswer(rig: Rig, cluster: string, argv: string[], options: SlurmOptions = {}): Promise<SlurmAnswer> {
  const user = unixUser(options.as ?? rig.user);
  const { slurmConf, rootDirectory } = rigCluster(rig, cluster);
  const running = promisify(execFile)(argv[0]!, argv.slice(1), {
    cwd: rootDirectory,
    uid: user.uid,
    gid: user.gid,
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: user.home, USER: user.name, TZ: 'UTC0', SLURM_CONF: slurmConf, ...options.environment },
    maxBuffer: 64 * 1024 * 1024,
  });
  // A command that reads no input may be gone before it is written.
  running.child.stdin?.on('error', () => {});
  running.child.stdin?.end(options.stdin ?? '');
  try {
    return { exitCode: 0, ...(await running) };
  } catch (error) {
    const failure = error as { code?: unknown; stdout?: string; stderr?: string };
    if (typeof failure.code !== 'number') throw error;
    return { exitCode: failure.code, stdout: failure.stdout ?? '', stderr: failure.stderr ?? '' };
  }
}

/** Like `slurmAnswer`, for a command that must succeed; answers what it printed. */
export async function slurm(rig: Rig, cluster: string, argv: string[], options: SlurmOptions = {}): Promise<string> {
  const { exitCode, stdout, stderr } = await slurmAnswer(rig, cluster, argv, options);
  if (exitCode !== 0) throw new Error(`${argv.join(' ')} on ${cluster} ended with ${exitCode}: ${stderr.trim()}`);
  return stdout;
}

/**
 * Lets a job that was requeued start soon, and not only when SLURM would let it (after two minutes). `run` runs a SLURM command on its cluster.
 * A node does not launch a job again within the second in which it ended it ("already killed, do not launch"), so that one is waited for.
 */
export async function startRequeued(run: (...argv: string[]) => Promise<string>, slurmJobId: string): Promise<void> {
  let hasStarted = false;
  await until(`${slurmJobId} to wait for its new start`, 60_000, async () => {
    const [, state, reason, requeuedAt] = /^(\S+) (\S+) (\S+)/.exec(await run('squeue', '-h', '-r', '-t', 'all', '-j', slurmJobId, '-o', '%T %r %V')) ?? [];
    hasStarted = state === 'RUNNING' || state === 'COMPLETED';
    return hasStarted || (state === 'PENDING' && reason === 'BeginTime' && Date.now() - Date.parse(`${requeuedAt}Z`) > 3_000);
  });
  if (!hasStarted) await run('scontrol', 'update', `jobid=${slurmJobId}`, 'StartTime=now');
}
