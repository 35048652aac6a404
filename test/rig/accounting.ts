/** Accounting: one MariaDB and one slurmdbd that serve every cluster of the rig. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { mungeSocket } from './munge.ts';
import { unixUser } from './packages.ts';
import { untilListening } from './ports.ts';
import { startDaemon } from './processes.ts';

const run = promisify(execFile);
const DATABASE_NAME = 'slurm_acct_db';

export interface AccountingPorts {
  mariadb: number;
  slurmdbd: number;
}

/** Makes an empty database with one user and starts it; answers that user's password. */
export async function startMariadb(rigDirectory: string, port: number): Promise<string> {
  const folder = join(rigDirectory, 'mariadb');
  const dataDirectory = join(folder, 'data');
  const owner = unixUser('mysql');
  mkdirSync(folder, { recursive: true });
  chownSync(folder, owner.uid, owner.gid);
  await run('/usr/bin/mariadb-install-db', [
    '--no-defaults', '--user=mysql', `--datadir=${dataDirectory}`, '--auth-root-authentication-method=socket', '--skip-test-db', '--skip-name-resolve',
  ]);
  const password = randomBytes(24).toString('hex');
  const initFile = join(folder, 'init.sql');
  writeFileSync(initFile, [
    `CREATE DATABASE ${DATABASE_NAME};`,
    `CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY '${password}';`,
    `GRANT ALL ON ${DATABASE_NAME}.* TO 'slurm'@'127.0.0.1';`,
    '',
  ].join('\n'), { mode: 0o600 });
  chownSync(initFile, owner.uid, owner.gid);
  startDaemon(rigDirectory, {
    name: 'mariadbd',
    argv: [
      '/usr/sbin/mariadbd', '--no-defaults', '--user=mysql', `--datadir=${dataDirectory}`, `--init-file=${initFile}`,
      `--socket=${join(folder, 'socket')}`, `--pid-file=${join(folder, 'pid')}`, '--bind-address=127.0.0.1', `--port=${port}`, '--skip-name-resolve',
      '--innodb-buffer-pool-size=64M', '--innodb-log-file-size=32M', '--innodb-lock-wait-timeout=900', '--innodb-flush-log-at-trx-commit=0', '--innodb-flush-method=nosync',
      '--max-allowed-packet=16M',
    ],
    environment: {},
  });
  await untilListening(port, 'mariadbd', 30_000);
  return password;
}

/** Starts slurmdbd over that database and waits until it answers. */
export async function startSlurmdbd(rigDirectory: string, ports: AccountingPorts, databasePassword: string): Promise<void> {
  const folder = join(rigDirectory, 'slurmdbd');
  mkdirSync(folder, { recursive: true });
  const configFile = join(folder, 'slurmdbd.conf');
  writeFileSync(configFile, [
    'AuthType=auth/munge',
    `AuthInfo=socket=${mungeSocket(rigDirectory)}`,
    // A host name, not an address: slurmdbd compares it with the names of this machine.
    'DbdHost=localhost',
    'DbdAddr=127.0.0.1',
    `DbdPort=${ports.slurmdbd}`,
    'SlurmUser=root',
    'DebugLevel=info',
    `LogFile=${join(folder, 'slurmdbd.log')}`,
    `PidFile=${join(folder, 'slurmdbd.pid')}`,
    'CommunicationParameters=NoInAddrAny',
    'StorageType=accounting_storage/mysql',
    'StorageHost=127.0.0.1',
    `StoragePort=${ports.mariadb}`,
    'StorageUser=slurm',
    `StoragePass=${databasePassword}`,
    `StorageLoc=${DATABASE_NAME}`,
    '',
  ].join('\n'));
  chmodSync(configFile, 0o600);
  startDaemon(rigDirectory, {
    name: 'slurmdbd',
    argv: ['/usr/sbin/slurmdbd', '-D'],
    // slurmdbd.conf is looked for beside the slurm.conf that this names; that file itself need not exist.
    environment: { SLURM_CONF: join(folder, 'slurm.conf') },
  });
  await untilListening(ports.slurmdbd, 'slurmdbd', 30_000);
}

/** Makes the clusters, account, QOS and user known to accounting. */
export async function defineAssociations(slurmConf: string, clusterNames: string[], user: string): Promise<void> {
  const sacctmgr = (...argv: string[]) => run('/usr/bin/sacctmgr', ['--immediate', '--quiet', ...argv], { env: { SLURM_CONF: slurmConf } });
  await sacctmgr('add', 'cluster', ...clusterNames);
  await sacctmgr('add', 'qos', 'single', 'MaxJobsPerUser=1');
  await sacctmgr('add', 'account', 'cds', 'Organization=rig');
  await sacctmgr('add', 'user', user, 'DefaultAccount=cds', 'Account=cds', 'QOS=normal,single', 'DefaultQOS=normal');
}
