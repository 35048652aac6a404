/** The program that archives checkpoints on odd files, odd disks, and beside others. */
import { execFile } from 'node:child_process';
import { chmod, chown, link, mkdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { ID, content, fake, file, folder, freshJobDirectory, job, names, put, root, run, useFakes } from './program-run.ts';

freshJobDirectory();

describe.skipIf(process.getuid?.() !== 0)('of somebody who is not root (for root, who may be anybody)', () => {
  const NOBODY = 65534;
  const own = async (...paths: string[]): Promise<void> => {
    await chmod(root, 0o755);
    for (const path of ['checkpoints', ...paths]) await chown(`${job}/${path}`, NOBODY, NOBODY);
  };

  test('a folder with a file of a group that cannot be given back comes back all the same', async () => {
    await put('checkpoints/b/model.bin');
    await own('checkpoints/b', 'checkpoints/b/model.bin');
    await chown(`${job}/checkpoints/b/model.bin`, NOBODY, 100);
    expect((await run('ARCHIVE', folder('checkpoints/b'), 'r1', { uid: NOBODY })).report).toMatchObject({ kind: 'ARCHIVED' });
    expect((await run('RESTORE', folder('checkpoints/b'), 'r1', { uid: NOBODY })).report).toEqual({ kind: 'RESTORED' });
    expect([await names(), await readFile(`${job}/checkpoints/b/model.bin`, 'utf8')]).toEqual([['b'], content]);
  });

  test.each(['ARCHIVE', 'DELETE'] as const)('a folder that is read-only is left alone by %s, and nothing beside it', async (action) => {
    await put('checkpoints/b/model.bin');
    await own('checkpoints/b', 'checkpoints/b/model.bin');
    await chmod(`${job}/checkpoints/b`, 0o555);
    expect((await run(action, folder('checkpoints/b'), 'r1', { uid: NOBODY })).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/b is read-only.*chmod u\+w/) });
    expect(await names()).toEqual(['b']);
  });

  test('a folder with a read-only one in it is archived and restored, and deleted', async () => {
    await put('checkpoints/b/deep/model.bin');
    await own('checkpoints/b', 'checkpoints/b/deep', 'checkpoints/b/deep/model.bin');
    await chmod(`${job}/checkpoints/b/deep`, 0o555);
    expect((await run('ARCHIVE', folder('checkpoints/b'), 'r1', { uid: NOBODY })).report).toMatchObject({ kind: 'ARCHIVED' });
    expect(await names()).toEqual(['b.tar.zst']);
    expect((await run('RESTORE', folder('checkpoints/b'), 'r1', { uid: NOBODY })).report).toEqual({ kind: 'RESTORED' });
    expect([await names(), (await stat(`${job}/checkpoints/b/deep`)).mode & 0o777]).toEqual([['b'], 0o555]);
    expect((await run('DELETE', folder('checkpoints/b'), 'r1', { uid: NOBODY })).report).toMatchObject({ kind: 'DELETED' });
    expect(await names()).toEqual([]);
  });
});

test('names that look like what tar tells hide no difference', async () => {
  await put('checkpoints/b/x": Uid differs');
  await put('checkpoints/b/y');
  await fake('tar', `case "$1" in -d) printf changed > '${job}/checkpoints/b/y' ;; esac; exec /bin/tar "$@"`);
  expect((await run('ARCHIVE', folder('checkpoints/b'))).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/read back/) });
  expect([await names(), await readFile(`${job}/checkpoints/b/y`, 'utf8')]).toEqual([['b'], 'changed']);
});

test('of a file with another name elsewhere nothing is freed, and that stays as it is', async () => {
  for (const name of ['kept', 'b/one', 'b/two']) await put(`checkpoints/${name}`);
  await link(`${job}/checkpoints/kept`, `${job}/checkpoints/b/linked`);
  await link(`${job}/checkpoints/b/one`, `${job}/checkpoints/b/one-again`);
  await chmod(`${job}/checkpoints/kept`, 0o444);
  expect((await run('DELETE', folder('checkpoints/b'))).report).toEqual({ kind: 'DELETED', freedBytes: 2 * content.length });
  expect([await names(), (await stat(`${job}/checkpoints/kept`)).mode & 0o777]).toEqual([['kept'], 0o444]);
});

test.each([['a file', file], ['a folder', folder]])('%s is deleted from a disk that takes no new folder', async (_, item) => {
  await put(item === file ? 'checkpoints/a' : 'checkpoints/a/model.bin');
  await fake('mkdir', 'echo "No space left on device" >&2; exit 1');
  expect((await run('DELETE', item('checkpoints/a'))).report).toEqual({ kind: 'DELETED', freedBytes: content.length });
  expect(await names()).toEqual([]);
});

test.each(['ARCHIVE', 'RESTORE'] as const)('%s takes nothing away when the disk cannot keep the names', async (action) => {
  await put('checkpoints/a.ckpt');
  if (action === 'RESTORE') await run('ARCHIVE', file('checkpoints/a.ckpt'));
  await fake('sync', `case "$*" in '-- .') echo "sync: error syncing '.': Input/output error" >&2; exit 1 ;; *) exec /bin/sync "$@" ;; esac`);
  expect((await run(action, file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/Input\/output error/) });
  expect(await names()).toEqual(['a.ckpt', 'a.ckpt.zst']);
});

test('a file system that cannot do that for one folder is no obstacle', async () => {
  await put('checkpoints/a.ckpt');
  await fake('sync', `case "$*" in '-- .') echo "sync: error syncing '.': Invalid argument" >&2; exit 1 ;; *) exec /bin/sync "$@" ;; esac`);
  expect((await run('ARCHIVE', file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'ARCHIVED' });
});

test.each(['ARCHIVE', 'DELETE'] as const)('%s takes nothing away where nobody can tell whether it changes', async (action) => {
  await put('checkpoints/b/model.bin');
  await fake('sha256sum', 'exit 1');
  expect((await run(action, folder('checkpoints/b'))).report).toMatchObject({ kind: 'FAILED', problem: 'not all of it can be looked at' });
  expect(await names()).toEqual(['b']);
});

test('what takes the place of the original while that is away is not overwritten, and both are told of', async () => {
  await put('checkpoints/a.ckpt');
  await fake('mv', `/bin/mv "$@"; rc=$?; case "$*" in "-t ./.expgraph-${ID}.old"*) printf new > '${job}/checkpoints/a.ckpt'; printf more >> '${job}/checkpoints/.expgraph-${ID}.old/a.ckpt' ;; esac; exit $rc`);
  expect((await run('ARCHIVE', file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(new RegExp(`lies in .expgraph-${ID}.old.*a.ckpt.zst holds what it was`)) });
  expect([await readFile(`${job}/checkpoints/a.ckpt`, 'utf8'), await readFile(`${job}/checkpoints/.expgraph-${ID}.old/a.ckpt`, 'utf8')]).toEqual(['new', `${content}more`]);
});

test('what cannot be removed as a whole is told of; an archive of it is told of by the next run', async () => {
  await fake('rm', `echo "rm: cannot remove: Input/output error" >&2; exit 1`);
  await put('checkpoints/b/model.bin');
  expect((await run('DELETE', folder('checkpoints/b'))).report).toEqual({ kind: 'FAILED', problem: `it is out of its place, but not all of it could be removed: the rest lies in .expgraph-${ID}.r1.1.out` });
  expect(await names()).toEqual([`.expgraph-${ID}.r1.1.out`]);
  await put('checkpoints/a.ckpt');
  expect(await run('ARCHIVE', file('checkpoints/a.ckpt'), 'r2')).toMatchObject({ report: undefined, begun: [ID] });
  useFakes(false);
  expect((await run('ARCHIVE', file('checkpoints/a.ckpt'), 'r3')).report).toMatchObject({ kind: 'ARCHIVED', suffix: '.zst' });
  expect(await names()).toEqual(['a.ckpt.zst']);
});

test('DELETE of an archive that somebody unpacked and removed says that the checkpoint is there', async () => {
  await put('checkpoints/a.ckpt');
  const archived = { ...file('checkpoints/a.ckpt'), members: [], archivePath: `${job}/checkpoints/a.ckpt.zst` };
  expect((await run('DELETE', archived)).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/in its place again/) });
  expect(await names()).toEqual(['a.ckpt']);
});

test('that files seem to lie on another device than their folders is no obstacle', async () => {
  await put('checkpoints/b/model.bin');
  await fake('find', `case "$*" in *'%y %s %T@ %D'*) /usr/bin/find "$@" | sed 's/^\\(f .*\\) [0-9]*$/\\1 99/' ;; *) exec /usr/bin/find "$@" ;; esac`);
  expect((await run('ARCHIVE', folder('checkpoints/b'))).report).toMatchObject({ kind: 'ARCHIVED' });
  expect(await names()).toEqual(['b.tar.zst']);
});

test('an archive alone is taken for the checkpoint only when it holds as much', async () => {
  await put('checkpoints/a.ckpt');
  await run('ARCHIVE', file('checkpoints/a.ckpt'));
  expect((await run('ARCHIVE', file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'ARCHIVED', suffix: '.zst' });
  await utimes(`${job}/checkpoints/a.ckpt.zst`, 1, 1);
  expect((await run('ARCHIVE', file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/is of another time/) });
  await writeFile(`${root}/short`, 'short');
  await promisify(execFile)('zstd', ['-q', '-f', `${root}/short`, '-o', `${job}/checkpoints/a.ckpt.zst`]);
  expect((await run('ARCHIVE', file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/holds less/) });
  await writeFile(`${job}/checkpoints/a.ckpt.zst`, 'garbage');
  expect((await run('ARCHIVE', file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/cannot be read/) });
});

test('shards without an index are known to be restored when nobody heard of it', async () => {
  const members = ['m-00001-of-00002.safetensors', 'm-00002-of-00002.safetensors'];
  for (const name of members) await put(`checkpoints/${name}`);
  const item = { path: `${job}/checkpoints/m.safetensors.index.json`, members: [], isOneFile: false };
  expect((await run('RESTORE', item)).report).toEqual({ kind: 'RESTORED' });
  for (const name of members) await rm(`${job}/checkpoints/${name}`);
  expect((await run('RESTORE', item)).report).toMatchObject({ kind: 'FAILED' });
});

test('a run that nobody waits for any more begins with nothing', async () => {
  await put('checkpoints/a.ckpt');
  await mkdir(`${root}/over`);
  expect((await run('DELETE', file('checkpoints/a.ckpt'), 'r1', { overPath: `${root}/over` })).begun).toEqual([]);
  expect(await names()).toEqual(['a.ckpt']);
});

test('three restores at once lose nothing, also without locks', async () => {
  await fake('flock', 'exit 1');
  for (let round = 0; round < 4; round += 1) {
    for (let part = 0; part < 40; part += 1) await put(`checkpoints/b/${part}/model.bin`, `${part}`);
    expect((await run('ARCHIVE', folder('checkpoints/b'), 'r0')).report).toMatchObject({ kind: 'ARCHIVED' });
    await Promise.all(['r1', 'r2', 'r3'].map((runId) => run('RESTORE', folder('checkpoints/b'), runId)));
    expect((await run('RESTORE', folder('checkpoints/b'), 'r4')).report, `round ${round}`).toEqual({ kind: 'RESTORED' });
    expect(await names(), `round ${round}`).toEqual(['b']);
    for (let part = 0; part < 40; part += 1) expect(await readFile(`${job}/checkpoints/b/${part}/model.bin`, 'utf8')).toBe(`${part}`);
    await rm(`${job}/checkpoints/b`, { recursive: true });
  }
}, 120_000);
