/**
 * The emergency brake: `cancelJobs` by filter on `--jobs N` jobs (default 10,000) that wait in the queue of the test rig, against a bare
 * `ssh host scancel --name` of as many. Until the mutation has answered, until SLURM has none of them waiting, and until all are
 * shown as CANCELLED; and the commands of the scheduler that this took. The jobs may not begin for an hour.
 */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import type { GraphqlClient } from '../src/cli/graphql-client.ts';
import type { ServerProcess } from '../src/cli/server-process.ts';
import { until } from '../test/rig/processes.ts';
import { ensureRig, rigCluster, slurm, slurmAnswer } from '../test/rig/rig.ts';
import type { Rig } from '../test/rig/rig.ts';
import { commandCounts } from './command-meter.ts';
import { rounded } from './result.ts';
import type { BenchResult } from './result.ts';
import { withFolder, withServer } from './server.ts';

const CLUSTER = 'alpha';
const ARRAY_SIZE = 1000;
const DEADLINE_MS = 300_000;
const MAX_SCANCELS = 2;
const SUBMIT = `mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { sweep { id } userErrors { message } } }`;
const CANCEL = `mutation ($filter: JobFilter!) { cancelJobs(input: { filter: $filter }) { changedCount userErrors { message } } }`;
const STATES = `query ($sweepId: ID!) { sweep(id: $sweepId) { progress { states { state count } } } }`;

const secondsSince = (begun: number) => (performance.now() - begun) / 1000;

/** A person's way: one ssh, one scancel, by the name of the jobs. */
async function timeBare(rig: Rig, jobCount: number): Promise<number> {
  const { sshPort } = rigCluster(rig, CLUSTER);
  for (let left = jobCount; left > 0; left -= ARRAY_SIZE) {
    await slurm(rig, CLUSTER, ['sbatch', '--job-name=bench-bare', '--begin=now+60minutes', `--array=0-${Math.min(left, ARRAY_SIZE) - 1}`, '--output=/dev/null'], { stdin: '#!/bin/sh\ntrue\n' });
  }
  const begun = performance.now();
  await promisify(execFile)('ssh', ['-p', String(sshPort), '-i', rig.identityFile, '-o', `UserKnownHostsFile=${rig.knownHostsFile}`, '-o', 'BatchMode=yes', `${rig.user}@127.0.0.1`, 'scancel --name=bench-bare']);
  return secondsSince(begun);
}

async function waitingCount(rig: Rig): Promise<number> {
  const listed = await slurm(rig, CLUSTER, ['squeue', '-h', '-r', '-t', 'PENDING', '-u', rig.user, '-o', '%j']);
  return listed.split('\n').filter((name) => /^eg-\w+-brake$/.test(name)).length;
}

async function measure(rig: Rig, jobCount: number, client: GraphqlClient, server: ServerProcess): Promise<BenchResult> {
  const { submitSweep } = await client.request<{ submitSweep: { sweep: { id: string }; userErrors: { message: string }[] } }>(SUBMIT, {
    input: {
      project: 'bench', experiment: 'brake', name: 'waits', cluster: CLUSTER, command: ['true'], space: { seeds: { values: Array.from({ length: jobCount }, (_, seed) => seed) } },
      resources: { timeLimitMinutes: 1, sbatchOptions: { begin: 'now+60minutes' } },
    },
  });
  const sweepId = submitSweep.sweep.id;
  const countIn = async (wanted: string): Promise<number> => {
    const { sweep } = await client.request<{ sweep: { progress: { states: { state: string; count: number }[] } } }>(STATES, { sweepId });
    return sweep.progress.states.find(({ state }) => state === wanted)?.count ?? 0;
  };
  await until('all jobs to wait in the queue', DEADLINE_MS, async () => await countIn('PENDING') === jobCount);
  const bareSeconds = await timeBare(rig, jobCount);
  const before = await commandCounts(server, CLUSTER);
  const begun = performance.now();
  await client.request(CANCEL, { filter: { sweepIds: [sweepId], states: ['PENDING'] } });
  const answerSeconds = secondsSince(begun);
  await until('SLURM to have none waiting', DEADLINE_MS, async () => await waitingCount(rig) === 0);
  const slurmSeconds = secondsSince(begun);
  await until('all jobs to be CANCELLED', DEADLINE_MS, async () => await countIn('CANCELLED') === jobCount);
  const shownSeconds = secondsSince(begun);
  const after = await commandCounts(server, CLUSTER);
  const commands = Object.fromEntries(Object.entries(after).map(([command, count]) => [command, count - (before[command] ?? 0)]).filter(([, count]) => count !== 0));
  console.log(`${jobCount} waiting jobs: answered after ${answerSeconds.toFixed(2)} s, gone from SLURM's queue after ${slurmSeconds.toFixed(2)} s (bare scancel ${bareSeconds.toFixed(2)} s), all shown as CANCELLED after ${shownSeconds.toFixed(2)} s`);
  console.log(`commands meanwhile: ${JSON.stringify(commands)}`);
  return {
    goal: `at most ${MAX_SCANCELS} scancel, and no hold of single jobs`,
    ok: (commands['scancel'] ?? 0) <= MAX_SCANCELS,
    jobs: jobCount, answerSeconds: rounded(answerSeconds), slurmSeconds: rounded(slurmSeconds), bareSeconds: rounded(bareSeconds), shownSeconds: rounded(shownSeconds), commands,
  };
}

export async function benchCancel(): Promise<BenchResult> {
  const { values } = parseArgs({ args: process.argv.slice(3), options: { jobs: { type: 'string', default: '10000' } } });
  const jobCount = Number(values.jobs);
  const rig = await ensureRig((line) => console.log(line));
  return withFolder(async (folder) => {
    const configPath = join(folder, 'expgraph.yaml');
    await writeFile(configPath, (await readFile(rig.configPath, 'utf8')).replaceAll(/maxActiveJobs: \d+/g, `maxActiveJobs: ${jobCount}`));
    try {
      return await withServer({ EXPGRAPH_CONFIG: configPath }, (client, server) => measure(rig, jobCount, client, server));
    } finally {
      await slurmAnswer(rig, CLUSTER, ['scancel', '--name=bench-bare']);
    }
  });
}
