/** A real sshd of our own on a loopback port, for key logins of one unprivileged user. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { installPackages } from '../rig/packages.ts';
import { freePorts, untilListening } from '../rig/ports.ts';
import { descendants, endAll, identify, until, type ProcessIdentity } from '../rig/processes.ts';

const TEST_USER = 'expgraph-test';
const SSHD = '/usr/sbin/sshd';

export interface TestSshd {
  host: string;
  port: number;
  user: string;
  identityFile: string;
  knownHostsFile: string;
  hostKeyFingerprint: string;
  /** Holds every file of this sshd and its log; gone after `remove`. */
  folder: string;
  /** The listener and all connections are gone at once, as when a login node is restarted. Port and keys stay the same for `start`. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Cuts the open connections; the listener stays. */
  dropConnections(): Promise<void>;
  /** What runs on behalf of its connections. */
  processes(): ProcessIdentity[];
  /** Gives the host another key, as a machine that is set up anew. Takes effect at once. */
  changeHostKey(): Promise<void>;
  remove(): Promise<void>;
}

/** Why no sshd can be had here, in one line; null when one can. As root on Debian it is installed. In CI there is no excuse: it throws. */
export function sshdUnavailableReason(): string | null {
  const reason = findReason();
  if (reason !== null && process.env['CI']) throw new Error(`in CI the SSH tests must run, but ${reason}`);
  return reason;
}

function findReason(): string | null {
  if (process.platform !== 'linux') return 'the SSH tests need Linux';
  if (existsSync(SSHD)) return null;
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return `the SSH tests need ${SSHD} (install openssh-server)`;
  installPackages((line) => console.log(line));
  return null;
}

/** `configLines` win over the lines of our own; `user` is one that exists and may log in. */
export async function startSshd(options: { configLines?: string[]; user?: string } = {}): Promise<TestSshd> {
  const user = options.user ?? await ensureUser();
  // Its own user must be able to pass through the folder to the authorized keys.
  const folder = await mkdtemp(join(tmpdir(), 'expgraph-sshd-'));
  await chmod(folder, 0o755);
  const [port] = (await freePorts(1)) as [number];
  const identityFile = makeKey(join(folder, 'id_ed25519'));
  const hostKeyFile = makeKey(join(folder, 'host_key'));
  const knownHostsFile = join(folder, 'known_hosts');
  await writeFile(join(folder, 'authorized_keys'), await readFile(`${identityFile}.pub`));
  await writeFile(join(folder, 'sshd_config'), [...(options.configLines ?? []), ...sshdConfig(folder, port, user)].join('\n'));
  await writeFile(knownHostsFile, `[127.0.0.1]:${port} ${(await readFile(`${hostKeyFile}.pub`, 'utf8')).split(' ').slice(0, 2).join(' ')}\n`);
  let listener: ProcessIdentity | null = null;
  const sshd: TestSshd = {
    host: '127.0.0.1', port, user, identityFile, knownHostsFile, folder,
    hostKeyFingerprint: fingerprintOf(hostKeyFile),
    async start() {
      listener = await launch(folder, port);
    },
    async stop() {
      if (listener !== null) await endAll([listener, ...descendants([listener])], 'SIGKILL');
      listener = null;
    },
    async dropConnections() {
      if (listener !== null) await endAll(descendants([listener]), 'SIGKILL');
    },
    processes: () => (listener === null ? [] : descendants([listener])),
    async changeHostKey() {
      await sshd.stop();
      await rm(hostKeyFile);
      makeKey(hostKeyFile);
      sshd.hostKeyFingerprint = fingerprintOf(hostKeyFile);
      await sshd.start();
    },
    async remove() {
      await sshd.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  await sshd.start();
  return sshd;
}

async function ensureUser(): Promise<string> {
  if (process.getuid?.() !== 0) return userInfo().username;
  const exists = () => spawnSync('id', ['-u', TEST_USER], { stdio: 'ignore' }).status === 0;
  if (exists()) return TEST_USER;
  // sshd calls an account with the password "!" locked, even for key logins; "*" is only "no password fits".
  const made = spawnSync('useradd', ['--create-home', '--shell', '/bin/bash', '--password', '*', TEST_USER], { encoding: 'utf8' });
  // Another test file may be making the same user at the same time.
  if (made.status !== 0) await until(`the user ${TEST_USER} (useradd: ${made.stderr.trim()})`, 5000, exists);
  return TEST_USER;
}

function makeKey(file: string): string {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'expgraph-test', '-f', file]);
  return file;
}

function fingerprintOf(keyFile: string): string {
  return execFileSync('ssh-keygen', ['-l', '-E', 'sha256', '-f', `${keyFile}.pub`], { encoding: 'utf8' }).split(' ')[1] ?? '';
}

async function launch(folder: string, port: number): Promise<ProcessIdentity> {
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true });
  const log = openSync(join(folder, 'sshd.log'), 'a');
  // sshd starts itself anew for every connection and wants absolute paths for that.
  const child = spawn(SSHD, ['-D', '-e', '-f', join(folder, 'sshd_config')], { cwd: '/', stdio: ['ignore', log, log] });
  closeSync(log);
  const identity = child.pid === undefined ? null : identify(child.pid);
  if (identity === null) throw new Error(`sshd did not start: ${await readFile(join(folder, 'sshd.log'), 'utf8')}`);
  await untilListening(port, 'sshd', 10_000);
  return identity;
}

function sshdConfig(folder: string, port: number, user: string): string[] {
  return [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${join(folder, 'host_key')}`,
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
    // OpenSSH's own default, said so that the tests do not depend on it.
    'MaxSessions 10',
    'Subsystem sftp internal-sftp',
    '',
  ];
}
