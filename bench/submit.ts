/**
 * From the submitSweep mutation of 1,000 jobs until every SLURM id is known, on the test rig over SSH, against a bare
 * `ssh host sbatch --array=0-999` fed with the very same script. The jobs may not begin for an hour, so that what is
 * measured is submission and not a thousand jobs competing for this machine; they are cancelled at the end.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { GraphqlClient } from '../src/cli/graphql-client.ts';
import { ensureRig, rigCluster, slurmAnswer } from '../test/rig/rig.ts';
import type { Rig } from '../test/rig/rig.ts';
import { median, rounded } from './result.ts';
import type { BenchResult } from './result.ts';
import { withServer } from './server.ts';

const JOBS = 1000;
const FEWER_JOBS = 100;
const ROUNDS = 3;
const MAX_RATIO = 5;
const POLL_MS = 10;
const DEADLINE_MS = 120_000;

const SUBMIT = `mutation Submit($input: SubmitSweepInput!) {
  submitSweep(input: $input) { dryRun scripts { script taskCount } userErrors { field message } }
}`;
const SUBMISSIONS = `query Submissions($filter: SubmissionFilter!) {
  submissions(filter: $filter, first: 100) { nodes { slurmJobId taskCount submittedAt } }
}`;

interface Measured {
  seconds: number;
  sbatchCalls: number;
}

/** SLURM ids of everything submitted here, to be cancelled at the end: others may use the rig, too. */
const submittedIds: string[] = [];

const sweepInput = (cluster: string, experiment: string, jobCount: number) => ({
  project: 'bench', experiment, name: experiment, cluster, command: ['true', '{overrides}'],
  space: { grid: [{ key: 'index', values: Array.from({ length: jobCount }, (_, index) => index) }] },
  resources: { timeLimitMinutes: 1, sbatchOptions: { begin: 'now+60minutes' } },
});

async function submit(client: GraphqlClient, input: object): Promise<{ script: string; taskCount: number }[]> {
  type Payload = { dryRun: boolean; scripts: { script: string; taskCount: number }[]; userErrors: { field: string[]; message: string }[] };
  const { submitSweep: { scripts, userErrors } } = await client.request<{ submitSweep: Payload }>(SUBMIT, { input });
  if (userErrors.length > 0) throw new Error(userErrors.map(({ field, message }) => `${field.join('.')}: ${message}`).join('; '));
  return scripts;
}

/** Submits and waits until SLURM's id of every array is known. */
async function timeOurs(client: GraphqlClient, cluster: string, jobCount: number, experiment: string): Promise<Measured> {
  const from = new Date().toISOString();
  const begun = performance.now();
  await submit(client, sweepInput(cluster, experiment, jobCount));
  while (performance.now() - begun < DEADLINE_MS) {
    type Page = { submissions: { nodes: { slurmJobId: string | null; taskCount: number }[] } };
    const { submissions: { nodes } } = await client.request<Page>(SUBMISSIONS, { filter: { clusters: [cluster], submittedAt: { from } } });
    const known = nodes.filter(({ slurmJobId }) => slurmJobId !== null);
    if (known.reduce((sum, { taskCount }) => sum + taskCount, 0) === jobCount) {
      const seconds = (performance.now() - begun) / 1000;
      submittedIds.push(...known.map(({ slurmJobId }) => slurmJobId ?? ''));
      return { seconds, sbatchCalls: nodes.length };
    }
    await new Promise((resolve) => { setTimeout(resolve, POLL_MS); });
  }
  throw new Error(`not all of ${jobCount} jobs had a SLURM id after ${DEADLINE_MS / 1000} s`);
}

/** A person's way: one ssh, one sbatch, the same script on standard input. */
async function timeBare(rig: Rig, cluster: string, script: string): Promise<number> {
  const { sshPort, rootDirectory } = rigCluster(rig, cluster);
  const remote = `sbatch --parsable --begin=now+60minutes --array=0-${JOBS - 1} --output=${rootDirectory}/bare-%A_%a.out`;
  const begun = performance.now();
  const running = promisify(execFile)('ssh', ['-p', String(sshPort), '-i', rig.identityFile, '-o', `UserKnownHostsFile=${rig.knownHostsFile}`, '-o', 'BatchMode=yes', `${rig.user}@127.0.0.1`, remote]);
  running.child.stdin?.end(script);
  const { stdout } = await running;
  const seconds = (performance.now() - begun) / 1000;
  const slurmJobId = /^\d+/.exec(stdout)?.[0];
  if (slurmJobId === undefined) throw new Error(`sbatch answered ${stdout}`);
  submittedIds.push(slurmJobId);
  return seconds;
}

/** The cluster that takes all jobs in one array. */
async function clusterWithLargeArrays(rig: Rig): Promise<string> {
  for (const { name } of rig.clusters) {
    const { stdout } = await slurmAnswer(rig, name, ['scontrol', 'show', 'config']);
    if (Number(/MaxArraySize\s*=\s*(\d+)/.exec(stdout)?.[1]) >= JOBS) return name;
  }
  throw new Error(`no cluster of the rig takes an array of ${JOBS}`);
}

async function measure(rig: Rig, cluster: string, client: GraphqlClient): Promise<BenchResult> {
  const [planned] = await submit(client, { ...sweepInput(cluster, 'dry', JOBS), dryRun: true });
  if (planned === undefined) throw new Error('the dry run gave no script');
  const ours: Measured[] = [];
  const fewer: Measured[] = [];
  const bare: number[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    bare.push(await timeBare(rig, cluster, planned.script));
    fewer.push(await timeOurs(client, cluster, FEWER_JOBS, `fewer-${round}`));
    const measured = await timeOurs(client, cluster, JOBS, `all-${round}`);
    ours.push(measured);
    console.log(`round ${round}: bare sbatch ${bare.at(-1)?.toFixed(3)} s; ours ${measured.seconds.toFixed(3)} s with ${measured.sbatchCalls} sbatch; ${FEWER_JOBS} jobs ${fewer.at(-1)?.seconds.toFixed(3)} s`);
  }
  const bareSeconds = median(bare);
  const seconds = median(ours.map((measured) => measured.seconds));
  const fewerSeconds = median(fewer.map((measured) => measured.seconds));
  const sbatchCalls = Math.max(...ours.map((measured) => measured.sbatchCalls));
  const ratio = seconds / bareSeconds;
  console.log(`medians: ${JOBS} jobs ${seconds.toFixed(3)} s = ${ratio.toFixed(2)} x bare ${bareSeconds.toFixed(3)} s; ${sbatchCalls} sbatch for one array; ${FEWER_JOBS} -> ${JOBS} jobs costs ${(seconds / fewerSeconds).toFixed(2)} x the time`);
  return {
    goal: `at most ${MAX_RATIO} x a bare sbatch and one sbatch an array`,
    ok: ratio <= MAX_RATIO && sbatchCalls <= 1,
    jobs: JOBS, seconds: rounded(seconds), bareSeconds: rounded(bareSeconds), ratio: rounded(ratio),
    sbatchCalls, growth: { jobs: FEWER_JOBS, seconds: rounded(fewerSeconds), timesTheTime: rounded(seconds / fewerSeconds) },
  };
}

export async function benchSubmit(): Promise<BenchResult> {
  const rig = await ensureRig((line) => console.log(line));
  const cluster = await clusterWithLargeArrays(rig);
  try {
    return await withServer({ EXPGRAPH_CONFIG: rig.configPath }, (client) => measure(rig, cluster, client));
  } finally {
    if (submittedIds.length > 0) await slurmAnswer(rig, cluster, ['scancel', ...submittedIds]);
  }
}
