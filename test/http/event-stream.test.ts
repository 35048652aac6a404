import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createToken } from '../../src/actions/create-token.ts';
import { revokeToken } from '../../src/actions/revoke-token.ts';
import { eventually, startHttp } from './support.ts';
import type { TestHttp } from './support.ts';

let http: TestHttp;
beforeAll(async () => { http = await startHttp(); });
afterAll(() => http.stop());

interface Stream {
  response: IncomingMessage;
  request: ClientRequest;
  /** Everything received so far. */
  text: () => string;
  ended: Promise<unknown>;
}

/** POSTs an operation (or GETs it) and reads the raw answer. */
async function open(operation: object, { path = '/graphql/stream', method = 'POST', headers = {} as Record<string, string>, token = http.tokens.writer as string | null } = {}): Promise<Stream> {
  const query = method === 'GET' ? `?${new URLSearchParams(Object.entries(operation).map(([key, value]): [string, string] => [key, typeof value === 'string' ? value : JSON.stringify(value)]))}` : '';
  const sent = request(http.url + path + query, {
    method, headers: { ...(token && { authorization: `Bearer ${token}` }), ...(method === 'POST' && { 'content-type': 'application/json' }), ...headers },
  });
  sent.end(method === 'POST' ? JSON.stringify(operation) : undefined);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  let text = '';
  response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; });
  const ended = once(response, 'close').catch(() => {});
  response.on('error', () => {});
  sent.on('error', () => {});
  return { response, request: sent, text: () => text, ended };
}

/** The events of a stream, without the comments that keep it alive. */
function eventsOf(text: string): { event: string; data: unknown }[] {
  return text.split('\n\n').filter((block) => block.startsWith('event:')).map((block) => {
    const [, event = '', data = ''] = /^event: (\w+)\ndata: ?(.*)$/s.exec(block) ?? [];
    return { event, data: data === '' ? null : JSON.parse(data) };
  });
}

async function answered(stream: Stream): Promise<{ event: string; data: unknown }[]> {
  await stream.ended;
  return eventsOf(stream.text());
}

const complete = { event: 'complete', data: null };

describe('a stream', () => {
  it.each([
    ['POST /graphql/stream', {}], ['GET /graphql/stream', { method: 'GET' }],
    ['POST /graphql with accept: text/event-stream', { path: '/graphql', headers: { accept: 'text/event-stream' } }],
    ['GET /graphql with accept: text/event-stream', { path: '/graphql', method: 'GET', headers: { accept: 'text/event-stream' } }],
  ])('by %s carries every result and ends', async (_name, how) => {
    const stream = await open({ query: 'subscription($n: Int) { ticks(count: $n) }', variables: { n: 3 } }, how);
    expect(stream.response.statusCode).toBe(200);
    expect(stream.response.headers).toMatchObject({ 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache', 'x-request-id': expect.any(String) });
    expect(await answered(stream)).toEqual([...[0, 1, 2].map((tick) => ({ event: 'next', data: { data: { ticks: tick } } })), complete]);
  });

  it('carries the single result of a query or a mutation', async () => {
    expect(await answered(await open({ query: '{ whoami }' }))).toEqual([{ event: 'next', data: { data: { whoami: 'writer' } } }, complete]);
    expect(await answered(await open({ query: 'mutation { set(value: 2) }' }))).toEqual([{ event: 'next', data: { data: { set: 2 } } }, complete]);
  });

  it('shows each result as it comes', async () => {
    const started = once(http.signals, 'started');
    const stream = await open({ query: 'subscription { told }' });
    await started;
    for (const value of [5, 6]) {
      http.signals.emit('tick', value);
      await eventually(() => stream.text().includes(`{"told":${value}}`), `result ${value}`);
    }
    const ended = once(http.signals, 'ended');
    stream.request.destroy();
    await ended;
  });

  it('waits for a slow reader instead of filling the memory', async () => {
    const stream = await open({ query: 'subscription { ticks }' });
    stream.response.pause();
    let before = -1;
    await expect.poll(() => {
      const stopped = http.signals.produced === before;
      before = http.signals.produced;
      return stopped;
    }, { timeout: 30_000, interval: 250 }).toBe(true);
    stream.response.resume();
    await eventually(() => http.signals.produced > before, 'the next result');
    stream.request.destroy();
  });

  it('is readable with curl -N', async () => {
    const curl = spawn('curl', ['-sN', '-H', `Authorization: Bearer ${http.tokens.reader}`, '-H', 'Content-Type: application/json', '-d', '{"query":"subscription { told }"}', `${http.url}/graphql/stream`]);
    await once(http.signals, 'started');
    let text = '';
    curl.stdout.on('data', (chunk: Buffer) => { text += String(chunk); });
    http.signals.emit('tick', 42);
    await eventually(() => text.includes('event: next\ndata: {"data":{"told":42}}\n\n'), 'the event on curl\'s output');
    curl.kill();
  });

  it('is readable with Python\'s standard library', async () => {
    const script = `
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], json.dumps({"query": "subscription { ticks(count: 3) }"}).encode(), {"Authorization": "Bearer " + sys.argv[2], "Content-Type": "application/json"})
for line in urllib.request.urlopen(request):
    if line.startswith(b"data: {"): print(json.loads(line[6:])["data"]["ticks"])
`;
    const { stdout } = await promisify(execFile)('python3', ['-c', script, `${http.url}/graphql/stream`, http.tokens.reader]);
    expect(stdout.trim().split('\n')).toEqual(['0', '1', '2']);
  });
});

describe('a refusal', () => {
  it.each([['without a token', null], ['with a wrong token', 'eg_wrong']])('%s is a 401 in JSON', async (_name, token) => {
    const stream = await open({ query: '{ whoami }' }, { token });
    await stream.ended;
    expect(stream.response.statusCode).toBe(401);
    expect(JSON.parse(stream.text()).errors[0].extensions.code).toBe('UNAUTHENTICATED');
  });

  it.each([
    ['{ nothing }', 'GRAPHQL_VALIDATION_FAILED'], ['{ whoami', 'GRAPHQL_PARSE_FAILED'], [`{ ${'node { '.repeat(20)} number ${'} '.repeat(20)} }`, 'LIMIT_EXCEEDED'],
  ])('of an operation is an event: %s', async (query, code) => {
    const events = await answered(await open({ query }));
    expect(events).toEqual([{ event: 'next', data: { errors: [expect.objectContaining({ extensions: expect.objectContaining({ code }) })] } }, complete]);
  });

  it('of a mutation: over GET, and to a token without the write scope', async () => {
    const byGet = await open({ query: 'mutation { set(value: 1) }' }, { method: 'GET' });
    expect(byGet.response.statusCode).toBe(405);
    const events = await answered(await open({ query: 'mutation { set(value: 1) }' }, { token: http.tokens.reader }));
    expect(events[0]?.data).toMatchObject({ errors: [{ extensions: { code: 'FORBIDDEN' } }] });
  });

  it('of a body that is no operation, or holds a number that would not survive, is a 400 in JSON', async () => {
    const empty = await open({});
    await empty.ended;
    expect([empty.response.statusCode, JSON.parse(empty.text())]).toEqual([400, { errors: [{ message: 'Missing query' }] }]);
    const inexact = await fetch(`${http.url}/graphql/stream`, {
      method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${http.tokens.writer}` },
      body: '{"query":"query($v:JSON){echo(value:$v)}","variables":{"v":1e999}}',
    });
    expect([inexact.status, await inexact.text()]).toEqual([400, expect.stringContaining('1e999')]);
  });

  it('by a fault of ours is masked, also in the middle of a stream', async () => {
    const events = await answered(await open({ query: 'subscription { broken }' }));
    expect(events[0]).toEqual({ event: 'next', data: { data: { broken: 1 } } });
    expect(JSON.stringify(events)).not.toContain('secret');
    expect(events.at(-2)?.data).toMatchObject({ errors: [{ message: 'Internal server error' }] });
    expect(events.at(-1)).toEqual(complete);
  });

  it('comes with a coded error and the cursor to go on from, when the database is away for an event', async () => {
    const events = await answered(await open({ query: 'subscription { away }' }));
    expect(events).toEqual([
      { event: 'next', data: { data: { away: 0 } } }, { event: 'next', data: { data: { away: 1 } } },
      { event: 'next', data: { errors: [expect.objectContaining({ message: expect.stringContaining('subscribe again with after: "42"'), extensions: expect.objectContaining({ code: 'DATABASE_UNAVAILABLE' }) })] } },
      complete,
    ]);
  });

  it('comes soon after the token was revoked', async () => {
    const { token } = await createToken(http, { name: 'leaver', scopes: ['read'] });
    const stream = await open({ query: 'subscription { told }' }, { token });
    await revokeToken(http, { name: 'leaver' });
    const events = await answered(stream);
    expect(events).toEqual([{ event: 'next', data: { errors: [{ message: 'the token was revoked', extensions: { code: 'UNAUTHENTICATED' } }] } }, complete]);
  });
});
