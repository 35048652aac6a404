/**
 * A chart of 1,000 points of one series of 10^4, 10^6 and 10^7 points (`--points N` sets the last), and of 500 series at once: the time of the query, asked as
 * a notebook asks it, over HTTP. The baseline in the same run is the points of the longest series read and thinned out as one writes it at first.
 */
import { parseArgs } from 'node:util';
import type { GraphqlClient } from '../src/cli/graphql-client.ts';
import { columnLines, heldJobs, withMetricServer, type MetricServer } from './metric-server.ts';
import { median, rounded, type BenchResult } from './result.ts';

const POINTS_SHOWN = 1000;
const ASKED = 15;
const MAX_MS = 50;
const MAX_GROWTH = 2;
const SERIES_AT_ONCE = 500;
const POINTS_OF_EACH = 200;

const ONE = 'query ($id: ID!, $n: Int!) { job(id: $id) { metrics(keys: ["loss"], maxPoints: $n) { sampled steps values } } }';
const MANY = 'query ($id: [ID!], $n: Int!) { experiments(filter: { ids: $id }) { nodes { metrics(keys: ["loss"], maxPoints: $n) { steps values } } } }';
const EXPERIMENT_OF = 'query ($id: ID!) { job(id: $id) { experiment { id } } }';

async function medianMs(ask: () => Promise<unknown>, times = ASKED): Promise<number> {
  await ask();
  const taken: number[] = [];
  for (let round = 0; round < times; round += 1) {
    const begun = performance.now();
    await ask();
    taken.push(performance.now() - begun);
  }
  return rounded(median(taken));
}

async function fill({ ingest, client }: MetricServer, experiment: string, jobs: number, points: number): Promise<string[]> {
  const ids = await heldJobs(client, experiment, jobs);
  const begun = performance.now();
  await ingest(columnLines(ids, ['loss'], points), 'application/x-ndjson');
  console.log(`${jobs} series of ${points} points: in after ${rounded((performance.now() - begun) / 1000)} s`);
  return ids;
}

async function oneSeries(server: MetricServer, points: number): Promise<{ points: number; milliseconds: number; naiveMilliseconds: number }> {
  const { client, pool } = server;
  const [id] = await fill(server, `one of ${points}`, 1, points);
  const milliseconds = await medianMs(() => client.request(ONE, { id, n: POINTS_SHOWN }));
  const naiveMilliseconds = await medianMs(async () => {
    const { rows } = await pool.query<{ step: string; value: number }>('select step, value from metric_points where job_id = $1 and series_number = 1 order by step', [id]);
    return rows.filter((_, index) => index % Math.ceil(rows.length / POINTS_SHOWN) === 0);
  }, points > 1_000_000 ? 1 : 3);
  console.log(`a chart of it: ${milliseconds} ms; its points read and thinned out: ${naiveMilliseconds} ms`);
  return { points, milliseconds, naiveMilliseconds };
}

async function manySeries(server: MetricServer, points: number): Promise<number> {
  const ids = await fill(server, `many of ${points}`, SERIES_AT_ONCE, points);
  const experiment = (await server.client.request<{ job: { experiment: { id: string } } }>(EXPERIMENT_OF, { id: ids[0] })).job.experiment.id;
  const milliseconds = await medianMs(() => charts(server.client, experiment), 5);
  console.log(`a chart of all ${SERIES_AT_ONCE} at once, ${POINTS_OF_EACH} points each: ${milliseconds} ms`);
  return milliseconds;
}

async function charts(client: GraphqlClient, experiment: string): Promise<void> {
  const { experiments: { nodes } } = await client.request<{ experiments: { nodes: { metrics: { steps: number[] }[] }[] } }>(MANY, { id: [experiment], n: POINTS_OF_EACH });
  if (nodes[0]?.metrics.length !== SERIES_AT_ONCE) throw new Error(`${nodes[0]?.metrics.length} series came in place of ${SERIES_AT_ONCE}`);
}

export async function benchChart(): Promise<BenchResult> {
  const { values } = parseArgs({ args: process.argv.slice(3), options: { points: { type: 'string', default: '10000000' } } });
  const longest = Number(values.points);
  return withMetricServer(async (server) => {
    const single = [];
    for (const points of [longest / 1000, longest / 10, longest]) single.push(await oneSeries(server, points));
    const manyShort = await manySeries(server, longest / 10_000);
    const manyLong = await manySeries(server, longest / 1000);
    const growth = rounded(single[2]!.milliseconds / single[0]!.milliseconds);
    return {
      goal: `a chart of ${POINTS_SHOWN} points of any series within ${MAX_MS} ms, of the longest at most ${MAX_GROWTH} times that of one a thousandth as long`,
      ok: growth <= MAX_GROWTH && single.every(({ milliseconds }) => milliseconds <= MAX_MS),
      single, growth, many: { series: SERIES_AT_ONCE, points: [longest / 10_000, longest / 1000], milliseconds: [manyShort, manyLong] },
    };
  });
}
