/** One SLURM cluster on this machine: its folder, its controller and its nodes. */
import { execFile, execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { mungeSocket } from './munge.ts';
import { descendants, endAll, processesWithEnvironment, processesWithOpenFile, readRecord, readRecords, startDaemon, until, type ProcessIdentity } from './processes.ts';
import { CGROUP_CONF, gresConf, prolog, slurmConf, type ClusterShape } from './slurm-config.ts';

const run = promisify(execFile);

export interface SlurmNumbers {
  slurmdbdPort: number;
  controllerPort: number;
  nodePorts: number[];
  firstJobId: number;
}

export function slurmConfFile(rigDirectory: string, cluster: string): string {
  return join(rigDirectory, cluster, 'slurm.conf');
}

/** Version 1 control groups that can be written to let SLURM 22.05 limit memory for real. */
function hasMemoryControlGroups(): boolean {
  try {
    for (const controller of ['memory', 'freezer']) accessSync(join('/sys/fs/cgroup', controller), constants.W_OK);
    return existsSync('/sys/fs/cgroup/memory/memory.limit_in_bytes');
  } catch {
    return false;
  }
}

/** Writes the cluster's folder: configuration, state and spool folders, device files that stand for GPUs. */
export function writeClusterFolder(rigDirectory: string, shape: ClusterShape, numbers: SlurmNumbers): void {
  const folder = join(rigDirectory, shape.name);
  const deviceFolder = join(folder, 'dev');
  for (const node of shape.nodes) mkdirSync(join(folder, 'spool', node), { recursive: true });
  mkdirSync(join(folder, 'state'));
  mkdirSync(deviceFolder);
  // slurmd insists on device nodes; these are /dev/null by another name.
  for (let index = 0; index < shape.gpus.perNode; index += 1) execFileSync('mknod', ['-m', '666', join(deviceFolder, `gpu${index}`), 'c', '1', '3']);
  const place = {
    folder,
    hostname: hostname().split('.')[0]!,
    mungeSocket: mungeSocket(rigDirectory),
    ...numbers,
    usesControlGroups: shape.wantsControlGroups && hasMemoryControlGroups(),
  };
  writeFileSync(slurmConfFile(rigDirectory, shape.name), slurmConf(shape, place));
  if (shape.brokenPartition !== undefined) writeFileSync(join(folder, 'prolog'), prolog(shape.brokenPartition), { mode: 0o755 });
  writeFileSync(join(folder, 'gres.conf'), gresConf(shape, deviceFolder));
  if (place.usesControlGroups) writeFileSync(join(folder, 'cgroup.conf'), CGROUP_CONF);
}

export function startController(rigDirectory: string, cluster: string): void {
  startDaemon(rigDirectory, {
    name: `slurmctld.${cluster}`,
    argv: ['/usr/sbin/slurmctld', '-D'],
    environment: { SLURM_CONF: slurmConfFile(rigDirectory, cluster) },
  });
}

export function startNodeDaemon(rigDirectory: string, cluster: string, node: string): void {
  startDaemon(rigDirectory, {
    name: `slurmd.${cluster}.${node}`,
    argv: ['/usr/sbin/slurmd', '-D', '-N', node],
    environment: { SLURM_CONF: slurmConfFile(rigDirectory, cluster) },
  });
}

/** The step daemons of a node and everything that its jobs started. */
export function nodeProcesses(rigDirectory: string, cluster: string, node: string): ProcessIdentity[] {
  // A step daemon overwrites its own environment and has no argument that names its node; the node's log is what it keeps open.
  const daemons = processesWithOpenFile(join(rigDirectory, cluster, `slurmd.${node}.log`));
  const jobProcesses = processesWithEnvironment([`SLURM_CONF=${slurmConfFile(rigDirectory, cluster)}`, `SLURMD_NODENAME=${node}`]);
  return [...daemons, ...descendants(daemons), ...jobProcesses];
}

/** As when the power fails: the node's daemon and all of its jobs are gone at once. */
export async function crashNode(rigDirectory: string, cluster: string, node: string): Promise<void> {
  const daemon = readRecord(rigDirectory, `slurmd.${cluster}.${node}`).process;
  await endAll([daemon, ...nodeProcesses(rigDirectory, cluster, node)], 'SIGKILL');
}

/** Waits until the controller sees every named node up. */
export async function untilNodesUp(rigDirectory: string, cluster: string, nodes: string[], timeoutMs: number): Promise<void> {
  const environment = { SLURM_CONF: slurmConfFile(rigDirectory, cluster) };
  await until(`nodes ${nodes.join(', ')} of ${cluster} to be up`, timeoutMs, async () => {
    const answer = await run('/usr/bin/sinfo', ['-h', '-N', '-n', nodes.join(','), '-o', '%N %t'], { env: environment }).catch(() => null);
    if (answer === null) return false;
    const up = answer.stdout.split('\n').filter((line) => /^\S+ (idle|mix|alloc|comp)$/.test(line)).map((line) => line.split(' ')[0]);
    return nodes.every((node) => up.includes(node));
  });
}

/** Removes the control groups that killed nodes of this cluster left behind. */
export function removeControlGroups(nodes: string[]): void {
  const root = '/sys/fs/cgroup';
  if (!existsSync(join(root, 'memory'))) return;
  for (const controller of readdirSync(root)) {
    for (const node of nodes) removeEmptyGroups(join(root, controller, `slurm_${node}`));
  }
}

function removeEmptyGroups(folder: string): void {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) if (entry.isDirectory()) removeEmptyGroups(join(folder, entry.name));
  try {
    rmdirSync(folder);
  } catch (error) {
    // Still holds a process: another rig uses the same node name.
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
  }
}

/** The end of each daemon's output, for an error message. */
export function logTails(rigDirectory: string): string {
  return readRecords(rigDirectory)
    .map(({ name }) => ({ name, text: readFileSync(join(rigDirectory, 'log', `${name}.out`), 'utf8').trim().split('\n').slice(-5).join('\n') }))
    .filter(({ text }) => text !== '')
    .map(({ name, text }) => `--- ${name}\n${text}`)
    .join('\n');
}
