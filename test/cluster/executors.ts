/** The executors that the contract suite runs over. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import type { Cluster, Observation, Submitted, TrackedAttempt } from '../../src/cluster/executor.ts';
import { openCluster } from '../../src/cluster/open-cluster.ts';
import type { BatchSpec } from '../../src/domain/batch.ts';
import type { ClusterSettings } from '../../src/domain/cluster-settings.ts';
import type { Resources } from '../../src/domain/job-spec.ts';
import { renderBatchScript } from '../../src/domain/script/batch-script.ts';
import { ensureRig, rigCluster, rigUnavailableReason, type Rig } from '../rig/rig.ts';
import { batchOf, identityOf, plainResources, taskOf } from '../support/batches.ts';

const DEADLINE_MS = 60_000;

export interface ExecutorCase {
  name: string;
  unavailableReason: string | null;
  open(): Promise<TestCluster>;
}

/** A cluster with a root directory of its own. */
export interface TestCluster {
  cluster: Cluster;
  resources: Resources;
  /** Another instance, as after a restart of the server. */
  reopen(): Cluster;
  close(): Promise<void>;
}

export const executors: ExecutorCase[] = [
  { name: 'local', unavailableReason: null, open: async () => openLocal() },
  { name: 'SLURM over SSH', unavailableReason: rigUnavailableReason(), open: async () => openOnRig(await ensureRig(), 'alpha') },
];

const common = {
  defaultResources: {}, maxActiveJobs: 100, maxCommandsPerMinute: 10_000, setupScript: null, pollSecondsMin: 1, pollSecondsMax: 1, watch: true, submitGraceSeconds: 10,
};

export function openLocal(): TestCluster {
  const rootDirectory = mkdtempSync(join(tmpdir(), 'expgraph local '));
  return testCluster({ ...common, name: 'local', kind: 'LOCAL', rootDirectory, ssh: null }, plainResources, () => rmSync(rootDirectory, { recursive: true, force: true }));
}

export function openOnRig(rig: Rig, name: string): TestCluster {
  const { sshPort, rootDirectory } = rigCluster(rig, name);
  const settings: ClusterSettings = {
    ...common, name, kind: 'SLURM', rootDirectory: `${rootDirectory}/contract-${randomBytes(4).toString('hex')}`,
    ssh: {
      host: '127.0.0.1', port: sshPort, user: rig.user, identityFile: rig.identityFile, agentSocket: null, knownHostsFiles: [rig.knownHostsFile],
      jumps: [], connectTimeoutSeconds: 10, maxChannels: 4,
    },
  };
  return testCluster(settings, { ...plainResources, partition: 'gpu', account: 'cds', memoryMiB: 50, timeLimitMinutes: 5 }, () => undefined);
}

function testCluster(settings: ClusterSettings, resources: Resources, remove: () => void): TestCluster {
  const opened: Cluster[] = [];
  const reopen = (): Cluster => {
    const cluster = openCluster(settings);
    opened.push(cluster);
    return cluster;
  };
  return {
    cluster: reopen(), resources, reopen,
    async close() {
      await Promise.all(opened.map((cluster) => cluster.close()));
      remove();
    },
  };
}

/** A batch of shell commands, one a task. */
export function shellBatch({ cluster, resources }: TestCluster, commands: string[], changed: Partial<Resources> = {}): BatchSpec {
  const { rootDirectory } = cluster.settings;
  // Of the characters that a token has.
  const id = randomBytes(5).toString('hex').replaceAll(/[0189]/g, 'x');
  const tasks = commands.map((command, index) => taskOf(rootDirectory, `${id}-${index}`, { identity: identityOf({ command: ['sh', '-c', command] }) }));
  return batchOf(rootDirectory, tasks, { token: `eg-${id}-contract`, resources: { ...resources, ...changed } });
}

export function trackedAttempts(batch: BatchSpec, submitted: Submitted | null): TrackedAttempt[] {
  return batch.tasks.map((task, taskIndex) => ({
    token: batch.token, taskIndex, taskCount: batch.tasks.length, slurmJobId: submitted?.taskSlurmJobIds[taskIndex] ?? null,
    jobDirectory: task.jobDirectory, attemptNumber: task.attemptNumber, submittedAt: new Date(), timeLimitMinutes: batch.resources.timeLimitMinutes,
    startedAt: null, restart: 0,
  }));
}

export async function submit({ cluster }: TestCluster, batch: BatchSpec): Promise<{ submitted: Submitted; tracked: TrackedAttempt[] }> {
  const submitted = await cluster.executor.submit(batch, renderBatchScript(batch));
  return { submitted, tracked: trackedAttempts(batch, submitted) };
}

/** Observes until all attempts are seen in the given states, by task index. */
export async function untilStates(cluster: Cluster, tracked: TrackedAttempt[], states: string[]): Promise<Observation[]> {
  return vi.waitFor(async () => {
    const { observations, problems } = await cluster.executor.observe(tracked);
    if (problems.length > 0) throw new Error(problems.join('; '));
    const sorted = [...observations].sort((a, b) => a.taskIndex - b.taskIndex);
    const seen = sorted.map(({ state }) => state).join(' ');
    if (seen !== states.join(' ')) throw new Error(`seen ${seen || 'nothing'}, waiting for ${states.join(' ')}: ${JSON.stringify(sorted)}`);
    return sorted;
  }, { timeout: DEADLINE_MS, interval: 100 });
}

/** The text of a file on the cluster, as soon as it is there. */
export async function untilText(cluster: Cluster, path: string): Promise<string> {
  return vi.waitFor(async () => {
    const text = await readText(cluster, path);
    if (text === null) throw new Error(`there is no ${path}`);
    return text;
  }, { timeout: DEADLINE_MS, interval: 50 });
}

export async function readText(cluster: Cluster, path: string): Promise<string | null> {
  const [content] = await cluster.transport.read([{ path, offsetBytes: 0, maxBytes: 1_000_000 }]);
  return content?.toString('utf8') ?? null;
}
