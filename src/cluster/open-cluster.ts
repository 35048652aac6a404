import type { ClusterSettings } from '../domain/cluster-settings.ts';
import type { Cluster } from './executor.ts';
import { openLocalExecutor } from './local/executor.ts';
import { slurmCommandOf } from './slurm/commands.ts';
import { openSlurmExecutor } from './slurm/executor.ts';
import type { Transport } from './transport.ts';
import { openLocalTransport } from './transport/local.ts';
import type { TransportLogger } from './transport/ssh-connection.ts';
import { openSshTransport } from './transport/ssh.ts';

/** Wires a configured cluster together. Nothing is connected until it is first used. */
export function openCluster(settings: ClusterSettings, logger?: TransportLogger): Cluster {
  const transport = settings.ssh === null ? openLocalTransport() : openSshTransport(settings.ssh, logger);
  const commandCounts = new Map<string, number>();
  const executor = settings.kind === 'SLURM' ? openSlurmExecutor(counting(transport, commandCounts)) : openLocalExecutor(settings.rootDirectory, transport);
  return { settings, executor, transport, commandCounts, close: () => transport.close() };
}

function counting(transport: Transport, counts: Map<string, number>): Transport {
  return {
    ...transport,
    exec(argv, options) {
      const command = slurmCommandOf(argv);
      if (command !== null) counts.set(command, (counts.get(command) ?? 0) + 1);
      return transport.exec(argv, options);
    },
  };
}
