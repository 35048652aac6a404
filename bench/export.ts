/**
 * A million points into a pandas DataFrame, by the Arrow export and by pages of GraphQL JSON, each in a Python process that has loaded its
 * libraries before; and the memory of the server while it exports them, and ten times as many (`--points N` sets the latter).
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { parseArgs, promisify } from 'node:util';
import { pythonEnvironment } from '../test/support/python-environment.ts';
import { columnLines, heldJobs, withMetricServer, type MetricServer } from './metric-server.ts';
import { median, rounded, type BenchResult } from './result.ts';

const run = promisify(execFile);
const PACKAGES = ['pandas==3.1.1', 'pyarrow==26.0.1'];
const JOBS = 100;
const RUNS = 3;
const MIN_FACTOR = 10;
/** A tenth of what the longer file is larger by: what two measurements of the same differ by. */
const MAX_GROWTH_MIB = 32;
const MEMORY_LOOK_MS = 20;
const EXPERIMENT_OF = 'query ($id: ID!) { job(id: $id) { experiment { id } } }';

/** Called with the way, the address, the token and the id of the experiment; prints the seconds, and what came. */
const READER = `
import io, json, sys, time, urllib.request
import pandas, pyarrow.ipc
way, url, token, experiment = sys.argv[1:]
def ask(path, body=None):
    headers = {"authorization": "Bearer " + token, "content-type": "application/json"}
    return urllib.request.urlopen(urllib.request.Request(url + path, None if body is None else json.dumps(body).encode(), headers))
def by_arrow():
    with ask(f"/export/experiment/{experiment}/metrics.arrow") as answer:
        return pyarrow.ipc.open_stream(answer).read_pandas()
QUERY = """query ($ids: [ID!], $after: String) { jobs(filter: {experimentIds: $ids}, first: 10, after: $after) {
  nodes { id metrics(maxPoints: 10000) { key steps times values } } pageInfo { endCursor hasNextPage } } }"""
def by_graphql():
    parts, after = [], None
    while True:
        page = json.load(ask("/graphql", {"query": QUERY, "variables": {"ids": [experiment], "after": after}}))["data"]["jobs"]
        for job in page["nodes"]:
            for series in job["metrics"]:
                parts.append(pandas.DataFrame({"job_id": job["id"], "key": series["key"], "step": series["steps"], "time": series["times"], "value": series["values"]}))
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    frame = pandas.concat(parts, ignore_index=True)
    frame["time"] = pandas.to_datetime(frame["time"], utc=True, format="ISO8601")
    return frame
begun = time.perf_counter()
frame = {"arrow": by_arrow, "graphql": by_graphql}[way]()
print(json.dumps([time.perf_counter() - begun, len(frame), frame.value.sum(), str(frame.time.max())]))`;

async function fill({ client, ingest }: MetricServer, name: string, points: number): Promise<string> {
  const ids = await heldJobs(client, name, JOBS);
  const begun = performance.now();
  await ingest(columnLines(ids, ['loss'], points / JOBS), 'application/x-ndjson');
  console.log(`${JOBS} series of ${points / JOBS} points: in after ${rounded((performance.now() - begun) / 1000)} s`);
  return (await client.request<{ job: { experiment: { id: string } } }>(EXPERIMENT_OF, { id: ids[0] })).job.experiment.id;
}

/** The median of some runs, and what came each time, which is the same. */
async function secondsOf(python: string, way: string, { url, token }: MetricServer, experiment: string): Promise<{ seconds: number; came: string }> {
  const seconds: number[] = [];
  let came = '';
  for (let round = 0; round < RUNS; round += 1) {
    const { stdout } = await run(python, ['-c', READER, way, url, token, experiment]);
    const [taken, count, sum, last] = JSON.parse(stdout) as [number, number, number, string];
    seconds.push(taken);
    came = `${count} points, the last of ${last}, adding up to ${sum.toPrecision(9)}`;
  }
  console.log(`${way}: ${rounded(median(seconds))} s (${came})`);
  return { seconds: rounded(median(seconds)), came };
}

/** The most memory that the server takes during an export, read and thrown away. */
async function peakMemoryMib({ url, token, pid }: MetricServer, experiment: string): Promise<number> {
  let peakKib = 0;
  const look = async (): Promise<void> => {
    peakKib = Math.max(peakKib, Number(/^VmRSS:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]));
  };
  const looks = setInterval(() => void look(), MEMORY_LOOK_MS);
  const response = await fetch(`${url}/export/experiment/${experiment}/metrics.arrow`, { headers: { authorization: `Bearer ${token}` } });
  let bytes = 0;
  for await (const piece of response.body!) bytes += piece.length;
  clearInterval(looks);
  await look();
  console.log(`${rounded(bytes / 2 ** 20)} MiB exported: the server took ${rounded(peakKib / 1024)} MiB`);
  return peakKib / 1024;
}

export async function benchExport(): Promise<BenchResult> {
  const { values } = parseArgs({ args: process.argv.slice(3), options: { points: { type: 'string', default: '10000000' } } });
  const longPoints = Number(values.points);
  const environment = await pythonEnvironment('export-bench', PACKAGES);
  if (environment.bin === null) throw new Error(environment.unavailable);
  const python = `${environment.bin}/python`;
  return withMetricServer(async (server) => {
    const experiment = await fill(server, 'short', longPoints / 10);
    const graphql = await secondsOf(python, 'graphql', server, experiment);
    const arrow = await secondsOf(python, 'arrow', server, experiment);
    if (graphql.came !== arrow.came) throw new Error('the two ways brought different points');
    const long = await fill(server, 'long', longPoints);
    await peakMemoryMib(server, experiment);
    const [shortMib, longMib] = [await peakMemoryMib(server, experiment), await peakMemoryMib(server, long)];
    const factor = rounded(graphql.seconds / arrow.seconds);
    return {
      goal: `${longPoints / 10} points into pandas at least ${MIN_FACTOR} times as fast as by pages of GraphQL; the memory of the server at most ${MAX_GROWTH_MIB} MiB more for ten times as many`,
      ok: factor >= MIN_FACTOR && longMib - shortMib <= MAX_GROWTH_MIB,
      arrowSeconds: arrow.seconds, graphqlSeconds: graphql.seconds, factor, memoryMib: [rounded(shortMib), rounded(longMib)],
    };
  });
}
