/**
 * What one asks of a large experiment: a page deep in its list, the jobs with some configuration values and how many there are, the jobs by a metric, and
 * configurations ranked over their seeds: these have a goal. Beside them results by a metric, jobs by name and times, searches in names, progress and the best checkpoint. `--jobs N` (default 100,000) is the larger of two sizes, the smaller a tenth of it. Of each kind up to 40 different
 * requests go over HTTP, each after a new value of some job was written, and each once before it counts; the first of its kind is shown, too. Beside
 * them in the same run, what one writes at first, straight on PostgreSQL: pages by OFFSET, conditions and orders without an index, and all values read and grouped by the client.
 */
import { parseArgs } from 'node:util';
import type { GraphqlClient } from '../src/cli/graphql-client.ts';
import { BATCH_SIZES, fillExperiment, JOB_COUNT_UNIT, LEARNING_RATES, METRICS, SEEDS, WIDTHS } from './finished-jobs.ts';
import { withMetricServer, type MetricServer } from './metric-server.ts';
import { median, rounded, type BenchResult } from './result.ts';

const REQUESTS = 40;
const PASSES = 3;
const NAIVE_RUNS = 3;
const PAGE_SIZE = 50;
const LARGEST_PAGE = 500;
const MAX_MS = 100;
const MAX_GROWTH = 3;
const CONFIG_KEYS = ['model.width', 'optim.lr', 'optim.weight_decay', 'batch_size', 'model.dropout'];

const LIST = `query ($name: String!, $filter: JobFilter, $orderBy: [JobOrder!], $first: Int = ${PAGE_SIZE}, $after: String, $counted: Boolean = false) { experiment(project: "bench", name: $name) {
  jobs(filter: $filter, orderBy: $orderBy, first: $first, after: $after) { totalCount @include(if: $counted) nodes { id name state config tags priority } pageInfo { endCursor hasNextPage } } } }`;
const CURSOR = `query ($name: String!, $orderBy: [JobOrder!], $first: Int, $after: String) { experiment(project: "bench", name: $name) {
  jobs(orderBy: $orderBy, first: $first, after: $after) { pageInfo { endCursor } } } }`;
const BOARD = `query ($name: String!, $metric: String, $goal: Goal, $groupBy: [String!]) { experiment(project: "bench", name: $name) {
  leaderboard(metric: $metric, goal: $goal, groupBy: $groupBy) { rank config n mean standardDeviation bestValue step job { id name } checkpoint { path } } } }`;
const RESULTS = `query ($filter: ResultFilter, $orderBy: [ResultOrder!], $first: Int = ${PAGE_SIZE}, $after: String, $counted: Boolean = false) {
  results(filter: $filter, orderBy: $orderBy, first: $first, after: $after) { totalCount @include(if: $counted) nodes { metrics job { id name config } bestCheckpoint { path } } pageInfo { endCursor } } }`;
const STANDING = `query ($name: String!, $metric: String, $goal: Goal, $best: Boolean = false) { experiment(project: "bench", name: $name) {
  progress @skip(if: $best) { done total jobsPerHour etaSeconds states { state count } } bestCheckpoint(metric: $metric, goal: $goal) @include(if: $best) { path step } } }`;
const RECORD = 'mutation ($input: RecordMetricsInput!) { recordMetrics(input: $input) { userErrors { message } } }';

type Kind = 'page' | 'filter' | 'sort' | 'group' | 'results' | 'names' | 'standing';
/** Those with a goal. */
const GOAL_KINDS: readonly Kind[] = ['page', 'filter', 'sort', 'group'];
interface Request { query: string; variables: Record<string, unknown> }
interface Figures { firstMs: number; p95Ms: number; medianMs: number; naiveMs: number }
interface Size { server: MetricServer; name: string; id: string; jobCount: number; jobIds: string[] }

async function cursors(client: GraphqlClient, name: string, orderBy: object[], step: number, count: number): Promise<string[]> {
  const found: string[] = [];
  for (let after: string | null = null; found.length < count;) {
    const { experiment: { jobs } }: { experiment: { jobs: { pageInfo: { endCursor: string } } } } = await client.request(CURSOR, { name, orderBy, first: step, after });
    found.push(after = jobs.pageInfo.endCursor);
  }
  return found;
}

/** Cursors all over the list, but for its very end. */
async function pages({ server: { client }, name, jobCount }: Size): Promise<Request[]> {
  const step = Math.min(LARGEST_PAGE, jobCount / (REQUESTS + 1) | 0);
  const all = await cursors(client, name, [], step, Math.floor(jobCount / step) - 1);
  return Array.from({ length: REQUESTS }, (_, index) => ({ query: LIST, variables: { name, after: all[Math.floor(((index + 1) * all.length) / REQUESTS) - 1] } }));
}

/** Common values and rare ones, ranges, choices and several at once, with the count of all. */
function filters({ name }: Size): Request[] {
  const conditions: object[][] = [
    ...LEARNING_RATES.map((eq) => [{ key: 'optim.lr', eq }]), ...WIDTHS.map((eq) => [{ key: 'model.width', eq }]), ...SEEDS.map((eq) => [{ key: 'seed', eq }]),
    ...LEARNING_RATES.slice(0, 6).map((eq, index) => [{ key: 'optim.lr', eq }, { key: 'model.width', eq: WIDTHS[index] }, { key: 'batch_size', gte: 64 }]),
    ...LEARNING_RATES.slice(0, 5).map((lt) => [{ key: 'optim.lr', lt }]), ...BATCH_SIZES.slice(1).map((eq) => [{ key: 'batch_size', in: [16, eq] }]),
    [{ key: 'epochs', gt: 1000 }],
  ];
  return conditions.slice(0, REQUESTS).map((config) => ({ query: LIST, variables: { name, filter: { config }, counted: true } }));
}

async function sorts({ server: { client }, name }: Size): Promise<Request[]> {
  const orders = METRICS.flatMap((key) => ['MIN', 'MAX', 'LAST'].flatMap((at) => ['ASC', 'DESC'].map((direction) => [{ field: 'METRIC', key, at, direction }])));
  const requests: Request[] = orders.map((orderBy) => ({ query: LIST, variables: { name, orderBy } }));
  for (const orderBy of [...orders, ...orders].slice(0, REQUESTS - orders.length)) {
    const after = (await cursors(client, name, orderBy, LARGEST_PAGE, requests.length % 3 + 1)).at(-1);
    requests.push({ query: LIST, variables: { name, orderBy, after } });
  }
  return requests;
}

/** Over the seeds alone by each metric, then by every choice of keys. */
function groups({ name }: Size): Request[] {
  const overSeeds = METRICS.flatMap((metric) => ['MIN', 'MAX'].map((goal) => ({ metric, goal, groupBy: CONFIG_KEYS })));
  const choices = Array.from({ length: 2 ** CONFIG_KEYS.length - 1 }, (_, bits) => ({ groupBy: CONFIG_KEYS.filter((_key, index) => ((bits + 1) >> index) % 2 === 1) }));
  const alone = [['seed'], ['seed', 'optim.lr'], ['seed', 'model.width']].map((groupBy) => ({ groupBy }));
  return [...overSeeds, ...choices, ...alone].slice(0, REQUESTS).map((variables) => ({ query: BOARD, variables: { name, ...variables } }));
}

/** By metrics of the result and of the history, by times and by names, the first page and the second, and with the count of all. */
async function results({ server: { client }, id }: Size): Promise<Request[]> {
  const filter = { jobs: { experimentIds: [id] } };
  const orders = ['ASC', 'DESC'].flatMap((direction) => [
    ...METRICS.flatMap((key) => [{ field: 'FINAL_METRIC', key, direction }, { field: 'METRIC', key, at: 'MIN', direction }, { field: 'METRIC', key, at: 'MAX', direction }]),
    { field: 'FINISHED_AT', direction }, { field: 'JOB_NAME', direction },
  ]);
  const requests: Request[] = [];
  for (const [index, orderBy] of orders.slice(0, REQUESTS / 2).entries()) {
    const variables = { filter, orderBy: [orderBy] };
    const { results: page } = await client.request<{ results: { pageInfo: { endCursor: string } } }>(RESULTS, variables);
    requests.push({ query: RESULTS, variables: { ...variables, counted: index % 2 === 0 } }, { query: RESULTS, variables: { ...variables, after: page.pageInfo.endCursor } });
  }
  return requests;
}

/** Orders by name and times of all jobs and of some, and searches for what many, few and no names have. */
function names({ name }: Size): Request[] {
  const orders = ['NAME', 'STARTED_AT', 'FINISHED_AT'].flatMap((field) => ['ASC', 'DESC'].map((direction) => [{ field, direction }]));
  const texts = ['', ...LEARNING_RATES.map((rate) => `LR=${rate} `), ...SEEDS.map((seed) => `seed=${seed}`), 'nowhere'];
  return [
    ...orders.map((orderBy) => ({ query: LIST, variables: { name, orderBy } })),
    ...orders.map((orderBy) => ({ query: LIST, variables: { name, orderBy, counted: true, filter: { config: [{ key: 'optim.lr', eq: LEARNING_RATES[0] }, { key: 'seed', eq: SEEDS[0] }] } } })),
    ...texts.map((nameContains) => ({ query: LIST, variables: { name, counted: true, filter: { nameContains } } })),
    ...texts.map((nameContains, index) => ({ query: LIST, variables: { name, orderBy: orders[index % orders.length], filter: { nameContains } } })),
  ].slice(0, REQUESTS);
}

/** Progress, and the best checkpoint by each metric, the least value: the greatest lies where no checkpoint was written. */
function standing({ name }: Size): Request[] {
  return [{}, ...METRICS.map((metric) => ({ best: true, metric, goal: 'MIN' }))].map((variables) => ({ query: STANDING, variables: { name, ...variables } }));
}

const NAIVE: Record<Kind, string> = {
  page: 'select * from jobs where experiment_id = $1 order by created_at, id limit 50 offset $2::int * 9 / 10',
  filter: `select *, count(*) over () from jobs where experiment_id = $1 and $2::int > 0 and config #> '{optim,lr}' = '0.01' order by created_at, id limit 50`,
  sort: `select jobs.* from jobs join metric_series on job_id = jobs.id and key = 'val/loss' where experiment_id = $1 and $2::int > 0 order by min_value, jobs.id limit 50`,
  group: `select config, min_value from jobs join metric_series on job_id = jobs.id and key = 'val/loss' where experiment_id = $1 and $2::int > 0`,
  results: `select results.*, jobs.* from results join jobs on jobs.id = job_id where experiment_id = $1 and $2::int > 0 order by metrics -> 'val/loss', job_id limit 50`,
  names: 'select * from jobs where experiment_id = $1 and $2::int > 0 order by name, id limit 50',
  standing: 'select state, count(*), min(started_at), max(finished_at) from jobs where experiment_id = $1 and $2::int > 0 group by state',
};

async function naiveMs({ server: { pool }, id, jobCount }: Size, kind: Kind): Promise<number> {
  const taken: number[] = [];
  for (let run = 0; run < NAIVE_RUNS; run += 1) {
    const begun = performance.now();
    const { rows } = await pool.query<{ config: Record<string, unknown>; min_value: number }>(NAIVE[kind], [id, jobCount]);
    if (kind === 'group') groupInClient(rows);
    taken.push(performance.now() - begun);
  }
  return rounded(median(taken));
}

function groupInClient(rows: readonly { config: Record<string, unknown>; min_value: number }[]): [string, number][] {
  const members = new Map<string, number[]>();
  for (const { config: { seed: _, ...rest }, min_value } of rows) {
    const key = JSON.stringify(rest);
    members.set(key, [...members.get(key) ?? [], min_value]);
  }
  return [...members].map(([key, values]): [string, number] => [key, values.reduce((sum, value) => sum + value, 0) / values.length]).sort(([, a], [, b]) => a - b).slice(0, 20);
}

async function record({ server: { client }, jobIds }: Size, index: number, value: number): Promise<string> {
  const jobId = jobIds[(index * 7919) % jobIds.length]!;
  const { recordMetrics: { userErrors } } = await client.request<{ recordMetrics: { userErrors: { message: string }[] } }>(RECORD, { input: { jobId, series: [{ key: 'val/loss', steps: [1000 + index], values: [value] }] } });
  if (userErrors.length > 0) throw new Error(userErrors[0]?.message);
  return jobId;
}

async function measure(size: Size, kind: Kind, requests: readonly Request[]): Promise<Figures> {
  const { client } = size.server;
  const ask = async ({ query, variables }: Request): Promise<number> => {
    const begun = performance.now();
    await client.request(query, variables);
    return performance.now() - begun;
  };
  const first: number[] = [];
  for (const request of requests) first.push(await ask(request));
  const taken: number[] = [];
  for (let index = 0; index < PASSES * requests.length; index += 1) {
    await record(size, index, 5);
    taken.push(await ask(requests[index % requests.length]!));
  }
  const p95 = [...taken].sort((a, b) => a - b)[Math.ceil(taken.length * 0.95) - 1]!;
  const figures = { firstMs: rounded(first[0]!), p95Ms: rounded(p95), medianMs: rounded(median(taken)), naiveMs: await naiveMs(size, kind) };
  console.log(`${String(size.jobCount).padStart(6)} jobs, ${kind.padEnd(8)}: 95 % of ${requests.length} different requests within ${figures.p95Ms} ms, median ${figures.medianMs} ms; the very first ${figures.firstMs} ms; naive ${figures.naiveMs} ms`);
  return figures;
}

/** What was written must be there at once. */
async function checkFreshness(size: Size): Promise<void> {
  const jobId = await record(size, 3, -1);
  const { experiment: { leaderboard: [best] } } = await size.server.client.request<{ experiment: { leaderboard: { job: { id: string } }[] } }>(BOARD, { name: size.name });
  if (best?.job.id !== jobId) throw new Error('the value that was just written is not on the leaderboard');
}

async function measureSize(server: MetricServer, jobCount: number): Promise<Record<Kind, Figures>> {
  const name = `board of ${jobCount}`;
  const jobIds = await fillExperiment(server, name, jobCount);
  const { rows: [experiment] } = await server.pool.query<{ id: string }>('select id from experiments where name = $1', [name]);
  const size = { server, name, id: experiment!.id, jobCount, jobIds };
  const figures = {
    page: await measure(size, 'page', await pages(size)), filter: await measure(size, 'filter', filters(size)),
    sort: await measure(size, 'sort', await sorts(size)), group: await measure(size, 'group', groups(size)),
    results: await measure(size, 'results', await results(size)), names: await measure(size, 'names', names(size)), standing: await measure(size, 'standing', standing(size)),
  };
  await checkFreshness(size);
  return figures;
}

export async function benchLeaderboard(): Promise<BenchResult> {
  const { values } = parseArgs({ args: process.argv.slice(3), options: { jobs: { type: 'string', default: '100000' } } });
  const jobCount = Number(values.jobs);
  if (jobCount % (10 * JOB_COUNT_UNIT) !== 0) throw new Error(`--jobs is a multiple of ${10 * JOB_COUNT_UNIT}`);
  return withMetricServer(async (server) => {
    const small = await measureSize(server, jobCount / 10);
    const large = await measureSize(server, jobCount);
    const kinds = Object.keys(large) as Kind[];
    const growth = Object.fromEntries(kinds.map((kind) => [kind, rounded(large[kind].p95Ms / small[kind].p95Ms)]));
    return {
      goal: `of ${jobCount} jobs each of ${GOAL_KINDS.join(', ')} within ${MAX_MS} ms at p95, and at most ${MAX_GROWTH} times what it takes of a tenth of them`,
      ok: GOAL_KINDS.every((kind) => large[kind].p95Ms <= MAX_MS && growth[kind]! <= MAX_GROWTH),
      growth, large, small,
    };
  });
}
