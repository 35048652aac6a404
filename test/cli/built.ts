import { execFileSync } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');

/** Builds `dist/` if a source file is newer. `npm ci` has built it already, so this is for those who edit. */
export async function ensureBuilt(): Promise<void> {
  const source = join(root, 'src');
  const changed = await Promise.all((await readdir(source, { recursive: true })).map(async (name) => (await stat(join(source, name))).mtimeMs));
  const built = await stat(join(root, 'dist/server/main.js')).then(({ mtimeMs }) => mtimeMs, () => 0);
  if (Math.max(...changed) > built) execFileSync('npm', ['run', 'build'], { cwd: root, stdio: 'inherit' });
}
