/** What probes and people ask a running server: is it alive, can it work, how does it do. */
import type { FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';

/** A check that takes longer counts as failed. */
const CHECK_MS = 2_000;

/** By name: null when all is well, else what is wrong in words. */
export type ReadinessChecks = Record<string, () => Promise<string | null>>;

async function checked(check: () => Promise<string | null>): Promise<string | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => { timer = setTimeout(() => resolve(`no answer within ${CHECK_MS} ms`), CHECK_MS); });
  try {
    return await Promise.race([check(), late]);
  } catch {
    // The words of a driver may name hosts and users, and anybody may read this page.
    return 'failed; the log says why';
  } finally {
    clearTimeout(timer);
  }
}

/** `/healthz`: the process answers. `/readyz`: it can do its work. `/metrics`: for Prometheus. */
export function serveHealth(server: FastifyInstance, checks: ReadinessChecks, registry: Registry): void {
  server.get('/healthz', { config: { open: true } }, async () => ({ status: 'ok' }));
  server.get('/readyz', { config: { open: true } }, async (_request, reply) => {
    const results = await Promise.all(Object.entries(checks).map(async ([name, check]) => [name, (await checked(check)) ?? 'ok'] as const));
    const ready = results.every(([, result]) => result === 'ok');
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ok' : 'unavailable', checks: Object.fromEntries(results) });
  });
  server.get('/metrics', async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()));
}
