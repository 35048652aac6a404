/**
 * From the moment SLURM starts the script of a job, the job writes a metric or its command ends, by the job's own clock, until a graphql-ws
 * subscriber has been told: p50, p95, p99 with the push, and in the same run with polling alone (`watch: false`, default periods).
 * `--jobs N` jobs (default 500) run at once on the test rig. They are submitted in portions, because here the nodes, the login node and the server share one machine: hundreds
 * starting within a second would be measured as such. SLURM's own record of each start and end (whole seconds) is set beside.
 * Where the time goes is told by what lies in between: `written`, when the file was changed by which we learn of the moment (until then it is
 * the job's own script and the machine's load), and `recorded`, the event's time (since then the commit and the way to the subscriber).
 */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { GraphqlClient } from '../src/cli/graphql-client.ts';
import type { ServerProcess } from '../src/cli/server-process.ts';
import { exitRecordPath, metricsPath, ownerPath } from '../src/domain/layout.ts';
import { ensureRig, slurm, slurmAnswer } from '../test/rig/rig.ts';
import type { Rig } from '../test/rig/rig.ts';
import { CommandMeter, serverCpuMs } from './command-meter.ts';
import { rounded } from './result.ts';
import type { BenchResult } from './result.ts';
import { withFolder, withServer } from './server.ts';

const CLUSTER = 'alpha';
const PORTION = 10;
const PORTION_EVERY_MS = 1000;
/** Longer than it takes to start them all, so that all are in flight at once. */
const METRIC_AFTER_SECONDS = 60;
const END_AFTER_SECONDS = 120;
const DEADLINE_MS = 600_000;
const GOAL = { p95Seconds: 1, squeuePerMinute: 12, sacctPerMinute: 6 };

/** By few processes, for on this machine they keep the others from starting. What slurmstepd started, the script of the job, is the parent of the command. */
const RUN = `read -r script < "/proc/$PPID/stat"; printf '%s' "$script" > "$EXPGRAPH_JOB_DIR/began"; sleep ${METRIC_AFTER_SECONDS}
printf '{"step":1,"clock":%s}\\n' "$(date +%s.%N)" >> "$EXPGRAPH_METRICS"; sleep ${END_AFTER_SECONDS - METRIC_AFTER_SECONDS}
date +%s.%N > "$EXPGRAPH_JOB_DIR/ended"`;
/** Of the times in `/proc/PID/stat`. */
const TICKS_PER_SECOND = 100;

const SUBMIT = `mutation Submit($input: SubmitSweepInput!) { submitSweep(input: $input) { jobs { jobId } userErrors { field message } } }`;
const EVENTS = `subscription Events { jobEvents(filter: { kinds: [JOB_STATE_CHANGED, METRICS_APPENDED] }) { at kind toState job { id } } }`;
const JOBS = `query Jobs($after: String) {
  jobs(first: 100, after: $after) { nodes { id state storagePath metrics(keys: ["clock"]) { values } attempts { state slurmJobId } } pageInfo { hasNextPage endCursor } }
}`;

const MOMENTS = ['started', 'metric', 'ended'] as const;
type Moment = (typeof MOMENTS)[number];
/** Milliseconds of the epoch, by moment. */
type Clock = Partial<Record<Moment, number>>;
const MARKS: Record<Moment, (storagePath: string) => string> = {
  started: (directory) => ownerPath(directory, 1), metric: metricsPath, ended: (directory) => exitRecordPath(directory, 1),
};

interface Event {
  at: string;
  kind: string;
  toState: string | null;
  job: { id: string };
}

interface SubmittedJob {
  id: string;
  state: string;
  storagePath: string;
  metrics: { values: (number | null)[] }[];
  attempts: { state: string; slurmJobId: string }[];
}

const now = () => performance.timeOrigin + performance.now();

function momentOf({ kind, toState }: Event): Moment | null {
  if (kind === 'METRICS_APPENDED') return 'metric';
  if (toState === 'RUNNING') return 'started';
  return toState === 'COMPLETED' ? 'ended' : null;
}

/** When the moments of a job were recorded, and told first. */
interface Told {
  recorded: Clock;
  received: Clock;
}

/** By job. Resolves when all jobs have ended. */
async function listen(client: GraphqlClient, jobCount: number): Promise<Map<string, Told>> {
  const told = new Map<string, Told>();
  let ended = 0;
  for await (const { jobEvents } of client.subscribe<{ jobEvents: Event }>(EVENTS)) {
    const at = now();
    const moment = momentOf(jobEvents);
    if (jobEvents.toState === 'FAILED') throw new Error(`job ${jobEvents.job.id} failed`);
    if (moment === null) continue;
    const { recorded, received } = told.get(jobEvents.job.id) ?? { recorded: {}, received: {} };
    recorded[moment] ??= Date.parse(jobEvents.at);
    received[moment] ??= at;
    told.set(jobEvents.job.id, { recorded, received });
    if (moment === 'ended' && (ended += 1) === jobCount) return told;
  }
  throw new Error('the subscription ended before the jobs did');
}

async function submitAll(client: GraphqlClient, jobCount: number): Promise<void> {
  for (let first = 0; first < jobCount; first += PORTION) {
    const begun = now();
    const values = Array.from({ length: Math.min(PORTION, jobCount - first) }, (_, index) => first + index);
    type Payload = { submitSweep: { userErrors: { message: string }[] } };
    const { submitSweep: { userErrors } } = await client.request<Payload>(SUBMIT, { input: {
      project: 'bench', experiment: 'latency', name: `portion ${first}`, cluster: CLUSTER, command: ['sh', '-c', RUN], space: { grid: [{ key: 'index', values }] },
      resources: { memoryMiB: 20, timeLimitMinutes: 10 },
    } });
    if (userErrors.length > 0) throw new Error(userErrors.map(({ message }) => message).join('; '));
    await new Promise((resolve) => { setTimeout(resolve, begun + PORTION_EVERY_MS - now()); });
  }
}

async function allJobs(client: GraphqlClient): Promise<SubmittedJob[]> {
  const all: SubmittedJob[] = [];
  for (let after: string | null = null; ;) {
    type Page = { jobs: { nodes: SubmittedJob[]; pageInfo: { hasNextPage: boolean; endCursor: string } } };
    const { jobs }: Page = await client.request<Page>(JOBS, { after });
    all.push(...jobs.nodes);
    if (!jobs.pageInfo.hasNextPage) return all;
    after = jobs.pageInfo.endCursor;
  }
}

/** When the machine was started. */
async function bootedAt(): Promise<number> {
  const [seconds = ''] = (await readFile('/proc/uptime', 'utf8')).split(' ');
  return now() - Number(seconds) * 1000;
}

/** When SLURM started the script, and what the job's own clock said later. */
async function ownClock({ storagePath, metrics }: SubmittedJob, booted: number): Promise<Clock> {
  const [began = '', ended = ''] = await Promise.all(['began', 'ended'].map((name) => readFile(join(storagePath, name), 'utf8')));
  // The 22nd of the fields, of which the second, a name, ends with the last bracket.
  const ticks = Number(began.slice(began.lastIndexOf(')') + 2).split(' ')[19]);
  return { started: booted + (ticks / TICKS_PER_SECOND) * 1000, metric: (metrics[0]?.values[0] ?? NaN) * 1000, ended: Number(ended) * 1000 };
}

/** When the files were written that tell of the moments. */
async function markClock({ storagePath }: SubmittedJob): Promise<Clock> {
  return Object.fromEntries(await Promise.all(MOMENTS.map(async (moment) => [moment, (await stat(MARKS[moment](storagePath))).mtimeMs])));
}

/** SLURM's record of starts and ends, by SLURM id. */
async function accounting(rig: Rig, slurmJobIds: string[]): Promise<Map<string, { clock: Clock; state: string }>> {
  const text = await slurm(rig, CLUSTER, ['sacct', '-X', '-n', '-P', '--format=JobID,Start,End,State', '-j', slurmJobIds.join(',')]);
  return new Map(text.trim().split('\n').map((line) => {
    const [id = '', start = '', end = '', state = ''] = line.split('|');
    return [id, { clock: { started: Date.parse(`${start}Z`), ended: Date.parse(`${end}Z`) }, state }];
  }));
}

function percentiles(seconds: number[]): { p50: number; p95: number; p99: number } {
  const sorted = [...seconds].sort((a, b) => a - b);
  const at = (share: number) => rounded(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN);
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

type Percentiles = ReturnType<typeof percentiles>;

interface Measured {
  byOwnClock: Record<Moment, Percentiles>;
  /** What the times above are made of. */
  stages: Record<Moment, { written: Percentiles; recorded: Percentiles; received: Percentiles }>;
  bySacct: Partial<Record<Moment, Percentiles>>;
  mostPerMinute: Record<string, number>;
  /** From its submission until its end was told. Unlike the times, it hardly depends on what else the machine does. */
  serverCpuMsPerJob: number;
  wrongStates: number;
}

async function measure(rig: Rig, client: GraphqlClient, server: ServerProcess, jobCount: number): Promise<Measured> {
  const meter = new CommandMeter(server, CLUSTER);
  const cpuBefore = await serverCpuMs(server);
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  const late = new Promise<never>((_, reject) => { deadline.addEventListener('abort', () => reject(new Error('the jobs did not end in time'))); });
  const listening = listen(client, jobCount);
  const [told] = await Promise.race([Promise.all([listening, submitAll(client, jobCount)]), late]).finally(() => meter.end());
  const mostPerMinute = await meter.most();
  const serverCpuMsPerJob = rounded((await serverCpuMs(server) - cpuBefore) / jobCount);
  const jobs = await allJobs(client);
  const recorded = await accounting(rig, jobs.map((job) => job.attempts[0]?.slurmJobId ?? ''));
  const booted = await bootedAt();
  const clocks = await Promise.all(jobs.map(async (job) => ({
    own: await ownClock(job, booted), written: await markClock(job), ...told.get(job.id), sacct: recorded.get(job.attempts[0]?.slurmJobId ?? '')?.clock,
  })));
  const between = (moment: Moment, from: 'own' | 'written' | 'recorded' | 'sacct', to: 'written' | 'recorded' | 'received'): Percentiles => (
    percentiles(clocks.map((clock) => ((clock[to]?.[moment] ?? NaN) - (clock[from]?.[moment] ?? NaN)) / 1000)));
  const ofEach = <Figures>(figures: (moment: Moment) => Figures) => Object.fromEntries(MOMENTS.map((moment) => [moment, figures(moment)])) as Record<Moment, Figures>;
  return {
    byOwnClock: ofEach((moment) => between(moment, 'own', 'received')),
    stages: ofEach((moment) => ({ written: between(moment, 'own', 'written'), recorded: between(moment, 'written', 'recorded'), received: between(moment, 'recorded', 'received') })),
    bySacct: { started: between('started', 'sacct', 'received'), ended: between('ended', 'sacct', 'received') },
    mostPerMinute, serverCpuMsPerJob,
    wrongStates: jobs.filter((job) => job.state !== 'COMPLETED' || recorded.get(job.attempts[0]?.slurmJobId ?? '')?.state !== 'COMPLETED').length,
  };
}

/** Others may use the rig, too: only what was submitted here. */
async function cancelAll(rig: Rig, client: GraphqlClient): Promise<void> {
  const ids = (await allJobs(client)).flatMap(({ attempts }) => attempts.map(({ slurmJobId }) => slurmJobId).filter(Boolean));
  if (ids.length > 0) await slurmAnswer(rig, CLUSTER, ['scancel', '--quiet', ...ids]);
}

/** A server of its own, with the rig's cluster watched or not. */
async function withWatch(rig: Rig, watch: boolean, jobCount: number): Promise<Measured> {
  return withFolder(async (folder) => {
    const config = join(folder, 'expgraph.yaml');
    const text = await readFile(rig.configPath, 'utf8');
    await writeFile(config, text.replaceAll(/\n {4}pollSeconds:\n(?: {6}.*\n?)+/g, `\n    watch: ${watch}\n`));
    const measured = await withServer({ EXPGRAPH_CONFIG: config, EXPGRAPH_LOG_LEVEL: 'warn' }, async (client, server) => {
      try {
        return await measure(rig, client, server, jobCount);
      } catch (error) {
        await cancelAll(rig, client);
        throw error;
      }
    });
    for (const [moment, { p50, p95, p99 }] of Object.entries(measured.byOwnClock)) {
      const parts = Object.entries(measured.stages[moment as Moment]).map(([stage, part]) => `${stage} after ${part.p50} and ${part.p95}`);
      console.log(`${watch ? 'push' : 'poll'}: ${moment.padEnd(8)} p50 ${p50} s, p95 ${p95} s, p99 ${p99} s; p50 and p95 of its parts: ${parts.join(', ')}`);
    }
    console.log(`${watch ? 'push' : 'poll'}: most commands in a minute ${JSON.stringify(measured.mostPerMinute)}; CPU of the server for each job ${measured.serverCpuMsPerJob} ms; against sacct's whole seconds ${JSON.stringify(measured.bySacct)}`);
    return measured;
  });
}

export async function benchLatency(): Promise<BenchResult> {
  const { values } = parseArgs({ args: process.argv.slice(3), options: { jobs: { type: 'string', default: '500' } } });
  const jobCount = Number(values.jobs);
  const rig = await ensureRig((line) => console.log(line));
  const pushed = await withWatch(rig, true, jobCount);
  const polled = await withWatch(rig, false, jobCount);
  const { squeue = 0, sacct = 0 } = pushed.mostPerMinute;
  const slowest = Math.max(...MOMENTS.map((moment) => pushed.byOwnClock[moment].p95));
  return {
    goal: `pushed events within ${GOAL.p95Seconds} s (p95), at most ${GOAL.squeuePerMinute} squeue and ${GOAL.sacctPerMinute} sacct a minute, no wrong state`,
    ok: slowest < GOAL.p95Seconds && squeue <= GOAL.squeuePerMinute && sacct <= GOAL.sacctPerMinute && pushed.wrongStates + polled.wrongStates === 0,
    jobs: jobCount, pushed, polled,
  };
}
