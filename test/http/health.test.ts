import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startHttp } from './support.ts';
import type { TestHttp } from './support.ts';

let http: TestHttp;
let reconcilers: () => Promise<string | null> = async () => null;
beforeAll(async () => { http = await startHttp({ readinessChecks: { database: async () => null, reconcilers: () => reconcilers() } }); });
afterAll(() => http.stop());

describe('health', () => {
  it('/healthz answers anybody', async () => {
    const response = await fetch(`${http.url}/healthz`);
    expect([response.status, await response.json()]).toEqual([200, { status: 'ok' }]);
  });

  it('/readyz lists its checks and fails with any of them, without repeating what a driver said', async () => {
    const ready = async () => { const response = await fetch(`${http.url}/readyz`); return [response.status, await response.json()]; };
    expect(await ready()).toEqual([200, { status: 'ok', checks: { database: 'ok', reconcilers: 'ok' } }]);
    reconcilers = async () => 'no sweep for 60 s';
    expect(await ready()).toEqual([503, { status: 'unavailable', checks: { database: 'ok', reconcilers: 'no sweep for 60 s' } }]);
    reconcilers = async () => { throw new Error('password of db.internal'); };
    expect(JSON.stringify(await ready())).not.toContain('db.internal');
    reconcilers = () => new Promise(() => {});
    expect(await ready()).toMatchObject([503, { checks: { reconcilers: expect.stringContaining('2000 ms') } }]);
  });
});

describe('/metrics', () => {
  it('counts requests and operations in the Prometheus format', async () => {
    await http.post({ query: '{ whoami }' });
    await http.post({ query: '{ nothing }' });
    const response = await fetch(`${http.url}/metrics`, { headers: { authorization: `Bearer ${http.tokens.reader}` } });
    const text = await response.text();
    expect(response.headers.get('content-type')).toContain('text/plain');
    expect(text).toMatch(/^expgraph_graphql_operations_total\{protocol="http",type="query",outcome="ok"\} 1$/m);
    expect(text).toMatch(/^expgraph_graphql_operations_total\{protocol="http",type="[a-z]+",outcome="errors"\} 1$/m);
    expect(text).toMatch(/^expgraph_http_request_seconds_count\{method="POST",route="\/graphql",status="200"\} 1$/m);
    expect(text).toContain('process_resident_memory_bytes');
  });
});
