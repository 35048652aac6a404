/**
 * A PostgreSQL server of our own, for whoever sets no DATABASE_URL. It lives in one folder:
 *
 *   lock       who uses the folder (one process at a time)
 *   data-18/   the database
 *   socket/    0700: the only way in; there is no TCP port and no password, the kernel tells the server who connects
 *   server.log
 *   programs/  a copy of PostgreSQL's programs, only where the installed ones cannot be used
 *
 * It is stopped with its owner, and started again when it ends by itself. Where the owner was killed, the server runs on; the next start
 * stops it first.
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmod, chown, lstat, mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { UserError } from '../domain/errors.ts';
import { locateBinaries, type Binaries } from './embedded/binaries.ts';
import { lockFolder, type FolderLock } from './embedded/lock.ts';
import { asUser, clearLeftover, clearReusedId, refuseOtherVersion, SERVER_ENVIRONMENT, startPostmaster, type Postmaster } from './embedded/postmaster.ts';
import { supervise, type SupervisedServer } from './embedded/supervisor.ts';
import { firstClosedFolder, serverUser, type ServerUser } from './embedded/user.ts';
import type { DatabaseLog } from './log.ts';
import { makeFolder } from './make-folder.ts';

const run = promisify(execFile);

const ROLE = 'expgraph';
/** The kernel's limit on a socket's path is 108 bytes (104 on macOS), a closing NUL and `/.s.PGSQL.5432` among them. */
const MAX_SOCKET_FOLDER_BYTES = 88;

/** One machine, a few dozen connections, durable: a commit that was answered survives a power cut. */
const SETTINGS: Record<string, string> = {
  listen_addresses: '',
  port: '5432',
  unix_socket_permissions: '0700',
  max_connections: '60',
  shared_buffers: '128MB',
  work_mem: '16MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_logical_replication_workers: '0',
  wal_compression: 'on',
  max_wal_size: '1GB',
  checkpoint_timeout: '15min',
  random_page_cost: '1.1',
  jit: 'off',
  io_method: 'sync',
  log_min_messages: 'warning',
  log_min_error_statement: 'panic',
  log_line_prefix: '%m [%p] ',
};
const NOT_DURABLE: Record<string, string> = { fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off' };

export interface EmbeddedPostgresOptions {
  /** Made when missing. Needs to be where the server's user can reach it, when that is another one than this process's. */
  dataDirectory: string;
  logger?: DatabaseLog;
  /** False only where the data may be lost: tests. */
  durable?: boolean;
  /** Breaks the start off: it rejects with the signal's reason, and nothing is left running. */
  signal?: AbortSignal | undefined;
}

export interface EmbeddedPostgres {
  url: string;
  /** Ends all sessions, writes everything to disk and stops the server. */
  stop(): Promise<void>;
}

/**
 * Starts the server, with a new database when the folder has none. Throws UserError CONFLICT when another process uses the
 * folder, when it was made by another major version, or when there is no way to run PostgreSQL here.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const folder = resolve(options.dataDirectory);
  const user = await serverUser();
  await prepareFolder(folder, user);
  const lock = await lockFolder(join(folder, 'lock'), folder);
  try {
    const binaries = await locateBinaries(user, join(folder, 'programs'));
    const dataFolder = await prepareData(folder, binaries, user, options);
    if (await clearLeftover(dataFolder)) options.logger?.warn({ folder }, 'stopped a database server that a killed process had left running');
    const socketFolder = await prepareSocketFolder(folder, user);
    const settings = { ...SETTINGS, ...(options.durable === false ? NOT_DURABLE : {}), unix_socket_directories: socketFolder };
    const start = (signal: AbortSignal | undefined): Promise<Postmaster> => startPostmaster({
      program: binaries.postgres, dataFolder, user, logFile: join(folder, 'server.log'), signal, log: options.logger,
      arguments: Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    });
    const server = supervise(await start(options.signal), async (signal) => {
      await clearReusedId(dataFolder);
      await prepareSocketFolder(folder, user);
      return start(signal);
    }, options.logger);
    return { url: `postgresql://${ROLE}@/postgres?host=${encodeURIComponent(socketFolder)}`, stop: own({ server, lock, socketFolder }) };
  } catch (error) {
    lock.release();
    throw error;
  }
}

interface Owned {
  server: SupervisedServer;
  lock: FolderLock;
  socketFolder: string;
}

/** Ties the server to this process: stopped on demand, and asked to stop if the process exits without having done so. */
function own({ server, lock, socketFolder }: Owned): () => Promise<void> {
  let stopping: Promise<void> | null = null;
  const onExit = (): void => {
    server.abandon();
    lock.release();
  };
  process.once('exit', onExit);
  return () => {
    stopping ??= (async () => {
      await server.stop();
      process.removeListener('exit', onExit);
      await rm(socketFolder, { recursive: true, force: true });
      lock.release();
    })();
    return stopping;
  };
}

async function prepareFolder(folder: string, user: ServerUser): Promise<void> {
  try {
    await makeFolder(folder);
    if (user.isOther) await chown(folder, user.uid, user.gid);
    await chmod(folder, 0o700);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw UserError.of('CONFLICT', `the data directory cannot be used: ${error instanceof Error ? error.message : error}`);
  }
  const closed = await firstClosedFolder(user, join(folder, 'lock'));
  if (closed !== null) {
    const advice = 'choose a data directory elsewhere (EXPGRAPH_DATA_DIR=/var/lib/expgraph)';
    throw UserError.of('CONFLICT', `PostgreSQL runs as user "${user.name}" here, who may not enter ${closed}; ${advice}`);
  }
}

/** The folder with the database, made whole or not at all. */
async function prepareData(folder: string, binaries: Binaries, user: ServerUser, { durable = true, signal }: EmbeddedPostgresOptions): Promise<string> {
  const entries = await readdir(folder);
  for (const draft of entries.filter((name) => name.startsWith('draft-'))) await rm(join(folder, draft), { recursive: true, force: true });
  const existing = entries.find((name) => name.startsWith('data-'));
  if (existing !== undefined) {
    const version = (await readFile(join(folder, existing, 'PG_VERSION'), 'utf8').catch(() => '?')).trim();
    refuseOtherVersion(version, binaries.majorVersion, folder);
    return join(folder, existing);
  }
  const draft = join(folder, `draft-${randomUUID()}`);
  const making = run(binaries.initdb, [
    '-D', draft, '-U', ROLE, '-A', 'peer', '-E', 'UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8',
    '--no-instructions', ...(durable ? [] : ['--no-sync']),
  ], { cwd: folder, env: SERVER_ENVIRONMENT, ...asUser(user), signal });
  await making.catch(async (error: { stderr?: string; message: string }) => {
    const { pid, exitCode, signalCode } = making.child;
    // Told to end, it tidies up first: until then the folder is in use.
    if (pid !== undefined && exitCode === null && signalCode === null) await once(making.child, 'exit');
    signal?.throwIfAborted();
    throw UserError.of('CONFLICT', `the database cannot be made in ${folder}: ${error.stderr?.trim() || error.message}`);
  });
  await writeAccess(draft, user);
  const data = join(folder, `data-${binaries.majorVersion}`);
  await rename(draft, data);
  return data;
}

/** Who may connect as our role: the user the server runs as, root, and nobody else. */
async function writeAccess(dataFolder: string, user: ServerUser): Promise<void> {
  const names = new Set([user.name, userInfo().username, 'root']);
  await writeFile(join(dataFolder, 'pg_hba.conf'), 'local all all peer map=owner\n');
  await writeFile(join(dataFolder, 'pg_ident.conf'), [...names].map((name) => `owner "${name}" ${ROLE}\n`).join(''));
}

/** Below the folder where the path is short enough, else in the temporary directory, where the same folder is used again. */
async function prepareSocketFolder(folder: string, user: ServerUser): Promise<string> {
  const own = join(folder, 'socket');
  const path = Buffer.byteLength(own) <= MAX_SOCKET_FOLDER_BYTES ? own
    : join(tmpdir(), `expgraph-${user.uid}-${(await stat(folder)).ino.toString(36)}`);
  await mkdir(path, { mode: 0o700 }).catch(async (error: NodeJS.ErrnoException) => {
    // In a shared directory somebody else may have put something in its place.
    const entry = await lstat(path);
    if (error.code !== 'EEXIST' || !entry.isDirectory() || (entry.uid !== user.uid && entry.uid !== process.getuid?.())) throw error;
  });
  if (user.isOther) await chown(path, user.uid, user.gid);
  await chmod(path, 0o700);
  // A killed server's socket lock names a process id that may by now be somebody else's.
  await Promise.all(['.s.PGSQL.5432', '.s.PGSQL.5432.lock'].map((name) => rm(join(path, name), { force: true })));
  return path;
}
