/** What the program that archives checkpoints leaves as it is, and what it puts in order. */
import { mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { isTarArchive, restoreCommand } from '../../../src/domain/checkpoint-requests/archive-name.ts';
import { ID, content, fake, file, folder, freshJobDirectory, job, names, put, record, root, run } from './program-run.ts';

freshJobDirectory();

describe('what is not what it was when somebody asked is left as it is', () => {
  test.each(['ARCHIVE', 'DELETE', 'DIGEST'] as const)('%s of a file with the same size that was written later', async (action) => {
    await put('checkpoints/a.ckpt');
    const recorded = await record(file('checkpoints/a.ckpt'));
    await writeFile(`${job}/checkpoints/a.ckpt`, content.toUpperCase());
    expect((await run(action, { ...file('checkpoints/a.ckpt'), recorded })).report).toEqual({ kind: 'FAILED', problem: 'it has changed since it was asked for' });
    expect(await names()).toEqual(['a.ckpt']);
    expect(await readFile(`${job}/checkpoints/a.ckpt`, 'utf8')).toBe(content.toUpperCase());
  });

  test.each([
    ['one file more', () => put('checkpoints/b/deep/more.bin', '')], ['one byte more', () => put('checkpoints/b/deep/model.bin', `${content}x`)],
    ['one file less', () => rm(`${job}/checkpoints/b/deep/model.bin`)], ['another file of that name', () => writeFile(`${job}/checkpoints/b/deep/model.bin`, content)],
  ])('a folder with %s', async (_, change) => {
    await put('checkpoints/b/deep/model.bin');
    const recorded = await record(folder('checkpoints/b'));
    await change();
    for (const action of ['ARCHIVE', 'DELETE'] as const) expect((await run(action, { ...folder('checkpoints/b'), recorded })).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/has changed/) });
    expect(await names()).toEqual(['b']);
  });

  test('only so deep as it was looked at is it compared', async () => {
    await put('checkpoints/b/c/d/e/f/too-deep.bin');
    const lookedAt = new Date('2026-01-02T03:04:05.500Z');
    for (const path of ['c/d/e/f', 'c/d/e', 'c/d', 'c', '']) await utimes(`${job}/checkpoints/b/${path}`, lookedAt, lookedAt);
    const recorded = { fileCount: 0, sizeBytes: 0, writtenAt: lookedAt, lookedDepth: 6 };
    expect((await run('ARCHIVE', { ...folder('checkpoints/b'), recorded })).report).toMatchObject({ kind: 'ARCHIVED' });
  });

  test('what an earlier run had moved is compared when it is back', async () => {
    await put('checkpoints/a.ckpt');
    const recorded = await record(file('checkpoints/a.ckpt'));
    await mkdir(`${job}/checkpoints/.expgraph-${ID}.old`);
    await rename(`${job}/checkpoints/a.ckpt`, `${job}/checkpoints/.expgraph-${ID}.old/a.ckpt`);
    expect((await run('ARCHIVE', { ...file('checkpoints/a.ckpt'), recorded })).report).toMatchObject({ kind: 'ARCHIVED' });
  });
});

test.each(['ARCHIVE', 'DELETE'] as const)('%s says where the original lies when something else has taken its place', async (action) => {
  await put('checkpoints/a.ckpt', 'new');
  const old = `${job}/checkpoints/.expgraph-${ID}.old`;
  await mkdir(old);
  await writeFile(`${old}/a.ckpt`, content);
  expect((await run(action, file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'FAILED', problem: expect.stringContaining(`it lies in .expgraph-${ID}.old`) });
  expect([await readFile(`${old}/a.ckpt`, 'utf8'), await readFile(`${job}/checkpoints/a.ckpt`, 'utf8')]).toEqual([content, 'new']);
});

test('what waits in vain for its turn was not begun with', async () => {
  await put('checkpoints/a.ckpt');
  await fake('flock', 'exit 75');
  const { begun, busy, report } = await run('ARCHIVE', file('checkpoints/a.ckpt'));
  expect([begun, busy, report, await names()]).toEqual([[], [ID], undefined, ['a.ckpt']]);
});

test('one file that is called like a tar is archived, restored, and comes back by the command that people are shown', async () => {
  const path = 'checkpoints/model_best.pth.tar';
  await put(path);
  expect((await run('ARCHIVE', file(path))).report).toMatchObject({ kind: 'ARCHIVED', suffix: '.zst' });
  expect(isTarArchive(`${job}/${path}`, `${job}/${path}.zst`)).toBe(false);
  expect(restoreCommand(`${job}/${path}`, `${job}/${path}.zst`)).toBe(`zstd -dc -- '${job}/${path}.zst' > '${job}/${path}'`);
  expect((await run('RESTORE', file(path))).report).toEqual({ kind: 'RESTORED' });
  expect(await readFile(`${job}/${path}`, 'utf8')).toBe(content);
});

test('it is restored from its own archive, whatever else lies beside that', async () => {
  await put('checkpoints/a.ckpt');
  await run('ARCHIVE', file('checkpoints/a.ckpt'));
  await put('checkpoints/a.ckpt.gz', 'mine');
  expect((await run('RESTORE', { ...file('checkpoints/a.ckpt'), archivePath: `${job}/checkpoints/a.ckpt.zst` })).report).toEqual({ kind: 'RESTORED' });
  expect(await names()).toEqual(['a.ckpt', 'a.ckpt.gz']);
});

test('that is told to end while the original is out of the way puts it back', async () => {
  await put('checkpoints/b/model.bin');
  await fake('sha256sum', `[ ! -e '${job}/checkpoints/.expgraph-${ID}.old/b' ] || [ -e '${root}/once' ] || { touch '${root}/once'; kill -TERM 0; }; exec /usr/bin/sha256sum "$@"`);
  const { report } = await run('ARCHIVE', folder('checkpoints/b'));
  expect(report).toBeUndefined();
  expect((await readdir(root)).includes('once')).toBe(true);
  expect(await names()).toEqual(['b', 'b.tar.zst']);
  expect(await readFile(`${job}/checkpoints/b/model.bin`, 'utf8')).toBe(content);
});

describe('what is given up', () => {
  test.each(['ARCHIVE', 'DELETE'] as const)('is whole again: %s', async (action) => {
    await put('checkpoints/a.ckpt');
    await record(file('checkpoints/a.ckpt'));
    await mkdir(`${job}/checkpoints/.expgraph-${ID}.old`);
    await rename(`${job}/checkpoints/a.ckpt`, `${job}/checkpoints/.expgraph-${ID}.old/a.ckpt`);
    expect((await run(action, { ...file('checkpoints/a.ckpt'), giveUpReason: "it's slow" })).report).toEqual({ kind: 'FAILED', problem: "it's slow" });
    expect(await names()).toEqual(['a.ckpt']);
  });

  test('is told as archived when nothing but the answer was missing', async () => {
    await put('checkpoints/a.ckpt');
    await run('ARCHIVE', file('checkpoints/a.ckpt'));
    expect((await run('ARCHIVE', { ...file('checkpoints/a.ckpt'), giveUpReason: 'it is slow' })).report).toMatchObject({ kind: 'ARCHIVED', suffix: '.zst' });
  });
});

test.each(['ARCHIVE', 'RESTORE'] as const)('%s takes nothing away when the disk cannot keep what was written', async (action) => {
  await put('checkpoints/a.ckpt');
  if (action === 'RESTORE') await run('ARCHIVE', file('checkpoints/a.ckpt'));
  const before = await names();
  await fake('sync', `case "$*" in *.new*) echo "sync: error syncing: Input/output error" >&2; exit 1 ;; *) exec /bin/sync "$@" ;; esac`);
  expect((await run(action, file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/Input\/output error/) });
  expect(await names()).toEqual(before);
});

test('whoever is at work in the folder is waited for, by a lock on a file that can be written to', async () => {
  await put('checkpoints/a.ckpt');
  await fake('flock', `[ -w /dev/fd/9 ] && [ -f /dev/fd/9 ] && touch '${root}/locked'; exec /usr/bin/flock "$@"`);
  await run('ARCHIVE', file('checkpoints/a.ckpt'));
  expect(await readdir(root)).toContain('locked');
});
