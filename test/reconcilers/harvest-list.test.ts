import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TransportError, type ListRequest } from '../../src/cluster/transport.ts';
import { openLocalTransport } from '../../src/cluster/transport/local.ts';
import { fillWithFiles } from '../support/many-files.ts';
import { listDirectories, listJobs } from '../../src/reconcilers/harvest-list.ts';

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

test('of a job with 40,000 files in one folder all else is listed, and what is left out is counted', async () => {
  const job = join(root, 'job');
  await mkdir(join(job, 'checkpoints/step_5'), { recursive: true });
  await mkdir(join(job, 'attempts/1'), { recursive: true });
  await mkdir(join(job, 'zz'));
  for (const path of ['metrics.jsonl', 'attempts/1/exit.json', 'checkpoints/step_9.pt', 'zz/metrics.csv']) await writeFile(join(job, path), '');
  await fillWithFiles(join(job, 'checkpoints/step_5'), 40_000);
  const { entries, leftOut } = await listJobs(transport, { jobs: [job, directories[0]!], others: [directories[2]!] }, { maxDepth: 6, maxEntries: 200_000 });
  const listed = new Set(entries.get(job)!.map(({ path }) => path));
  for (const path of ['metrics.jsonl', 'attempts/1/exit.json', 'checkpoints/step_9.pt', 'zz/metrics.csv']) expect(listed.has(join(job, path))).toBe(true);
  expect(listed.size).toBeLessThanOrEqual(25_000);
  // Five folders, four files, and those in one of the folders.
  expect([...leftOut]).toEqual([[job, 40_009 - listed.size]]);
  expect(entries.get(directories[0]!)).toHaveLength(3);
});

test('a job whose files would fit but for those of the others is listed whole', async () => {
  const { entries, leftOut, others } = await listJobs(transport, { jobs: directories.slice(0, 4), others: [directories[4]!] }, { maxDepth: 1, maxEntries: 80 });
  expect([...entries.values()].map((each) => each.length)).toEqual([3, 200, 3, 3]);
  expect([leftOut.size, others.length]).toEqual([0, 3]);
});
