import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startPostmaster, stopPostmaster } from '../../src/db/embedded/postmaster.ts';

let folder: string;
beforeEach(async () => { folder = await mkdtemp(join(tmpdir(), 'expgraph-postmaster-')); });
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

/** Says in its pid file that it recovers, until the file `recovered` is there. */
const RECOVERING = `#!/bin/sh
trap 'exit 0' INT
say() { printf '%s\\n' $$ 2 3 4 5 6 7 "$1" > postmaster.pid; }
say starting
while [ ! -e recovered ]; do sleep 0.02; done
say ready
while :; do sleep 0.02; done
`;

const start = async (log: () => void, signal?: AbortSignal) => {
  const dataFolder = join(folder, 'data');
  const program = join(folder, 'server');
  await mkdir(dataFolder);
  await writeFile(program, RECOVERING);
  await chmod(program, 0o755);
  const user = { uid: 0, gid: 0, name: 'me', isOther: false };
  return startPostmaster({ program, dataFolder, arguments: [], logFile: join(folder, 'server.log'), user, signal, log: { info: log, warn: log, error: log } });
};

test('a server that recovers after a crash is given all the time it needs, and whoever waits is told', async () => {
  const clock = vi.spyOn(Date, 'now');
  let minutes = 0;
  clock.mockImplementation(() => (minutes += 1) * 60_000);
  let started: ReturnType<typeof start> | undefined;
  await new Promise<void>((resolve, reject) => {
    started = start(resolve);
    started.catch(reject);
  });
  clock.mockRestore();
  expect(minutes).toBeGreaterThan(1);
  await writeFile(join(folder, 'data', 'recovered'), '');
  const { pid } = await started!;
  await stopPostmaster(pid);
});

test('one that is not wanted any more is stopped while it recovers', async () => {
  const stopping = new AbortController();
  const started = start(() => undefined, stopping.signal);
  stopping.abort(new Error('stopped'));
  await expect(started).rejects.toThrow('stopped');
});
