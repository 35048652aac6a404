/** Opens every kind of transport, for the one contract that they all keep. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Transport } from '../../src/cluster/transport.ts';
import { openLocalTransport } from '../../src/cluster/transport/local.ts';
import { openSshTransport } from '../../src/cluster/transport/ssh.ts';
import { startSshd, sshdUnavailableReason } from '../support/sshd.ts';

export interface OpenedTransport {
  transport: Transport;
  /** Where the machine's user may write; gone after `remove`. */
  folder: string;
  /** How a process of its own opens the same: what it imports as `opened`, and the expression that opens it. */
  inAnotherProcess: { module: string; expression: string };
  /** Closes the transport and stops what stands behind it. */
  remove(): Promise<void>;
}

const moduleUrl = (name: string) => new URL(`../../src/cluster/transport/${name}.ts`, import.meta.url).href;

async function openLocal(): Promise<OpenedTransport> {
  const transport = openLocalTransport();
  const folder = await mkdtemp(join(tmpdir(), 'expgraph-transport-'));
  const inAnotherProcess = { module: moduleUrl('local'), expression: 'opened.openLocalTransport()' };
  return { transport, folder, inAnotherProcess, remove: async () => { await transport.close(); await rm(folder, { recursive: true, force: true }); } };
}

async function openSsh(): Promise<OpenedTransport> {
  const sshd = await startSshd();
  const { host, port, user, identityFile, knownHostsFile } = sshd;
  const settings = {
    host, port, user, identityFile, agentSocket: null, knownHostsFiles: [knownHostsFile], jumps: [], connectTimeoutSeconds: 10, maxChannels: 8,
  };
  const transport = openSshTransport(settings);
  const folder = await mkdtemp(join(tmpdir(), 'expgraph-transport-'));
  const id = (flag: string) => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }));
  await chown(folder, id('-u'), id('-g'));
  const inAnotherProcess = { module: moduleUrl('ssh'), expression: `opened.openSshTransport(${JSON.stringify(settings)})` };
  return { transport, folder, inAnotherProcess, remove: async () => { await transport.close(); await sshd.remove(); await rm(folder, { recursive: true, force: true }); } };
}

const noSshd = sshdUnavailableReason();
if (noSshd !== null) console.log(`skipped: ${noSshd}`);

export const TRANSPORTS = [{ name: 'local', open: openLocal, skip: false }, { name: 'ssh', open: openSsh, skip: noSshd !== null }];

/** What to compare of two large buffers: a difference prints as one line. */
export function digest(bytes: Buffer): string {
  return `${bytes.length} ${createHash('sha256').update(bytes).digest('hex')}`;
}
