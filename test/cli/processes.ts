import { readFile, readdir } from 'node:fs/promises';

/** Every process, but this one, with the path in its command line or environment. Linux only. */
export async function processesOf(path: string): Promise<{ pid: number; command: string }[]> {
  const found: { pid: number; command: string }[] = [];
  for (const name of await readdir('/proc')) {
    const pid = Number(name);
    if (!pid || pid === process.pid) continue;
    const [command, environment] = await Promise.all(['cmdline', 'environ'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')));
    if (`${command}${environment}`.includes(path)) found.push({ pid, command: command?.replaceAll('\0', ' ') ?? '' });
  }
  return found;
}
