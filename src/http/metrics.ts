/** What the API tells Prometheus about itself. */
import { Counter, Gauge, Histogram, collectDefaultMetrics } from 'prom-client';
import type { Registry } from 'prom-client';
import { BREAKER_STATES, type BreakerState } from '../domain/breaker-status.ts';

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

/** What the metrics show of a cluster that this process may drive; read whenever they are. */
export interface ClusterMetrics {
  name: string;
  /** How often each command of the scheduler was run. */
  commandCounts: ReadonlyMap<string, number>;
  budget: { commandsPerMinute: number; waitCounts: Readonly<Record<string, { waits: number; seconds: number }>> };
  breaker: { status(): { state: BreakerState; failureCount: number }; openedCount(): number };
}

/** Shows what is asked of each cluster, what waits for its turn, and whether it is tried at all. */
export function registerClusterMetrics(registry: Registry, clusters: readonly ClusterMetrics[]): void {
  const counter = <Label extends string>(name: string, help: string, labelNames: Label[], collect: (add: (labels: Record<Label, string>, value: number) => void) => void): void => {
    registry.registerMetric(new Counter({ name, help, labelNames, registers: [], collect() {
      this.reset();
      collect((labels, value) => this.inc(labels, value));
    } }));
  };
  const gauge = <Label extends string>(name: string, help: string, labelNames: Label[], collect: (set: (labels: Record<Label, string>, value: number) => void) => void): void => {
    registry.registerMetric(new Gauge({ name, help, labelNames, registers: [], collect() {
      collect((labels, value) => this.set(labels, value));
    } }));
  };
  counter('expgraph_cluster_commands_total', 'Commands of the scheduler run on a cluster since the server was started.', ['cluster', 'command'], (add) => {
    for (const { name: cluster, commandCounts } of clusters) for (const [command, count] of commandCounts) add({ cluster, command }, count);
  });
  gauge('expgraph_cluster_command_budget', 'Most commands of the scheduler in any minute (maxCommandsPerMinute).', ['cluster'], (set) => {
    for (const { name: cluster, budget } of clusters) set({ cluster }, budget.commandsPerMinute);
  });
  counter('expgraph_cluster_commands_delayed_total', 'Commands of the scheduler that waited because the budget was spent, by what they were for.', ['cluster', 'use'], (add) => {
    for (const { name: cluster, budget } of clusters) for (const [use, { waits }] of Object.entries(budget.waitCounts)) add({ cluster, use }, waits);
  });
  counter('expgraph_cluster_command_wait_seconds_total', 'How long they waited in all.', ['cluster', 'use'], (add) => {
    for (const { name: cluster, budget } of clusters) for (const [use, { seconds }] of Object.entries(budget.waitCounts)) add({ cluster, use }, seconds);
  });
  gauge('expgraph_cluster_breaker_state', 'The state of the circuit breaker: 1 for the one it is in.', ['cluster', 'state'], (set) => {
    for (const { name: cluster, breaker } of clusters) for (const state of BREAKER_STATES) set({ cluster, state }, breaker.status().state === state ? 1 : 0);
  });
  counter('expgraph_cluster_breaker_opened_total', 'How often the circuit breaker opened.', ['cluster'], (add) => {
    for (const { name: cluster, breaker } of clusters) add({ cluster }, breaker.openedCount());
  });
}
