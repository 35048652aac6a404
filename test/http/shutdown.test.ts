import { once } from 'node:events';
import { createClient } from 'graphql-ws';
import { afterEach, beforeEach, expect, it } from 'vitest';
import WebSocket from 'ws';
import { startHttp } from './support.ts';
import type { TestHttp } from './support.ts';

let http: TestHttp;
/** A drain that has to cut something takes ten seconds. */
const SOON_MS = 2_000;
beforeEach(async () => { http = await startHttp(); });
afterEach(() => http.stop());

it('requests in flight are finished, new ones are refused, and the port is free', async () => {
  const waiting = once(http.signals, 'waiting');
  const answer = http.post({ query: '{ waits }' });
  await waiting;
  const closed = http.close();
  await expect.poll(() => fetch(http.url).then(() => 'answered', () => 'refused')).toBe('refused');
  const begun = Date.now();
  http.signals.emit('go');
  expect((await answer).json).toEqual({ data: { waits: true } });
  await closed;
  expect(Date.now() - begun).toBeLessThan(SOON_MS);
});

it('a WebSocket is closed with 1001 and its subscriptions end', async () => {
  const client = createClient({ url: http.graphqlUrl.replace('http', 'ws'), webSocketImpl: WebSocket, connectionParams: { token: http.tokens.reader }, retryAttempts: 0 });
  const gone = new Promise<{ code: number }>((resolve) => { client.on('closed', (event) => resolve(event as { code: number })); });
  const started = once(http.signals, 'started');
  client.subscribe({ query: 'subscription { told }' }, { next() {}, error() {}, complete() {} });
  await started;
  await http.close();
  expect((await gone).code).toBe(1001);
  expect(http.signals.ended).toBe(1);
});

it('an event stream says why it ends, and its subscription ends', async () => {
  const started = once(http.signals, 'started');
  const response = await fetch(`${http.url}/graphql/stream?${new URLSearchParams({ query: 'subscription { told }' })}`, { headers: { authorization: `Bearer ${http.tokens.reader}` } });
  await started;
  const [text] = await Promise.all([response.text(), http.close()]);
  expect(text).toMatch(/event: next\ndata: \{"errors":\[\{"message":"the server is stopping[^\n]*"SERVER_STOPPING"\}\}\]\}\n\nevent: complete\ndata:\n\n$/);
  expect(http.signals.ended).toBe(1);
});

it('idle kept-alive connections and silent WebSockets do not hold it up', async () => {
  await http.post({ query: '{ whoami }' });
  const silent = new WebSocket(http.graphqlUrl.replace('http', 'ws'), 'graphql-transport-ws');
  await once(silent, 'open');
  const begun = Date.now();
  await http.close();
  expect(Date.now() - begun).toBeLessThan(SOON_MS);
});
