import type { ClusterSettings } from '../domain/cluster-settings.ts';
import type { Cluster } from './executor.ts';
import { openLocalExecutor } from './local/executor.ts';
import { openSlurmExecutor } from './slurm/executor.ts';
import { openLocalTransport } from './transport/local.ts';
import type { TransportLogger } from './transport/ssh-connection.ts';
import { openSshTransport } from './transport/ssh.ts';

/** Wires a configured cluster together. Nothing is connected until it is first used. */
export function openCluster(settings: ClusterSettings, logger?: TransportLogger): Cluster {
  const transport = settings.ssh === null ? openLocalTransport() : openSshTransport(settings.ssh, logger);
  const executor = settings.kind === 'SLURM' ? openSlurmExecutor(transport) : openLocalExecutor(settings.rootDirectory, transport);
  return { settings, executor, transport, close: () => transport.close() };
}
