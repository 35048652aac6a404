import { gzipSync } from 'node:zlib';
import { serverAudits } from 'graphql-http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { revokeToken } from '../../src/actions/revoke-token.ts';
import { createToken } from '../../src/actions/create-token.ts';
import { startHttp } from './support.ts';
import type { TestHttp } from './support.ts';

let http: TestHttp;
beforeAll(async () => { http = await startHttp(); });
afterAll(() => http.stop());

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('the GraphQL over HTTP specification', () => {
  for (const audit of serverAudits({
    url: () => http.graphqlUrl,
    fetchFn: (url: string, init: RequestInit = {}) => fetch(url, { ...init, headers: { ...(init.headers as Record<string, string>), ...bearer(http.tokens.writer) } }),
  })) {
    it(`${audit.id} ${audit.name}`, async () => {
      const result = await audit.fn();
      if (result.status === 'error') throw new Error(result.reason);
    });
  }
});

describe('authentication', () => {
  it('answers who calls', async () => {
    expect((await http.post({ query: '{ whoami }' })).json).toEqual({ data: { whoami: 'writer' } });
    expect((await http.post({ query: '{ whoami }' }, bearer(http.tokens.reader))).json).toEqual({ data: { whoami: 'reader' } });
  });

  it.each([
    ['none', { authorization: '' }, 'no bearer token'],
    ['a wrong one', bearer('eg_wrong'), 'not known or was revoked'],
    ['another scheme', { authorization: 'Basic YTpi' }, 'no bearer token'],
  ])('with %s is refused before the body is read, saying how to send one', async (_name, headers, words) => {
    const { status, json, headers: answered } = await http.post('{ not even JSON', headers);
    expect(status).toBe(401);
    expect(answered.get('www-authenticate')).toContain('Bearer');
    expect(json).toEqual({ errors: [{ message: expect.stringContaining(words), extensions: { code: 'UNAUTHENTICATED' } }] });
    expect(json.errors[0].message).toContain('Authorization: Bearer <token>');
  });

  it.each(['/', '/metrics', '/graphql/stream', '/nothing', '/graphql?query={__typename}'])('is needed at %s', async (path) => {
    expect((await fetch(http.url + path)).status).toBe(401);
  });

  it('stops within seconds of a revocation', async () => {
    const { token } = await createToken(http, { name: 'leaver', scopes: ['read'] });
    expect((await http.post({ query: '{ whoami }' }, bearer(token))).status).toBe(200);
    await revokeToken(http, { name: 'leaver' });
    await expect.poll(async () => (await http.post({ query: '{ whoami }' }, bearer(token))).status, { timeout: 30_000, interval: 200 }).toBe(401);
  });

  it('a token without the write scope cannot run mutations', async () => {
    const { json } = await http.post({ query: 'mutation { set(value: 1) }' }, bearer(http.tokens.reader));
    expect(json.errors[0].extensions.code).toBe('FORBIDDEN');
    expect((await http.post({ query: 'mutation { set(value: 1) }' })).json).toEqual({ data: { set: 1 } });
  });

  it('a page of another site cannot send an operation without asking first', async () => {
    const response = await fetch(http.graphqlUrl, { method: 'POST', headers: { 'content-type': 'text/plain', origin: 'https://evil.example' }, body: '{"query":"mutation { set(value: 1) }"}' });
    expect(response.status).toBe(401);
    const preflight = (origin: string) => fetch(http.graphqlUrl, {
      method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type' },
    });
    expect((await preflight('https://evil.example')).headers.get('access-control-allow-origin')).toBeNull();
    expect((await preflight('https://lab.example.org')).headers.get('access-control-allow-origin')).toBe('https://lab.example.org');
  });
});

describe('while the database is away', () => {
  it('a request that gets nothing is answered with 503 and a code; one that gets something, with 200', async () => {
    const { status, json } = await http.post({ query: '{ gone }' });
    expect(status).toBe(503);
    expect(json).toMatchObject({ errors: [{ message: expect.stringContaining('cannot be reached'), extensions: { code: 'DATABASE_UNAVAILABLE' } }] });
    expect(JSON.stringify(json)).not.toContain('10.0.0.7');
    expect((await http.post({ query: '{ gone whoami }' })).status).toBe(200);
    expect((await http.post({ query: '{ gone bug }' })).status).toBe(200);
  });
});

describe('bodies', () => {
  it('larger than the limit get a 413 that names it', async () => {
    const { status, json } = await http.post({ query: '{ whoami }', variables: { x: 'x'.repeat(100_000) } });
    expect(status).toBe(413);
    expect(json.errors[0]).toMatchObject({ message: expect.stringContaining('100000 bytes'), extensions: { code: 'LIMIT_EXCEEDED' } });
  });

  it.each([
    ['{"query":', 400, 'not valid JSON'], ['', 400, 'not valid JSON'],
    ['{"query":"query($v:JSON){echo(value:$v)}","variables":{"v":{"lr":1e-400}}}', 400, '1e-400'],
    ['{"query":"query($v:JSON){echo(value:$v)}","variables":{"v":9223372036854775808}}', 400, '9223372036854775808'],
  ])('%s is refused', async (body, status, words) => {
    const answer = await http.post(body);
    expect(answer.status).toBe(status);
    expect(answer.json.errors[0]).toMatchObject({ message: expect.stringContaining(words), extensions: { code: 'BAD_USER_INPUT' } });
  });

  it('numbers in the variables of a GET are read as exactly', async () => {
    const query = new URLSearchParams({ query: 'query($v:JSON){echo(value:$v)}', variables: '{"v":1e999}' });
    const response = await fetch(`${http.graphqlUrl}?${query}`, { headers: bearer(http.tokens.writer) });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('1e999');
  });

  it('values arrive as they were sent', async () => {
    const value = { quotes: '"\'`', newline: 'a\nb', shell: '$(rm -rf ~)', unicode: 'ä\u{1F600}\u2028', long: 0.1000000000000000055, tiny: 5e-324, big: 9007199254740991, 'a.b': [null, false] };
    expect((await http.post({ query: 'query($v: JSON) { echo(value: $v) }', variables: { v: value } })).json).toEqual({ data: { echo: value } });
  });

  it('that are not JSON are refused by their type', async () => {
    expect((await http.post('query=x', { 'content-type': 'application/x-www-form-urlencoded' })).status).toBe(415);
    const packed = await fetch(http.graphqlUrl, { method: 'POST', headers: { ...bearer(http.tokens.writer), 'content-type': 'application/json', 'content-encoding': 'gzip' }, body: gzipSync('{"query":"{ whoami }"}') });
    expect(packed.status).toBe(400);
  });
});

describe('operations', () => {
  it('deeper or costlier than the limits are refused with the numbers', async () => {
    const deep = `{ ${'node { '.repeat(20)} number ${'} '.repeat(20)} }`;
    const { status, json } = await http.post({ query: deep });
    expect(status).toBe(400);
    expect(json.errors[0].message).toMatch(/15/);
    expect(json).not.toHaveProperty('data');
  });

  it('are answered for the caller alone: not to be stored, and without traces of how they ran', async () => {
    const { headers, json } = await http.post({ query: '{ whoami }' }, { 'apollo-federation-include-trace': 'ftv1' });
    expect(headers.get('cache-control')).toBe('no-store');
    expect(json).toEqual({ data: { whoami: 'writer' } });
  });

  it('nested too deeply for the stack are refused in words', async () => {
    const deep = (depth: number, inside: string) => `${'['.repeat(depth)}${inside}${']'.repeat(depth)}`;
    const query = 'query($v:JSON){echo(value:$v)}';
    const document = await http.post({ query: `{ echo(value: ${deep(4_900, '1')}) }` });
    expect(document.json.errors).toMatchObject([{ message: expect.stringContaining('nested too deeply'), extensions: { code: 'LIMIT_EXCEEDED' } }]);
    for (const inside of ['1', '1e400']) {
      const { status, json } = await http.post(`{"query":"${query}","variables":{"v":${deep(20_000, inside)}}}`);
      expect(status).toBe(400);
      expect(json.errors).toMatchObject([{ message: expect.stringMatching(/nested too deeply .* 100 levels/), extensions: { code: 'BAD_USER_INPUT' } }]);
    }
    expect((await http.post(`{"query":"${query}","variables":{"v":${deep(90, '1')}}}`)).json.errors).toBeUndefined();
  });

  it('that subscribe over plain HTTP are told what they need', async () => {
    const { status, json } = await http.post({ query: 'subscription { ticks(count: 1) }' });
    expect(status).toBe(400);
    expect(json.errors).toMatchObject([{ message: 'subscriptions need Accept: text/event-stream or a WebSocket', extensions: { code: 'BAD_USER_INPUT' } }]);
  });

  it('with a document of too many words are refused', async () => {
    const { json } = await http.post({ query: `{ ${'whoami '.repeat(11_000)} }` });
    expect(json.errors[0].message).toContain('10000 tokens');
  });

  it.each([
    ['multiply through fragments', () => {
      const spreads = (level: number) => Array.from({ length: 30 }, () => `... @include(if: true) { ...F${level} }`).join(' ');
      return `{ node { ...F0 } } ${[0, 1, 2, 3, 4].map((level) => `fragment F${level} on Node { ${level === 4 ? 'number' : spreads(level + 1)} }`).join(' ')}`;
    }],
    ['say one field thousands of times with other arguments', () => `{ ${Array.from({ length: 1_400 }, (_, index) => `number(value: ${index})`).join(' ')} }`],
  ])('that %s are refused soon', async (_name, query) => {
    const begun = Date.now();
    const { json } = await http.post({ query: query() });
    expect(json.errors.length).toBeGreaterThan(0);
    expect(Date.now() - begun).toBeLessThan(3_000);
  });

  it('that fail by a fault of ours are masked and logged', async () => {
    const { status, json } = await http.post({ query: '{ bug }' });
    expect(status).toBe(200);
    expect(json.errors[0]).toMatchObject({ message: 'Internal server error', path: ['bug'], extensions: { code: 'INTERNAL_SERVER_ERROR' } });
    expect(JSON.stringify(http.log)).toContain('select secret from tokens');
  });

  it('leave a line with an id and without a secret', async () => {
    const { headers } = await http.post({ query: 'query($v: JSON) { echo(value: $v) }', variables: { v: 'hush' } });
    await expect.poll(() => http.log.find((line) => line['requestId'] === headers.get('x-request-id')))
      .toMatchObject({ level: 'info', method: 'POST', path: '/graphql', status: 200, tokenName: 'writer', durationMs: expect.any(Number) });
    expect(JSON.stringify(http.log)).not.toContain(http.tokens.writer);
    expect(JSON.stringify(http.log)).not.toContain('hush');
  });
});
