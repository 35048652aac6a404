/**
 * Virtual environments for the tests of what is written in Python, with packages from PyPI. They are kept between runs in
 * `$XDG_CACHE_HOME/expgraph-tests` (`~/.cache/expgraph-tests`), each under a name that tells its interpreter and packages.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const INSTALL_TIMEOUT_MS = 10 * 60_000;

/** Directory of the programs of an environment, or why it cannot be had. */
export type PythonEnvironment = { bin: string; unavailable: null } | { bin: null; unavailable: string };

/** The environment with these packages, made if it is not there yet. */
export async function pythonEnvironment(name: string, packages: readonly string[]): Promise<PythonEnvironment> {
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'expgraph-tests');
  try {
    const { stdout: interpreter } = await run('python3', ['-c', 'import sys; print(sys.version, sys.base_prefix)']);
    const link = join(cache, `${name}-${createHash('sha256').update(JSON.stringify([interpreter, packages])).digest('hex').slice(0, 12)}`);
    if (!existsSync(join(link, 'bin/python'))) await make(link, cache, packages);
    return { bin: join(link, 'bin'), unavailable: null };
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    return { bin: null, unavailable: `no Python environment with ${packages.join(' ')}: ${(stderr?.trim() || message).split('\n').at(-1)}` };
  }
}

/** Under a name of its own, and under the common one when it is whole: others may be making the same. */
async function make(link: string, cache: string, packages: readonly string[]): Promise<void> {
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(`${link}-`);
  try {
    await run('python3', ['-m', 'venv', folder], { timeout: INSTALL_TIMEOUT_MS });
    await run(join(folder, 'bin/python'), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages], { timeout: INSTALL_TIMEOUT_MS });
    await symlink(basename(folder), `${folder}.link`);
    await rename(`${folder}.link`, link);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}
