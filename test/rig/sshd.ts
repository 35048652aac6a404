/** The SSH door of each cluster: key login only, for the rig's user only, with that cluster's SLURM in the environment. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { untilListening } from './ports.ts';
import { descendants, endAll, readRecord, recordDeliberateStop, startDaemon } from './processes.ts';

export interface SshFiles {
  identityFile: string;
  knownHostsFile: string;
  /** `SHA256:...` of each cluster's host key. */
  hostKeyFingerprints: Record<string, string>;
}

export interface SshDoor {
  cluster: string;
  port: number;
  slurmConf: string;
  timeZone: string;
}

function makeKey(file: string): { publicKey: string; fingerprint: string } {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'expgraph-rig', '-f', file]);
  const listing = execFileSync('ssh-keygen', ['-l', '-E', 'sha256', '-f', file], { encoding: 'utf8' });
  return { publicKey: readFileSync(`${file}.pub`, 'utf8').trim(), fingerprint: listing.split(' ')[1]! };
}

/** Writes keys, known_hosts and one sshd_config for each door. */
export function writeSshFolder(rigDirectory: string, user: string, doors: SshDoor[]): SshFiles {
  const folder = join(rigDirectory, 'ssh');
  mkdirSync(folder);
  const identityFile = join(folder, 'id_ed25519');
  writeFileSync(join(folder, 'authorized_keys'), `${makeKey(identityFile).publicKey}\n`);
  const knownHosts: string[] = [];
  const hostKeyFingerprints: Record<string, string> = {};
  for (const door of doors) {
    const { publicKey, fingerprint } = makeKey(join(folder, `host_key.${door.cluster}`));
    hostKeyFingerprints[door.cluster] = fingerprint;
    knownHosts.push(`[127.0.0.1]:${door.port} ${publicKey.split(' ').slice(0, 2).join(' ')}\n`);
    writeFileSync(join(folder, `sshd_config.${door.cluster}`), sshdConfig(folder, user, door));
  }
  const knownHostsFile = join(folder, 'known_hosts');
  writeFileSync(knownHostsFile, knownHosts.join(''));
  return { identityFile, knownHostsFile, hostKeyFingerprints };
}

function sshdConfig(folder: string, user: string, door: SshDoor): string {
  return [
    `Port ${door.port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${join(folder, `host_key.${door.cluster}`)}`,
    `AuthorizedKeysFile ${join(folder, 'authorized_keys')}`,
    // The folder lies below /tmp, which everybody may write to; StrictModes would refuse the key for that.
    'StrictModes no',
    `AllowUsers ${user}`,
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'UsePAM no',
    'UseDNS no',
    'PrintMotd no',
    'PidFile none',
    'MaxStartups 100',
    `SetEnv SLURM_CONF=${door.slurmConf} TZ=${door.timeZone}`,
    'Subsystem sftp internal-sftp',
    '',
  ].join('\n');
}

export async function startSshDaemon(rigDirectory: string, cluster: string, port: number): Promise<void> {
  mkdirSync('/run/sshd', { recursive: true });
  startDaemon(rigDirectory, {
    name: `sshd.${cluster}`,
    // sshd re-executes itself and wants absolute paths; -e sends its log to our output file.
    argv: ['/usr/sbin/sshd', '-D', '-e', '-f', join(rigDirectory, 'ssh', `sshd_config.${cluster}`)],
    environment: {},
  });
  await untilListening(port, `sshd of ${cluster}`, 10_000);
}

/** As when the login node goes away: the listener and every open connection are gone at once. The rig counts as whole meanwhile. */
export async function crashSshDaemon(rigDirectory: string, cluster: string): Promise<void> {
  const record = readRecord(rigDirectory, `sshd.${cluster}`);
  recordDeliberateStop(rigDirectory, record);
  await endAll([record.process, ...descendants([record.process])], 'SIGKILL');
}
