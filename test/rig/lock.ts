/** One builder at a time: a kernel lock that is gone with its holder, however that ends. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Runs the work while holding the lock file; waits for another holder. */
export async function withLock<T>(lockFile: string, work: () => Promise<T>): Promise<T> {
  // flock(1) holds the lock until its standard input, which is ours, is closed.
  const holder = spawn('flock', ['--exclusive', lockFile, 'sh', '-c', 'echo locked; exec cat >/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(holder, 'exit');
  await Promise.race([once(holder.stdout, 'data'), ended.then(() => { throw new Error(`cannot lock ${lockFile}`); })]);
  try {
    return await work();
  } finally {
    holder.stdin.end();
    await ended;
  }
}
