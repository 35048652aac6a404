/** The Debian packages and the Unix user that the rig is made of; installed when missing. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

/** The unprivileged user whose jobs run on the rig and who logs in over SSH. */
const RIG_USER = 'expgraph-rig';

type BinaryOfPackage = Readonly<Record<string, string>>;

const RIG_PACKAGES: BinaryOfPackage = {
  slurmctld: '/usr/sbin/slurmctld',
  slurmd: '/usr/sbin/slurmd',
  slurmdbd: '/usr/sbin/slurmdbd',
  'slurm-client': '/usr/bin/sbatch',
  munge: '/usr/sbin/munged',
  'mariadb-server': '/usr/sbin/mariadbd',
  'openssh-server': '/usr/sbin/sshd',
  'openssh-client': '/usr/bin/ssh-keygen',
};

/** Why the rig cannot be built on this machine, in one line; null when it can. */
export function rigUnavailableReason(): string | null {
  if (process.platform !== 'linux' || !existsSync('/etc/debian_version')) {
    return 'the SLURM rig needs Debian (its packages are installed with apt-get)';
  }
  if (process.getuid?.() !== 0) return 'the SLURM rig needs root (it starts daemons for several users)';
  return null;
}

/** Wanted by tests beside the rig's own. */
const TEST_PACKAGES: BinaryOfPackage = { ...RIG_PACKAGES, chromium: '/usr/bin/chromium', curl: '/usr/bin/curl', 'python3-venv': '/usr/share/python-wheels' };

/** Installs what the rig is made of. */
export function installPackages(report: (line: string) => void): void {
  installMissing(RIG_PACKAGES, report);
}

/** Installs, where that is possible, everything that tests use of the machine: once, before they run side by side. */
export function installTestPackages(report: (line: string) => void): void {
  if (rigUnavailableReason() === null) installMissing(TEST_PACKAGES, report);
}

/** Installs what is missing; nothing is left started. Throws when apt-get fails. */
function installMissing(packages: BinaryOfPackage, report: (line: string) => void): void {
  const missing = Object.entries(packages).filter(([, binary]) => !existsSync(binary)).map(([name]) => name);
  if (missing.length === 0) return;
  report(`installing ${missing.join(' ')}`);
  const removePolicy = forbidServiceStarts();
  try {
    const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const waitForLock = ['-o', 'DPkg::Lock::Timeout=300', '-qq'];
    const run = (argv: string[]) => execFileSync('apt-get', [...waitForLock, ...argv], { env: environment, stdio: ['ignore', 'ignore', 'inherit'] });
    run(['update']);
    run(['install', '-y', '--no-install-recommends', ...missing]);
  } finally {
    removePolicy();
  }
}

/** invoke-rc.d asks this file whether a package may start its daemons; 101 means no. */
function forbidServiceStarts(): () => void {
  const policyFile = '/usr/sbin/policy-rc.d';
  if (existsSync(policyFile)) return () => {};
  writeFileSync(policyFile, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  return () => rmSync(policyFile, { force: true });
}

export interface UnixUser {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

/** A user of this machine; throws when there is none of that name. */
export function unixUser(name: string): UnixUser {
  const line = readFileSync('/etc/passwd', 'utf8').split('\n').find((candidate) => candidate.startsWith(`${name}:`));
  if (line === undefined) throw new Error(`no Unix user ${name}`);
  const [, , uid, gid, , home] = line.split(':');
  return { name, uid: Number(uid), gid: Number(gid), home: home ?? '/' };
}

/** The rig's user, created when missing. */
export function ensureRigUser(): UnixUser {
  const known = readFileSync('/etc/passwd', 'utf8').includes(`\n${RIG_USER}:`);
  if (!known) execFileSync('useradd', ['--create-home', '--shell', '/bin/bash', RIG_USER]);
  // sshd calls an account with the password "!" locked, even for key logins; "*" is only "no password fits".
  execFileSync('usermod', ['-p', '*', RIG_USER]);
  return unixUser(RIG_USER);
}
