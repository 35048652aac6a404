/** A further SSH door to a cluster of the rig, nobody else's: with programs in front of the real ones, and to be slammed at will. */
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterSettings } from '../../src/domain/cluster-settings.ts';
import { unixUser } from './packages.ts';
import { freePorts } from './ports.ts';
import { until } from './processes.ts';
import { crashSshDaemon, startSshDaemon } from './sshd.ts';
import { rigCluster, type Rig } from './rig.ts';

/** What the next `sbatch` through a door does; after it the real one is back. */
export const SBATCH_FAULTS = {
  /** Takes the batch, then says that the answer did not come. */
  'submits, then times out': '"$REAL" "$@" > /dev/null; echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1',
  'submits, then prints garbage': '"$REAL" "$@" > /dev/null; printf "\\033]0;login\\007Welcome to the cluster!\\n"; exit 0',
  'submits, then hangs': '"$REAL" "$@" > /dev/null; touch "$FOLDER/sent"; exec sleep 600',
  'submits, then the connection drops': '"$REAL" "$@" > /dev/null; touch "$FOLDER/sent"; exec sleep 600',
  'submits twice': 'cat > "$FOLDER/script"; "$REAL" "$@" < "$FOLDER/script"; "$REAL" "$@" < "$FOLDER/script" > /dev/null; exit 0',
  /** Says that the answer did not come, and takes the batch only when it is told to, or never. */
  'times out, submits when told': 'cat > "$FOLDER/script"; (for i in $(seq 900); do if [ -e "$FOLDER/late" ]; then exec "$REAL" "$@" < "$FOLDER/script"; fi; sleep 0.1; done) > "$FOLDER/answer" 2>&1 & '
    + 'echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1',
  'fails without submitting': 'echo "sbatch: error: Batch job submission failed: Resource temporarily unavailable" >&2; exit 1',
  'times out without submitting': 'echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1',
} as const;
export type SbatchFault = keyof typeof SBATCH_FAULTS;

export interface Door {
  ssh: NonNullable<ClusterSettings['ssh']>;
  /** The next submission goes wrong in this way. */
  breakNextSbatch(fault: SbatchFault): void;
  /** Whether a submission that is to hang, or to lose its connection, has reached SLURM. */
  hasSent(): boolean;
  /** Lets a batch come that was to be submitted only when told; answers its id. */
  submitLate(): Promise<string>;
  /** The listener and all connections are gone at once. */
  slam(): Promise<void>;
  reopen(): Promise<void>;
  close(): Promise<void>;
}

/** @param name unique in the rig; of the door's files and processes */
export async function openDoor(rig: Rig, cluster: string, name: string): Promise<Door> {
  const [port] = (await freePorts(1)) as [number];
  const folder = mkdtempSync(join(rig.directory, 'door-'));
  const user = unixUser(rig.user);
  chownSync(folder, user.uid, user.gid);
  chmodSync(folder, 0o755);
  mkdirSync(join(folder, 'bin'));
  const sbatch = join(folder, 'bin', 'sbatch');
  writeFileSync(sbatch, fakeSbatch(folder), { mode: 0o755 });
  const configFile = join(rig.directory, 'ssh', `sshd_config.${name}`);
  const lines = readFileSync(join(rig.directory, 'ssh', `sshd_config.${cluster}`), 'utf8').split('\n');
  writeFileSync(configFile, lines.map((line) => {
    if (line.startsWith('Port ')) return `Port ${port}`;
    return line.startsWith('SetEnv ') ? `${line} PATH=${join(folder, 'bin')}:/usr/local/bin:/usr/bin:/bin` : line;
  }).join('\n'));
  await startSshDaemon(rig.directory, name, port);
  // The keys of the cluster's own door; known_hosts names hosts by port.
  const knownHostsFile = join(folder, 'known_hosts');
  const own = `[127.0.0.1]:${rigCluster(rig, cluster).sshPort} `;
  const known = readFileSync(rig.knownHostsFile, 'utf8').split('\n').find((line) => line.startsWith(own)) ?? '';
  writeFileSync(knownHostsFile, `[127.0.0.1]:${port} ${known.slice(own.length)}\n`);
  return {
    ssh: {
      host: '127.0.0.1', port, user: rig.user, identityFile: rig.identityFile, agentSocket: null, knownHostsFiles: [knownHostsFile],
      jumps: [], connectTimeoutSeconds: 10, maxChannels: 4,
    },
    breakNextSbatch(fault) {
      for (const file of ['sent', 'late', 'answer']) rmSync(join(folder, file), { force: true });
      writeFileSync(join(folder, 'fault'), fault, { mode: 0o666 });
    },
    hasSent: () => existsSync(join(folder, 'sent')),
    async submitLate() {
      writeFileSync(join(folder, 'late'), '');
      const answer = (): string => /^\d+/m.exec(existsSync(join(folder, 'answer')) ? readFileSync(join(folder, 'answer'), 'utf8') : '')?.[0] ?? '';
      await until('the late batch to be submitted', 60_000, () => answer() !== '');
      return answer();
    },
    slam: () => crashSshDaemon(rig.directory, name),
    reopen: () => startSshDaemon(rig.directory, name, port),
    async close() {
      await crashSshDaemon(rig.directory, name);
      for (const path of [folder, configFile, join(rig.directory, 'processes', `sshd.${name}.json`)]) rmSync(path, { recursive: true, force: true });
    },
  };
}

function fakeSbatch(folder: string): string {
  return [
    '#!/bin/sh',
    `FOLDER=${folder} REAL=/usr/bin/sbatch`,
    // Moved away by whoever is first: the fault happens once.
    'mv "$FOLDER/fault" "$FOLDER/fault.$$" 2>/dev/null || exec "$REAL" "$@"',
    'fault=$(cat "$FOLDER/fault.$$"); rm -f "$FOLDER/fault.$$"',
    'case "$fault" in',
    ...Object.entries(SBATCH_FAULTS).map(([fault, commands]) => `'${fault}') ${commands} ;;`),
    'esac',
    '',
  ].join('\n');
}
