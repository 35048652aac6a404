import type { ClusterSettings } from '../domain/cluster-settings.ts';
import { Breaker } from './breaker.ts';
import { CommandBudget } from './command-budget.ts';
import type { Cluster } from './executor.ts';
import { governTransport } from './governed-transport.ts';
import { openLocalExecutor } from './local/executor.ts';
import { openSlurmExecutor } from './slurm/executor.ts';
import { openLocalTransport } from './transport/local.ts';
import type { TransportLogger } from './transport/ssh-connection.ts';
import { openSshTransport } from './transport/ssh.ts';

/** Wires a configured cluster together. Nothing is connected until it is first used. */
export function openCluster(settings: ClusterSettings, logger?: TransportLogger): Cluster {
  const breaker = new Breaker();
  const budget = new CommandBudget(settings.maxCommandsPerMinute);
  const commandCounts = new Map<string, number>();
  const plain = settings.ssh === null ? openLocalTransport() : openSshTransport(settings.ssh, logger);
  const transport = governTransport(plain, { breaker, budget, commandCounts });
  const executor = settings.kind === 'SLURM' ? openSlurmExecutor(transport) : openLocalExecutor(settings.rootDirectory, transport);
  return { settings, executor, transport, commandCounts, breaker, budget, close: () => transport.close() };
}
