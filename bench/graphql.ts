/**
 * Requests a second of `job(id)` and of a page of 100 finished jobs with their results, against a second Apollo server on
 * the same stack that answers the same bytes from a constant: what the database, the loaders and the checks cost.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import type { GraphqlClient } from '../src/cli/graphql-client.ts';
import { rounded } from './result.ts';
import type { BenchResult } from './result.ts';
import { REPOSITORY, withFolder, withServer } from './server.ts';

const JOBS = 100;
const CONNECTIONS = 16;
const WARM_UP_MS = 1000;
const MEASURE_MS = 4000;

/** Leaves a result and one metrics line, as a training run would. */
const RUN = `printf '{"step":1,"val/loss":0.%s}\\n' "$1" >> "$EXPGRAPH_METRICS"; printf '{"metrics":{"val/loss":0.%s},"artifacts":{}}' "$1" > "$EXPGRAPH_JOB_DIR/result.json"`;

const SUBMIT = `mutation Submit($input: SubmitSweepInput!) { submitSweep(input: $input) { sweep { id } jobs { jobId } userErrors { message } } }`;
const PROGRESS = `subscription Progress($sweepId: ID!) { sweepProgress(sweepId: $sweepId) { total done } }`;
const ONE = `query One($id: ID!) { job(id: $id) { id name state config tags priority storagePath createdAt finishedAt } }`;
const PAGE = `query Page($filter: JobFilter!) {
  jobs(filter: $filter, first: ${JOBS}) { nodes { id name state config result { metrics finishedAt } } pageInfo { hasNextPage endCursor } }
}`;

interface Operation {
  query: string;
  variables: Record<string, unknown>;
}

/** Runs the jobs for real and answers the two operations to measure. */
async function prepare(client: GraphqlClient): Promise<{ one: Operation; page: Operation }> {
  const input = {
    project: 'bench', experiment: 'graphql', name: 'results', command: ['sh', '-c', RUN, 'run', '{config.index}'],
    space: { grid: [{ key: 'index', values: Array.from({ length: JOBS }, (_, index) => index) }] },
    objective: { metric: 'val/loss', goal: 'MIN' },
  };
  type Payload = { sweep: { id: string } | null; jobs: { jobId: string }[]; userErrors: { message: string }[] };
  const { submitSweep: { sweep, jobs, userErrors } } = await client.request<{ submitSweep: Payload }>(SUBMIT, { input });
  if (sweep === null) throw new Error(userErrors.map(({ message }) => message).join('; '));
  for await (const { sweepProgress: { done, total } } of client.subscribe<{ sweepProgress: { done: number; total: number } }>(PROGRESS, { sweepId: sweep.id })) {
    if (done === total) break;
  }
  return { one: { query: ONE, variables: { id: jobs[0]?.jobId } }, page: { query: PAGE, variables: { filter: { sweepIds: [sweep.id], states: ['COMPLETED'] } } } };
}

interface Target {
  url: string;
  token: string;
}

function post(agent: Agent, { url, token }: Target, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent, method: 'POST', headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), authorization: `Bearer ${token}` } }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (incoming.statusCode === 200 && !text.includes('"errors"')) resolve(text);
        else reject(new Error(`${url} answered ${incoming.statusCode}: ${text.slice(0, 300)}`));
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Requests a second over CONNECTIONS kept-alive connections, each with one request in flight. */
async function requestsPerSecond(target: Target, operation: Operation): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const body = JSON.stringify(operation);
  const during = async (milliseconds: number): Promise<number> => {
    let answered = 0;
    const end = performance.now() + milliseconds;
    await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
      for (; performance.now() < end; answered += 1) await post(agent, target, body);
    }));
    return (answered * 1000) / milliseconds;
  };
  await during(WARM_UP_MS);
  const rate = await during(MEASURE_MS);
  agent.destroy();
  return rate;
}

/** Starts the constant server with what the real one answered; it uses the same schema, so the queries are the same. */
async function withConstantServer<Answer>(data: Record<string, unknown>, use: (url: string) => Promise<Answer>): Promise<Answer> {
  return withFolder(async (folder) => {
    const file = join(folder, 'constant.json');
    await writeFile(file, JSON.stringify(data));
    const child = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'constant-server.ts'), file], { cwd: REPOSITORY, stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const [line] = await once(child.stdout, 'data') as [Buffer];
      return await use(line.toString().trim());
    } finally {
      child.kill();
    }
  });
}

export async function benchGraphql(): Promise<BenchResult> {
  return withServer({ EXPGRAPH_LOG_LEVEL: 'warn' }, async (client, server) => {
    const operations = await prepare(client);
    const answers = { ...await client.request<object>(ONE, operations.one.variables), ...await client.request<object>(PAGE, operations.page.variables) };
    return withConstantServer(answers, async (constantUrl) => {
      const figures: Record<string, { requestsPerSecond: number; constantRequestsPerSecond: number; ratio: number }> = {};
      for (const [name, operation] of Object.entries({ 'job(id)': operations.one, [`jobs(first: ${JOBS}) with results`]: operations.page })) {
        const agent = new Agent();
        const [real, constant] = await Promise.all([server, { url: constantUrl, token: server.token }].map((target) => post(agent, target, JSON.stringify(operation))));
        if (real !== constant) throw new Error(`${name}: the two servers answer differently:\n${real?.slice(0, 300)}\n${constant?.slice(0, 300)}`);
        const ours = await requestsPerSecond(server, operation);
        const theirs = await requestsPerSecond({ url: constantUrl, token: server.token }, operation);
        figures[name] = { requestsPerSecond: rounded(ours), constantRequestsPerSecond: rounded(theirs), ratio: rounded(ours / theirs) };
        console.log(`${name}: ${ours.toFixed(0)} requests/s, a constant ${theirs.toFixed(0)} requests/s: ${(ours / theirs).toFixed(2)} x (${real?.length} bytes, ${CONNECTIONS} connections)`);
      }
      return { goal: 'none: shown against Apollo answering the same bytes from a constant', ok: true, figures };
    });
  });
}
