/** What the API tells Prometheus about itself. */
import { Counter, Gauge, Histogram, collectDefaultMetrics } from 'prom-client';
import type { Registry } from 'prom-client';

export type Protocol = 'http' | 'websocket' | 'sse';

export interface HttpMetrics {
  registry: Registry;
  requestSeconds: Histogram<'method' | 'route' | 'status'>;
  operations: Counter<'protocol' | 'type' | 'outcome'>;
  openSubscriptions: Gauge<'protocol'>;
}

/** Registers the metrics of the process and of the API. */
export function createHttpMetrics(registry: Registry): HttpMetrics {
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  return {
    registry,
    requestSeconds: new Histogram({
      name: 'expgraph_http_request_seconds', help: 'Time from the first byte of a request to the last of its answer.',
      labelNames: ['method', 'route', 'status'], buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10], registers,
    }),
    operations: new Counter({
      name: 'expgraph_graphql_operations_total', help: 'GraphQL operations by protocol, type and whether they had errors.',
      labelNames: ['protocol', 'type', 'outcome'], registers,
    }),
    openSubscriptions: new Gauge({
      name: 'expgraph_graphql_open_subscriptions', help: 'Subscriptions that are being served now.', labelNames: ['protocol'], registers,
    }),
  };
}

/** Shows how often each scheduler command was run on each cluster; `counts` are read whenever the metrics are. */
export function registerCommandCounts(registry: Registry, counts: ReadonlyMap<string, ReadonlyMap<string, number>>): void {
  registry.registerMetric(new Counter({
    name: 'expgraph_cluster_commands_total', help: 'Commands of the scheduler run on a cluster since the server was started.',
    labelNames: ['cluster', 'command'], registers: [],
    collect() {
      this.reset();
      for (const [cluster, commands] of counts) for (const [command, count] of commands) this.inc({ cluster, command }, count);
    },
  }));
}
