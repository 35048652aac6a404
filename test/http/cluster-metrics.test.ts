import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { Breaker } from '../../src/cluster/breaker.ts';
import { CommandBudget } from '../../src/cluster/command-budget.ts';
import { TransportError } from '../../src/cluster/transport.ts';
import { registerClusterMetrics } from '../../src/http/metrics.ts';

it('the metrics show what is asked of a cluster, what waits for its turn and whether it is tried at all, as it is when they are read', async () => {
  const registry = new Registry();
  const breaker = new Breaker();
  const commandCounts = new Map([['squeue', 3]]);
  registerClusterMetrics(registry, [{ name: 'hpc', commandCounts, budget: new CommandBudget(60), breaker }]);
  expect(await registry.metrics()).toContain('expgraph_cluster_breaker_state{cluster="hpc",state="CLOSED"} 1');
  commandCounts.set('sbatch', 1);
  await breaker.run('machine', () => Promise.reject(new TransportError('authentication', 'the key was not accepted')), () => null).catch(() => undefined);
  expect((await registry.metrics()).split('\n')).toEqual(expect.arrayContaining([
    'expgraph_cluster_commands_total{cluster="hpc",command="squeue"} 3', 'expgraph_cluster_commands_total{cluster="hpc",command="sbatch"} 1',
    'expgraph_cluster_command_budget{cluster="hpc"} 60', 'expgraph_cluster_commands_delayed_total{cluster="hpc",use="look"} 0',
    'expgraph_cluster_command_wait_seconds_total{cluster="hpc",use="wish"} 0', 'expgraph_cluster_breaker_state{cluster="hpc",state="CLOSED"} 0',
    'expgraph_cluster_breaker_state{cluster="hpc",state="OPEN"} 1', 'expgraph_cluster_breaker_opened_total{cluster="hpc"} 1',
  ]));
});
