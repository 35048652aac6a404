import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TransportError, type ListRequest } from '../../src/cluster/transport.ts';
import { openLocalTransport } from '../../src/cluster/transport/local.ts';
import { listDirectories } from '../../src/reconcilers/harvest-list.ts';

const transport = openLocalTransport();
let root: string;
let directories: string[];
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'expgraph-list-'));
  directories = ['a', 'b', 'c', 'd', 'e'].map((name) => join(root, name));
  for (const directory of directories) {
    const count = directory.endsWith('b') ? 200 : 3;
    await mkdir(directory);
    for (let file = 0; file < count; file += 1) await writeFile(join(directory, `f${file}`), '');
  }
});
afterAll(async () => {
  await transport.close();
  await rm(root, { recursive: true, force: true });
});

const countIn = (entries: { path: string }[], directory: string): number => entries.filter(({ path }) => path.startsWith(`${directory}/`)).length;

test('a directory with too many files is cut short, and every other one is listed whole', async () => {
  const { entries, truncated } = await listDirectories(transport, directories, { maxDepth: 1, maxEntries: 80 });
  expect([...truncated]).toEqual([directories[1]]);
  expect(directories.map((directory) => countIn(entries, directory)).toSpliced(1, 1)).toEqual([3, 3, 3, 3]);
  expect(entries.length).toBeLessThanOrEqual(80);
});

test('so is one whose listing is more text than is taken', async () => {
  const list = async (request: ListRequest) => {
    if (request.directories.includes(directories[1]!)) throw new TransportError('output-limit', 'the command printed more than 10 bytes');
    return transport.list(request);
  };
  const { entries, truncated } = await listDirectories({ list }, directories, { maxDepth: 1, maxEntries: 80 });
  expect([...truncated]).toEqual([directories[1]]);
  expect(entries).toHaveLength(12);
});

test('where all fits, one listing is enough', async () => {
  let calls = 0;
  const list = async (request: ListRequest) => {
    calls += 1;
    return transport.list(request);
  };
  const { entries, truncated } = await listDirectories({ list }, directories, { maxDepth: 1, maxEntries: 1000 });
  expect([calls, truncated.size, entries.length]).toEqual([1, 0, 212]);
});
