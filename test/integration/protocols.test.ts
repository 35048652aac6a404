/** The whole server, spoken to by what other people wrote: the specification's audits, curl and plain Python. */
import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { serverAudits } from 'graphql-http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestClient } from '../support/graphql-client.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const run = promisify(execFile);
const SUBMIT = `mutation ($input: SubmitJobInput!) { submitJob(input: $input) { job { id } userErrors { message } } }`;
const SUBSCRIBE = 'subscription ($id: ID!) { jobEvents(filter: { jobIds: [$id], kinds: [JOB_STATE_CHANGED] }, after: "0") { cursor toState } }';
const STATES = ['QUEUED', 'SUBMITTING', 'PENDING', 'RUNNING', 'COMPLETED'];

/** Standard library only: what a notebook without our client can do. */
const PYTHON = `
import json, sys, urllib.request
url, token, query, variables = sys.argv[1:]
request = urllib.request.Request(url + "/stream", json.dumps({"query": query, "variables": json.loads(variables)}).encode(), {
    "authorization": "Bearer " + token, "content-type": "application/json", "accept": "text/event-stream"})
with urllib.request.urlopen(request, timeout=30) as stream:
    for line in stream:
        if line.startswith(b"data: "):
            event = json.loads(line[6:])["data"]["jobEvents"]
            print(event["toState"], flush=True)
            if event["toState"] == "COMPLETED":
                break
`;

let server: TestServer;
let jobId: string;
beforeAll(async () => {
  server = await startTestServer();
  const { submitJob } = await server.client.request(SUBMIT, { input: { project: 'tests', experiment: 'protocols', command: ['true'], config: {} } });
  expect(submitJob.userErrors).toEqual([]);
  jobId = submitJob.job.id;
});
afterAll(() => server?.stop());

describe('the audits of GraphQL over HTTP on the real schema', () => {
  for (const audit of serverAudits({
    url: () => server.url,
    fetchFn: (url: string, init: RequestInit = {}) => fetch(url, { ...init, headers: { ...(init.headers as Record<string, string>), authorization: `Bearer ${server.token}` } }),
  })) {
    test(`${audit.id} ${audit.name}`, async () => {
      const result = await audit.fn();
      if (result.status === 'error') throw new Error(result.reason);
    });
  }
});

test('plain Python follows a job to its end over Server-Sent Events', async () => {
  const { stdout } = await run('python3', ['-c', PYTHON, server.url, server.token, SUBSCRIBE, JSON.stringify({ id: jobId })], { timeout: 30_000 });
  expect(stdout.trim().split('\n')).toEqual(STATES);
});

test('curl -N shows events as they come', async () => {
  const body = JSON.stringify({ query: SUBSCRIBE, variables: { id: jobId } });
  const headers = [`authorization: Bearer ${server.token}`, 'content-type: application/json', 'accept: text/event-stream'];
  const curl = spawn('curl', ['-sN', `${server.url}/stream`, ...headers.flatMap((header) => ['-H', header]), '-d', body, '--max-time', '25']);
  const states: string[] = [];
  for await (const line of createInterface({ input: curl.stdout })) {
    if (!line.startsWith('data: ')) continue;
    states.push(JSON.parse(line.slice('data: '.length)).data.jobEvents.toState);
    if (states.at(-1) === 'COMPLETED') curl.kill();
  }
  expect(states).toEqual(STATES);
});

test('a token that is made reads and cannot write, and is listed until it is revoked', async () => {
  const { createToken } = await server.client.request('mutation { createToken(input: { name: "notebook", scopes: [READ] }) { token userErrors { message } } }');
  expect(createToken.userErrors).toEqual([]);
  const notebook = openTestClient(server.url, createToken.token);
  expect((await notebook.request('{ tokens { name scopes lastUsedAt } }')).tokens).toEqual([
    { name: 'admin', scopes: ['READ', 'WRITE'], lastUsedAt: expect.any(String) }, { name: 'notebook', scopes: ['READ'], lastUsedAt: expect.any(String) },
  ]);
  await expect(notebook.request('mutation { revokeToken(input: { name: "admin" }) { name } }')).rejects.toThrow(/write/);
  expect((await server.client.request('mutation { revokeToken(input: { name: "notebook" }) { name userErrors { message } } }')).revokeToken).toEqual({ name: 'notebook', userErrors: [] });
  expect((await server.client.request('{ tokens { name } }')).tokens).toEqual([{ name: 'admin' }]);
  await notebook.close();
});
