/** A munged of the rig's own, on its own socket and key: the machine's munge, if any, is neither used nor touched. */
import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unixUser } from './packages.ts';
import { startDaemon, until } from './processes.ts';

/** Where SLURM finds this rig's munged. */
export function mungeSocket(rigDirectory: string): string {
  return join(rigDirectory, 'munge', 'munge.socket');
}

/** Starts munged and waits for its socket. */
export async function startMunge(rigDirectory: string): Promise<void> {
  const folder = join(rigDirectory, 'munge');
  const keyFile = join(folder, 'munge.key');
  const owner = unixUser('munge');
  mkdirSync(folder, { recursive: true });
  chownSync(folder, owner.uid, owner.gid);
  writeFileSync(keyFile, randomBytes(128), { mode: 0o400 });
  chownSync(keyFile, owner.uid, owner.gid);
  const socket = mungeSocket(rigDirectory);
  startDaemon(rigDirectory, {
    name: 'munged',
    argv: [
      '/usr/sbin/munged', '--foreground', '--force', `--socket=${socket}`, `--key-file=${keyFile}`,
      `--log-file=${join(folder, 'munged.log')}`, `--pid-file=${join(folder, 'munged.pid')}`, `--seed-file=${join(folder, 'munged.seed')}`,
    ],
    environment: {},
    uid: owner.uid,
    gid: owner.gid,
  });
  await until('munged', 10_000, () => existsSync(socket));
}
