/** How many entries lie below directories, where they are too many to be listed. */
import { randomBytes } from 'node:crypto';
import type { Transport } from '../transport.ts';
import { assertAbsolutePath } from './command.ts';

// The mark tells our lines from the greeting of a login shell.
const COUNT_SCRIPT = `
mark=$1 depth=$2 most=$3; shift 3
for directory do
  printf '%s %s\\n' "$mark" "$(find -H "$directory" -mindepth 1 -maxdepth "$depth" -printf x 2>/dev/null | head -c "$most" | wc -c)"
done`;

/** For each directory, at most `most`; null where nobody could tell. Rejects with TransportError as any command. */
export async function countEntries(exec: Transport['exec'], directories: readonly string[], maxDepth: number, most: number): Promise<(number | null)[]> {
  directories.forEach(assertAbsolutePath);
  if (directories.length === 0) return [];
  const mark = randomBytes(16).toString('hex');
  const { stdout } = await exec(['sh', '-c', COUNT_SCRIPT, 'sh', mark, String(maxDepth), String(most), ...directories]);
  const counts = stdout.toString('utf8').split('\n').filter((line) => line.startsWith(`${mark} `)).map((line) => Number(line.slice(mark.length)));
  return directories.map((_, index) => counts[index] ?? null);
}
