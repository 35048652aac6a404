/**
 * Rounds of chaos: each submits a sweep and lets one thing go wrong while it is submitted, runs or ends. Rounds overlap. At the end
 * every job must have ended as SLURM says it did, after one execution an attempt.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { stringify } from 'yaml';
import { openDoor, type Door } from '../rig/door.ts';
import { until } from '../rig/processes.ts';
import { rigCluster, slurm, type Rig } from '../rig/rig.ts';
import { tally, type Tally } from './tally.ts';
import { openVictim, type Victim } from './victim.ts';

const CLUSTER = 'alpha';
const JOBS_A_ROUND = 6;
const END_DEADLINE_MS = 240_000;
const ACCOUNTING_DEADLINE_MS = 60_000;
const TERMINAL = ['COMPLETED', 'FAILED', 'CANCELLED', 'LOST'];
const SUBMIT = 'mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { userErrors { message } } }';

/** What a fault may lay hands on. */
export interface Scene {
  rig: Rig;
  cluster: string;
  door: Door;
  victim: Victim;
  /** The root directory of the cluster. */
  root: string;
  random: () => number;
}

export interface Fault {
  name: string;
  /** Makes ready before the sweep of the round is submitted. */
  before?(scene: Scene): Promise<void>;
  /** Happens at a random moment after it; things work again when it resolves. */
  strike?(scene: Scene): Promise<void>;
}

export interface ChaosOptions {
  rig: Rig;
  /** The URL of an empty, migrated or new database, and a way to look into it that survives its restarts. */
  databaseUrl: string;
  query: pg.Pool['query'];
  faults: readonly Fault[];
  /** Where the job directories lie; default: beside those of the rig. */
  root?: string;
  random?: () => number;
  report: (line: string) => void;
}

/** One round for each fault. Answers what came of all the jobs. */
export async function runChaos({ rig, databaseUrl, query, faults, report, random = Math.random, ...options }: ChaosOptions): Promise<Tally> {
  const id = `chaos-${randomBytes(4).toString('hex')}`;
  const scratch = join(rigCluster(rig, CLUSTER).rootDirectory, id);
  await mkdir(scratch);
  await chmod(scratch, 0o777);
  const root = options.root ?? join(scratch, 'jobs');
  const executions = join(scratch, 'executions');
  const door = await openDoor(rig, CLUSTER, id);
  const { port, user, identityFile, knownHostsFiles: [knownHostsFile] } = door.ssh;
  const victim = await openVictim(databaseUrl, stringify({ clusters: { [CLUSTER]: {
    kind: 'slurm', rootDirectory: root, ssh: { host: '127.0.0.1', port, user, identityFile, knownHostsFile },
    defaults: { partition: 'gpu', account: 'cds', memoryMiB: 20, timeLimitMinutes: 5 }, pollSeconds: { min: 0.3, max: 1 }, submitGraceSeconds: 5,
  } } }));
  try {
    await victim.start();
    for (const [index, fault] of faults.entries()) {
      report(`round ${index + 1} of ${faults.length}: ${fault.name}`);
      await playRound({ rig, cluster: CLUSTER, door, victim, root, random }, fault, `${id}-${index}`, executions);
    }
    await untilAllEnded(query);
    await until('the subscriber to have every event', 30_000, async () => {
      const { rows: [last] } = await query<{ cursor: string }>("select max(seq)::text as cursor from events where kind = 'JOB_STATE_CHANGED'");
      return victim.events.at(-1)?.cursor === last?.cursor;
    });
    return await tally({
      query, events: victim.events, executed: (await readFile(executions, 'utf8')).trim().split('\n'),
      sacct: (ids) => settledAccounting(rig, ids),
    });
  } finally {
    await victim.remove();
    await door.close();
    await rm(scratch, { recursive: true, force: true });
  }
}

/** What accounting says once it knows of the end of every job: it may lag by seconds. What it still lacks at the deadline is for the tally to show. */
async function settledAccounting(rig: Rig, slurmJobIds: string[]): Promise<string> {
  let listing = '';
  await until('accounting to know of all ends', ACCOUNTING_DEADLINE_MS, async () => {
    listing = await slurm(rig, CLUSTER, ['sacct', '-n', '-P', '-X', '-j', slurmJobIds.join(','), '--format=JobID,State']);
    const ended = listing.trim().split('\n').filter((line) => !/\|(PENDING|RUNNING|COMPLETING|REQUEUED)/.test(line));
    return slurmJobIds.every((id) => ended.some((line) => line.startsWith(`${id}|`)));
  }).catch(() => undefined);
  return listing;
}

async function playRound(scene: Scene, fault: Fault, key: string, executions: string): Promise<void> {
  const { victim, random } = scene;
  await fault.before?.(scene);
  const seconds = (1 + 2 * random()).toFixed(1);
  const input = {
    project: 'chaos', experiment: 'bench', name: key, idempotencyKey: key, space: { base: { key, round: fault.name }, seeds: { values: Array.from({ length: JOBS_A_ROUND }, (_, seed) => seed) } },
    command: ['sh', '-c', 'echo "$EXPGRAPH_JOB_ID $EXPGRAPH_ATTEMPT" >> "$1"; sleep "$2"', 'sh', executions, seconds],
  };
  // As a careful client does it: asked again with the same key until there is an answer.
  const submitted = until(`round ${key} to be submitted`, 90_000, async () => {
    try {
      const { submitSweep } = await victim.request<{ submitSweep: { userErrors: { message: string }[] } }>(SUBMIT, { input });
      return submitSweep.userErrors.length === 0;
    } catch {
      return false;
    }
  });
  submitted.catch(() => undefined);
  if (fault.strike !== undefined) {
    await delay(3_000 * random());
    await fault.strike(scene);
  }
  await submitted;
}

async function untilAllEnded(query: pg.Pool['query']): Promise<void> {
  let open = '';
  await until('all jobs to end', END_DEADLINE_MS, async () => {
    const { rows } = await query<{ id: string; state: string; state_reason: string | null }>('select id, state, state_reason from jobs where state <> all($1)', [TERMINAL]);
    open = rows.map(({ id, state, state_reason }) => `${id} ${state} ${state_reason ?? ''}`).join('\n');
    return rows.length === 0;
  }).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}:\n${open}`);
  });
}
