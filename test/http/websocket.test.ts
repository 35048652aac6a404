import { once } from 'node:events';
import { CloseCode, createClient } from 'graphql-ws';
import type { Client, ClientOptions } from 'graphql-ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { createToken } from '../../src/actions/create-token.ts';
import { revokeToken } from '../../src/actions/revoke-token.ts';
import { MAX_OPERATIONS_PER_SOCKET } from '../../src/http/websocket.ts';
import { eventually, startHttp } from './support.ts';
import type { TestHttp } from './support.ts';

let http: TestHttp;
const clients: Client[] = [];
beforeAll(async () => { http = await startHttp(); });
afterAll(async () => {
  for (const client of clients) await client.dispose();
  await http.stop();
});

const PROTOCOL = 'graphql-transport-ws';

function connect(connectionParams: ClientOptions['connectionParams'], path = '/graphql'): Client {
  const client = createClient({ url: http.url.replace('http', 'ws') + path, webSocketImpl: WebSocket, connectionParams, retryAttempts: 0 });
  clients.push(client);
  return client;
}

const asWriter = (path?: string) => connect({ token: http.tokens.writer }, path);

async function answersOf(client: Client, query: string, variables?: Record<string, unknown>): Promise<unknown[]> {
  const answers = [];
  for await (const answer of client.iterate({ query, variables })) answers.push(answer);
  return answers;
}

/** The HTTP status of a refused upgrade, or 101. */
function upgrade(headers: Record<string, string>, path = '/graphql'): Promise<{ status: number; body: string; socket: WebSocket }> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(http.url.replace('http', 'ws') + path, PROTOCOL, { headers });
    socket.on('open', () => resolve({ status: 101, body: '', socket }));
    socket.on('error', reject);
    socket.on('unexpected-response', (_request, response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => { body += String(chunk); });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body, socket }));
    });
  });
}

/** A socket that is spoken to by hand. */
async function talk(headers: Record<string, string> = {}) {
  const { socket } = await upgrade(headers);
  const received: any[] = [];
  socket.on('message', (data) => received.push(JSON.parse(String(data))));
  const closed = once(socket, 'close').then(([code, reason]) => ({ code: code as number, reason: String(reason) }));
  const send = (message: unknown) => socket.send(typeof message === 'string' ? message : JSON.stringify(message));
  return { socket, received, closed, send };
}

describe('operations', () => {
  it.each(['/graphql', '/ws'])('of every type are served at %s', async (path) => {
    const client = asWriter(path);
    expect(await answersOf(client, '{ whoami }')).toEqual([{ data: { whoami: 'writer' } }]);
    expect(await answersOf(client, 'mutation { set(value: 3) }')).toEqual([{ data: { set: 3 } }]);
    expect(await answersOf(client, 'subscription { ticks(count: 3) }')).toEqual([0, 1, 2].map((tick) => ({ data: { ticks: tick } })));
  });

  it.each([
    ['{ nothing }', /Cannot query field/], ['{ whoami', /Syntax Error/],
    [`{ ${'node { '.repeat(20)} number ${'} '.repeat(20)} }`, /15/],
  ])('that may not run end with an error: %s', async (query, words) => {
    await expect(answersOf(asWriter(), query)).rejects.toMatchObject([{ message: expect.stringMatching(words) }]);
  });

  it('a token without the write scope cannot run mutations', async () => {
    const client = connect({ token: http.tokens.reader });
    await expect(answersOf(client, 'mutation { set(value: 1) }')).rejects.toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
    expect(await answersOf(client, 'subscription { ticks(count: 1) }')).toHaveLength(1);
  });

  it('faults of ours are masked, also in the middle of a subscription', async () => {
    expect(await answersOf(asWriter(), '{ bug }')).toMatchObject([{ errors: [{ message: 'Internal server error' }] }]);
    const iterator = asWriter().iterate({ query: 'subscription { broken }' });
    await iterator.next();
    await expect(iterator.next()).rejects.toMatchObject([{ message: 'Internal server error' }]);
  });

  it('end with a coded error and the cursor to go on from, when the database is away for an event', async () => {
    const iterator = asWriter().iterate({ query: 'subscription { away }' });
    expect([await iterator.next(), await iterator.next()]).toMatchObject([{ value: { data: { away: 0 } } }, { value: { data: { away: 1 } } }]);
    const failure: unknown = await iterator.next().catch((error: unknown) => error);
    expect(failure).toMatchObject([{ message: expect.stringContaining('subscribe again with after: "42"'), extensions: { code: 'DATABASE_UNAVAILABLE' } }]);
    expect(JSON.stringify(failure)).not.toContain('10.0.0.7');
  });

  it('stop when the client unsubscribes, and when it goes away', async () => {
    const subscribed = async () => {
      const client = asWriter();
      const started = once(http.signals, 'started');
      const iterator = client.iterate({ query: 'subscription { told }' });
      const first = iterator.next();
      await started;
      http.signals.emit('tick', 1);
      expect(await first).toMatchObject({ value: { data: { told: 1 } } });
      return { client, iterator };
    };
    const one = await subscribed();
    const ended = once(http.signals, 'ended');
    await one.iterator.return?.();
    await ended;
    const other = await subscribed();
    const gone = once(http.signals, 'ended');
    other.client.terminate();
    other.iterator.next().catch(() => {});
    await gone;
  });

  it('are bounded in number on one socket', async () => {
    const { send, received, socket } = await talk({ authorization: `Bearer ${http.tokens.writer}` });
    send({ type: 'connection_init' });
    await eventually(() => received.length === 1, 'the acknowledgement');
    for (let id = 0; id <= MAX_OPERATIONS_PER_SOCKET; id += 1) send({ id: String(id), type: 'subscribe', payload: { query: 'subscription { told }' } });
    await eventually(() => received.length === 2, 'the refusal');
    expect(received[1]).toMatchObject({ id: String(MAX_OPERATIONS_PER_SOCKET), type: 'error', payload: [{ extensions: { code: 'LIMIT_EXCEEDED' } }] });
    socket.close();
  });

  it('with a number that would not survive are refused by name, and the connection stays', async () => {
    const { send, received, socket } = await talk({ authorization: `Bearer ${http.tokens.writer}` });
    send({ type: 'connection_init' });
    await eventually(() => received.length === 1, 'the acknowledgement');
    send('{"id":"1","type":"subscribe","payload":{"query":"query($v:JSON){echo(value:$v)}","variables":{"v":1e-400}}}');
    send('{"id":"2","type":"subscribe","payload":{"query":"query($v:JSON){echo(value:$v)}","variables":{"v":0.1000000000000000055}}}');
    await eventually(() => received.length === 4, 'both answers');
    expect(received[1]).toMatchObject({ id: '1', type: 'error', payload: [{ message: expect.stringContaining('1e-400'), extensions: { code: 'BAD_USER_INPUT' } }] });
    expect(received.slice(2)).toEqual([{ id: '2', type: 'next', payload: { data: { echo: 0.1 } } }, { id: '2', type: 'complete' }]);
    socket.close();
  });

  it('nested too deeply for the stack are refused by themselves, and the connection stays', async () => {
    const { send, received, socket } = await talk({ authorization: `Bearer ${http.tokens.writer}` });
    send({ type: 'connection_init' });
    await eventually(() => received.length === 1, 'the acknowledgement');
    const deep = (inside: string) => `${'['.repeat(4_900)}${inside}${']'.repeat(4_900)}`;
    send({ id: '1', type: 'subscribe', payload: { query: `{ echo(value: ${deep('1')}) }` } });
    send(`{"id":"2","type":"subscribe","payload":{"query":"query($v:JSON){echo(value:$v)}","variables":{"v":${deep('1e400')}}}}`);
    send({ id: '3', type: 'subscribe', payload: { query: '{ whoami }' } });
    await eventually(() => received.length === 5, 'all answers');
    const refused = [{ message: 'the request is nested too deeply to be read', extensions: { code: 'LIMIT_EXCEEDED' } }];
    expect(received.find(({ id }) => id === '1')).toMatchObject({ type: 'error', payload: refused });
    expect(received.find(({ id, type }) => id === '2' && type === 'error')).toBeDefined();
    expect(received.find(({ id, type }) => id === '3' && type === 'next')).toMatchObject({ payload: { data: { whoami: 'writer' } } });
    socket.close();
  });
});

describe('authentication', () => {
  it.each([
    ['token', () => ({ token: http.tokens.reader })], ['authorization', () => ({ authorization: `Bearer ${http.tokens.reader}` })],
    ['Authorization', () => ({ Authorization: `Bearer ${http.tokens.reader}` })],
  ])('takes %s in connection_init', async (_name, params) => {
    expect(await answersOf(connect(params()), '{ whoami }')).toEqual([{ data: { whoami: 'reader' } }]);
  });

  it('takes the header of the upgrade', async () => {
    const { send, received, socket } = await talk({ authorization: `Bearer ${http.tokens.reader}` });
    send({ type: 'connection_init' });
    await eventually(() => received.length === 1, 'the acknowledgement');
    send({ id: '1', type: 'subscribe', payload: { query: '{ whoami }' } });
    await eventually(() => received.length === 3, 'the answer');
    expect(received).toEqual([{ type: 'connection_ack' }, { id: '1', type: 'next', payload: { data: { whoami: 'reader' } } }, { id: '1', type: 'complete' }]);
    socket.close();
  });

  it('a wrong token in the header is refused before the upgrade', async () => {
    const { status, body } = await upgrade({ authorization: 'Bearer eg_wrong' });
    expect(status).toBe(401);
    expect(JSON.parse(body)).toMatchObject({ errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] });
  });

  it('closes with 4401 without a token, saying how to send one, and with 4403 for a wrong one', async () => {
    const none = await talk();
    none.send({ type: 'connection_init' });
    expect(await none.closed).toEqual({ code: CloseCode.Unauthorized, reason: 'Unauthorized: send "Authorization: Bearer <token>", or {"token": "<token>"} in connection_init' });
    const wrong = await talk();
    wrong.send({ type: 'connection_init', payload: { token: 'eg_wrong' } });
    expect(await wrong.closed).toEqual({ code: CloseCode.Forbidden, reason: 'Forbidden: the token is not known or was revoked' });
    const early = await talk();
    early.send({ id: '1', type: 'subscribe', payload: { query: '{ whoami }' } });
    expect((await early.closed).code).toBe(CloseCode.Unauthorized);
    expect([...none.received, ...wrong.received, ...early.received]).toEqual([]);
  });

  it('ends open connections soon after their token was revoked', async () => {
    const { token } = await createToken(http, { name: 'leaver', scopes: ['read'] });
    const { send, closed, received } = await talk({ authorization: `Bearer ${token}` });
    send({ type: 'connection_init' });
    await eventually(() => received.length === 1, 'the acknowledgement');
    send({ id: '1', type: 'subscribe', payload: { query: 'subscription { told }' } });
    await revokeToken(http, { name: 'leaver' });
    expect(await closed).toEqual({ code: CloseCode.Forbidden, reason: expect.stringContaining('revoked') });
  });
});

describe('the upgrade', () => {
  it('is taken from our own pages, allowed origins and programs, and refused to other pages', async () => {
    const { host } = new URL(http.url);
    for (const headers of [{}, { origin: http.url }, { origin: 'https://lab.example.org' }] as Record<string, string>[]) {
      const { status, socket } = await upgrade(headers);
      expect([headers, status]).toEqual([headers, 101]);
      socket.close();
    }
    for (const origin of ['https://evil.example', `http://${host}.evil.example`, 'null', 'http://127.0.0.1:1']) {
      const { status, body } = await upgrade({ origin, authorization: `Bearer ${http.tokens.writer}` });
      expect([origin, status]).toEqual([origin, 403]);
      expect(body).toContain('server.allowedOrigins');
    }
  });

  it('is refused elsewhere', async () => {
    expect((await upgrade({}, '/other')).status).toBe(404);
  });
});

describe('the protocol', () => {
  it.each([
    ['not JSON', '{', CloseCode.BadRequest], ['an unknown type', { type: 'x' }, CloseCode.BadRequest],
    ['a second connection_init', { type: 'connection_init' }, CloseCode.TooManyInitialisationRequests],
  ])('%s closes the connection with its code', async (_name, message, code) => {
    const { send, closed } = await talk({ authorization: `Bearer ${http.tokens.writer}` });
    send({ type: 'connection_init' });
    send(message);
    expect((await closed).code).toBe(code);
  });

  it('a message above the limit closes the connection', async () => {
    const { send, closed } = await talk({ authorization: `Bearer ${http.tokens.writer}` });
    send({ type: 'connection_init', payload: { filler: 'x'.repeat(100_000) } });
    expect((await closed).code).toBe(1009);
  });
});
