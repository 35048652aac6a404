/** Where a server is killed: on each kind of cluster. */
import { randomBytes } from 'node:crypto';
import { ensureRig, rigCluster, rigUnavailableReason } from '../rig/rig.ts';
import type { Victim } from './victim.ts';

const POLL = { pollSeconds: { min: 0.3, max: 1 }, submitGraceSeconds: 2 };

interface Site {
  config: object;
  /** Where jobs may write down that their work has started. */
  folder(victim: Victim): string;
}

async function localSite(): Promise<Site> {
  return { config: { kind: 'local', maxActiveJobs: 20, ...POLL }, folder: (victim) => victim.folder };
}

async function slurmSite(): Promise<Site> {
  const rig = await ensureRig();
  const { rootDirectory, sshPort } = rigCluster(rig, 'alpha');
  const root = `${rootDirectory}/crash-${randomBytes(4).toString('hex')}`;
  return {
    config: {
      kind: 'slurm', rootDirectory: root, ssh: { host: '127.0.0.1', port: sshPort, user: rig.user, identityFile: rig.identityFile, knownHostsFile: rig.knownHostsFile },
      defaults: { partition: 'gpu', account: 'cds', memoryMiB: 50, timeLimitMinutes: 5 }, ...POLL,
    },
    folder: () => rootDirectory,
  };
}

export const SITES = [
  { name: 'the local machine', open: localSite, unavailable: false },
  { name: 'SLURM', open: slurmSite, unavailable: rigUnavailableReason() !== null },
];
