/** Building the rig's folder and starting its daemons, and the way back. */
import { randomInt } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { defineAssociations, startMariadb, startSlurmdbd } from './accounting.ts';
import { startMunge } from './munge.ts';
import { ensureRigUser } from './packages.ts';
import { freePorts } from './ports.ts';
import { descendants, endAll, readRecords } from './processes.ts';
import {
  logTails, nodeProcesses, removeControlGroups, slurmConfFile, startController, startNodeDaemon, untilNodesUp, writeClusterFolder,
} from './slurm-cluster.ts';
import { ALL_SHAPES, type ClusterShape } from './slurm-config.ts';
import { startSshDaemon, writeSshFolder } from './sshd.ts';

const NODES_UP_TIMEOUT_MS = 60_000;
/** In every rig folder, so that no other folder is ever removed by a mistaken setting. */
const MARKER_FILE = '.expgraph-rig';

export interface RigCluster {
  name: string;
  sshPort: number;
  /** `SHA256:...` */
  hostKeyFingerprint: string;
  /** Path of its slurm.conf. */
  slurmConf: string;
  /** Where jobs lie; owned by the rig's user. */
  rootDirectory: string;
  nodes: string[];
}

export interface Rig {
  directory: string;
  /** An `expgraph.yaml` that uses all its clusters. */
  configPath: string;
  clusters: RigCluster[];
  user: string;
  identityFile: string;
  knownHostsFile: string;
}

/** Is told what is being done, a line at a time. */
export type Report = (line: string) => void;

interface ClusterPlan {
  shape: ClusterShape;
  sshPort: number;
  controllerPort: number;
  nodePorts: number[];
}

interface RigPlan {
  mariadbPort: number;
  slurmdbdPort: number;
  /**
   * The same for all clusters, so that ids collide between them as they do in real life; by chance for each rig, because
   * the control groups of two rigs on one machine are told apart by node name and job id alone.
   */
  firstJobId: number;
  clusters: ClusterPlan[];
}

async function planRig(shapes: readonly ClusterShape[]): Promise<RigPlan> {
  const needed = 2 + shapes.reduce((sum, shape) => sum + 2 + shape.nodes.length, 0);
  const ports = await freePorts(needed);
  const take = () => ports.shift()!;
  return {
    mariadbPort: take(),
    slurmdbdPort: take(),
    firstJobId: randomInt(1_000, 1_000_000),
    clusters: shapes.map((shape) => ({ shape, sshPort: take(), controllerPort: take(), nodePorts: shape.nodes.map(take) })),
  };
}

/** Builds in an empty place. On failure nothing is left running; the error ends with what the daemons said last. */
export async function buildRig(directory: string, shapes: readonly ClusterShape[], report: Report): Promise<Rig> {
  try {
    return await build(directory, shapes, report);
  } catch (error) {
    const words = `${(error as Error).message}\n${logTails(directory)}`;
    await removeRig(directory);
    throw new Error(words, { cause: error });
  }
}

async function build(directory: string, shapes: readonly ClusterShape[], report: Report): Promise<Rig> {
  const user = ensureRigUser();
  const plan = await planRig(shapes);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  writeFileSync(join(directory, MARKER_FILE), '');
  const rig = writeFolders(directory, user, plan);
  report('starting munged, MariaDB, sshd');
  const [databasePassword] = await Promise.all([
    startMariadb(directory, plan.mariadbPort),
    startMunge(directory),
    ...plan.clusters.map(({ shape, sshPort }) => startSshDaemon(directory, shape.name, sshPort)),
  ]);
  report('starting slurmdbd');
  await startSlurmdbd(directory, { mariadb: plan.mariadbPort, slurmdbd: plan.slurmdbdPort }, databasePassword);
  await defineAssociations(rig.clusters[0]!.slurmConf, shapes.filter(({ keepsAccounts }) => keepsAccounts).map(({ name }) => name), user.name);
  report('starting the clusters');
  for (const { shape } of plan.clusters) {
    startController(directory, shape.name);
    for (const node of shape.nodes) startNodeDaemon(directory, shape.name, node);
  }
  await Promise.all(plan.clusters.map(({ shape }) => untilNodesUp(directory, shape.name, shape.nodes, NODES_UP_TIMEOUT_MS)));
  // Last, because a rig counts as standing once this file is there.
  writeFileSync(join(directory, 'rig.json'), `${JSON.stringify(rig, null, 2)}\n`);
  return rig;
}

function writeFolders(directory: string, user: { name: string; uid: number; gid: number }, plan: RigPlan): Rig {
  for (const { shape, controllerPort, nodePorts } of plan.clusters) {
    writeClusterFolder(directory, shape, { slurmdbdPort: plan.slurmdbdPort, controllerPort, nodePorts, firstJobId: plan.firstJobId });
  }
  const doors = plan.clusters.map(({ shape, sshPort }) => ({
    cluster: shape.name, port: sshPort, slurmConf: slurmConfFile(directory, shape.name), timeZone: shape.timeZone,
  }));
  const ssh = writeSshFolder(directory, user.name, doors);
  const clusters = plan.clusters.map(({ shape, sshPort }): RigCluster => {
    const rootDirectory = join(directory, 'scratch', shape.name);
    mkdirSync(rootDirectory, { recursive: true });
    chownSync(rootDirectory, user.uid, user.gid);
    return {
      name: shape.name,
      sshPort,
      hostKeyFingerprint: ssh.hostKeyFingerprints[shape.name]!,
      slurmConf: slurmConfFile(directory, shape.name),
      rootDirectory,
      nodes: shape.nodes,
    };
  });
  const rig: Rig = {
    directory,
    configPath: join(directory, 'expgraph.yaml'),
    clusters,
    user: user.name,
    identityFile: ssh.identityFile,
    knownHostsFile: ssh.knownHostsFile,
  };
  writeFileSync(rig.configPath, expgraphConfig(rig));
  return rig;
}

function expgraphConfig(rig: Rig): string {
  const entries = rig.clusters.map((cluster) => [cluster.name, {
    kind: 'slurm',
    rootDirectory: cluster.rootDirectory,
    ssh: { host: '127.0.0.1', port: cluster.sshPort, user: rig.user, identityFile: rig.identityFile, knownHostsFile: rig.knownHostsFile },
    defaults: {
      partition: ALL_SHAPES.find(({ name }) => name === cluster.name)!.defaultPartition, account: 'cds', cpus: 1, memoryMiB: 100, timeLimitMinutes: 10,
    },
    maxActiveJobs: 5000,
    // Tests poll far more often than anybody should.
    maxCommandsPerMinute: 6000,
    pollSeconds: { min: 0.5, max: 5 },
  }]);
  return stringify({ clusters: Object.fromEntries(entries) });
}

/** Ends every process the rig started (daemons, their sessions, steps and jobs) and removes its folder. Throws on a folder that is not a rig's. */
export async function removeRig(directory: string): Promise<boolean> {
  if (!existsSync(directory)) return false;
  if (!existsSync(join(directory, MARKER_FILE)) && readdirSync(directory).length > 0) throw new Error(`${directory} is not empty and not a rig: choose another EXPGRAPH_RIG_DIR`);
  const daemons = readRecords(directory).map((record) => record.process);
  const sessions = descendants(daemons);
  await endAll(daemons);
  const steps = ALL_SHAPES.flatMap(({ name, nodes }) => nodes.flatMap((node) => nodeProcesses(directory, name, node)));
  await endAll([...sessions, ...steps], 'SIGKILL');
  removeControlGroups(ALL_SHAPES.flatMap(({ nodes }) => nodes));
  rmSync(directory, { recursive: true, force: true });
  return true;
}
