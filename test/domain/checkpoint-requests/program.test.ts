/** The program that archives checkpoints, run by a real bash on real files. */
import { spawn } from 'node:child_process';
import { chmod, link, mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { restoreCommand } from '../../../src/domain/checkpoint-requests/archive-name.ts';
import { ID, commands, content, fake, file, folder, freshJobDirectory, job, names, onlyCommandsBut, put, root, run, useFakes, writtenAt } from './program-run.ts';

freshJobDirectory();

describe.each([
  ['a file', 'checkpoints/step=5.ckpt'], ['a name with spaces, quotes, a dollar and unicode', `checkpoints/a 'b' "c" $(touch x) \`d\` é.ckpt`],
  ['a name with a newline', 'checkpoints/a\nb.ckpt'], ['a name that looks like an option', 'checkpoints/--checkpoint-action=exec.ckpt'],
])('%s', (_, path) => {
  test('is archived, and restored as it was', async () => {
    await put(path);
    await chmod(`${job}/${path}`, 0o750);
    const { report } = await run('ARCHIVE', file(path));
    expect(report).toMatchObject({ kind: 'ARCHIVED', suffix: '.zst', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(await names()).toEqual([`${path.slice(12)}.zst`]);
    const archive = await stat(`${job}/${path}.zst`);
    expect([archive.size, archive.mode & 0o777]).toEqual([(report as { bytes: number }).bytes, 0o750]);
    expect(archive.size).toBeLessThan(content.length / 10);
    expect((await run('RESTORE', file(path))).report).toEqual({ kind: 'RESTORED' });
    expect(await names()).toEqual([path.slice(12)]);
    expect(await readFile(`${job}/${path}`, 'utf8')).toBe(content);
    const restored = await stat(`${job}/${path}`);
    expect([restored.mode & 0o777, restored.mtime]).toEqual([0o750, writtenAt]);
  });
});

describe('a folder', () => {
  beforeEach(async () => {
    for (const name of ['model.bin', 'deep/é "x"\n.bin', '.hidden']) await put(`checkpoints/checkpoint-5/${name}`);
    await mkdir(`${job}/checkpoints/checkpoint-5/empty`);
    await symlink('/etc/passwd', `${job}/checkpoints/checkpoint-5/link`);
  });

  test('is archived with all that it holds, links as links, and restored as it was', async () => {
    expect((await run('ARCHIVE', folder('checkpoints/checkpoint-5'))).report).toMatchObject({ kind: 'ARCHIVED', suffix: '.tar.zst', sha256: null });
    expect(await names()).toEqual(['checkpoint-5.tar.zst']);
    expect((await run('RESTORE', folder('checkpoints/checkpoint-5'))).report).toEqual({ kind: 'RESTORED' });
    expect(await names('checkpoints/checkpoint-5')).toEqual(['.hidden', 'deep', 'empty', 'link', 'model.bin']);
    expect((await stat(`${job}/checkpoints/checkpoint-5/deep/é "x"\n.bin`)).mtime).toEqual(writtenAt);
  });

  test('comes back by the command that people are shown, too', async () => {
    await run('ARCHIVE', folder('checkpoints/checkpoint-5'));
    const command = restoreCommand(`${job}/checkpoints/checkpoint-5`, `${job}/checkpoints/checkpoint-5.tar.zst`);
    const child = spawn('sh', ['-c', command]);
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0);
    expect(await readFile(`${job}/checkpoints/checkpoint-5/model.bin`, 'utf8')).toBe(content);
  });

  test('is deleted, and what its links lead to is not', async () => {
    expect((await run('DELETE', folder('checkpoints/checkpoint-5'))).report).toEqual({ kind: 'DELETED', freedBytes: 3 * content.length });
    expect(await names()).toEqual([]);
    expect((await stat('/etc/passwd')).size).toBeGreaterThan(0);
  });

  test('has a digest that anybody can compute again', async () => {
    const { report } = await run('DIGEST', folder('checkpoints/checkpoint-5'));
    const child = spawn('sh', ['-c', 'find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum'], { cwd: `${job}/checkpoints/checkpoint-5` });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => { text += chunk.toString(); });
    await new Promise((resolve) => child.on('close', resolve));
    expect(report).toEqual({ kind: 'DIGEST', sha256: text.slice(0, 64) });
  });
});

test('shards are archived together and nothing beside them, and restored', async () => {
  const members = ['m-00001-of-00002.safetensors', 'm-00002-of-00002.safetensors', 'm.safetensors.index.json'];
  for (const name of [...members, 'other.safetensors']) await put(`checkpoints/${name}`);
  const item = { path: `${job}/checkpoints/m.safetensors.index.json`, members, isOneFile: false };
  expect((await run('ARCHIVE', item)).report).toMatchObject({ kind: 'ARCHIVED', suffix: '.tar.zst' });
  expect(await names()).toEqual(['m.safetensors.index.json.tar.zst', 'other.safetensors']);
  expect((await run('RESTORE', { ...item, members: [] })).report).toEqual({ kind: 'RESTORED' });
  expect(await names()).toEqual([...members, 'other.safetensors'].sort());
});

describe('what leads elsewhere is not touched', () => {
  let outside: string;
  beforeEach(async () => {
    outside = `${root}/vision/other`;
    await mkdir(outside);
    await writeFile(`${outside}/model.ckpt`, content);
  });

  test.each([
    ['a checkpoint that is a link', () => symlink(`${outside}/model.ckpt`, `${job}/checkpoints/model.ckpt`), 'checkpoints/model.ckpt', /is a link/],
    ['a folder that is a link', () => symlink(outside, `${job}/elsewhere`), 'elsewhere/model.ckpt', /leads out of the job directory/],
    ['a way up', () => Promise.resolve(), '../../other/model.ckpt', /leads out of the job directory/],
  ])('%s', async (_, make, path, words) => {
    await make();
    for (const action of ['ARCHIVE', 'DELETE'] as const) expect((await run(action, file(path))).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(words) });
    expect(await readdir(outside)).toEqual(['model.ckpt']);
  });

  test('a job directory that is a link out of the root directory', async () => {
    const foreign = await realpath(await mkdtemp(join(tmpdir(), 'expgraph-foreign-')));
    await writeFile(`${foreign}/model.ckpt`, content);
    await symlink(foreign, `${root}/vision/linked`);
    const report = (await run('DELETE', { jobDirectory: `${root}/vision/linked`, path: `${root}/vision/linked/model.ckpt`, members: ['model.ckpt'] })).report;
    expect(report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/out of the root directory/) });
    expect(await readdir(foreign)).toEqual(['model.ckpt']);
    await rm(foreign, { recursive: true });
  });

  test('a file with a second name: archiving it would free nothing', async () => {
    await put('checkpoints/a.ckpt');
    await link(`${job}/checkpoints/a.ckpt`, `${job}/checkpoints/last.ckpt`);
    expect((await run('ARCHIVE', file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/hard link/) });
    expect(await names()).toEqual(['a.ckpt', 'last.ckpt']);
  });
});

describe('what goes wrong leaves the original as it was', () => {
  beforeEach(() => put('checkpoints/a.ckpt'));
  const isAsItWas = async (): Promise<void> => {
    expect(await names()).toEqual(['a.ckpt']);
    expect(await readFile(`${job}/checkpoints/a.ckpt`, 'utf8')).toBe(content);
  };

  test('a disk that is full', async () => {
    await fake('zstd', 'case "$*" in *-T*) cat > /dev/full ;; *) exec /usr/bin/zstd "$@" ;; esac');
    expect((await run('ARCHIVE', file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/No space left on device/) });
    await isAsItWas();
  });

  test.each([['a file', file], ['a folder', folder]])('an archive of %s that reads back as something else', async (_, item) => {
    if (item === folder) await put('checkpoints/b/model.bin');
    const target = item === folder ? 'checkpoints/b' : 'checkpoints/a.ckpt';
    const before = await names();
    await fake('zstd', 'case "$*" in *-T*) sed s/weights/WEIGHTS/ | /usr/bin/zstd "$@" ;; *) exec /usr/bin/zstd "$@" ;; esac');
    expect((await run('ARCHIVE', item(target))).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/read back/) });
    expect(await names()).toEqual(before);
  });

  test('a file that is written on while it is archived', async () => {
    await fake('gzip', `/bin/gzip "$@"; case "$*" in -c) ;; *) printf more >> '${job}/checkpoints/a.ckpt' ;; esac`);
    await fake('zstd', 'exit 1');
    await fake('sync', `/bin/sync "$@"; [ -e '${root}/once' ] || { touch '${root}/once'; printf more >> '${job}/checkpoints/a.ckpt'; }`);
    await rm(`${commands}/zstd`);
    expect((await run('ARCHIVE', file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'FAILED' });
    expect(await readFile(`${job}/checkpoints/a.ckpt`, 'utf8')).toBe(`${content}more`);
  });

  test('a file of the name of the archive that holds something else: the archive gets a number', async () => {
    await put('checkpoints/a.ckpt.zst', 'mine');
    expect((await run('ARCHIVE', file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'ARCHIVED', suffix: '.2.zst' });
    expect([await readFile(`${job}/checkpoints/a.ckpt.zst`, 'utf8'), await names()]).toEqual(['mine', ['a.ckpt.2.zst', 'a.ckpt.zst']]);
    // Nobody heard of it: what is found then is the last, not what only is called so.
    expect((await run('ARCHIVE', file('checkpoints/a.ckpt'))).report).toMatchObject({ kind: 'ARCHIVED', suffix: '.2.zst' });
    expect((await run('RESTORE', { ...file('checkpoints/a.ckpt'), archivePath: `${job}/checkpoints/a.ckpt.2.zst` })).report).toEqual({ kind: 'RESTORED' });
    expect([await readFile(`${job}/checkpoints/a.ckpt`, 'utf8'), await names()]).toEqual([content, ['a.ckpt', 'a.ckpt.zst']]);
  });

  test.each([['a file', file, '.zst', '.2.zst'], ['a folder', folder, '.tar.zst', '.tar.2.zst']] as const)('the archive of what lay there before, of %s', async (_, kindOf, first, second) => {
    const path = kindOf === file ? 'checkpoints/x' : 'checkpoints/x/weights';
    await rm(`${job}/checkpoints/a.ckpt`);
    await put(path);
    const meant = kindOf('checkpoints/x');
    expect((await run('ARCHIVE', meant)).report).toMatchObject({ suffix: first });
    const earlierArchives = [`${job}/checkpoints/x${first}`];
    // It is none of what was there later, and is gone since.
    expect((await run('ARCHIVE', { ...meant, earlierArchives })).report).toEqual({ kind: 'GONE' });
    await put(path);
    expect((await run('ARCHIVE', { ...meant, earlierArchives })).report).toMatchObject({ suffix: second });
    expect(await names()).toEqual([`x${first}`, `x${second}`].sort());
  });
});

describe('the archive of a checkpoint', () => {
  const archived = async (): Promise<object> => {
    await put('checkpoints/a.ckpt');
    const { report } = await run('ARCHIVE', file('checkpoints/a.ckpt'));
    const bytes = report?.kind === 'ARCHIVED' ? report.bytes : 0;
    return { ...file('checkpoints/a.ckpt'), members: [], archivePath: `${job}/checkpoints/a.ckpt.zst`, recorded: { fileCount: 1, sizeBytes: bytes, writtenAt, lookedDepth: 6 } };
  };

  test('is deleted, and what had been deleted before is no failure', async () => {
    const meant = await archived();
    expect((await run('DELETE', meant)).report).toEqual({ kind: 'DELETED', freedBytes: expect.any(Number) });
    expect(await names()).toEqual([]);
    expect((await run('DELETE', meant)).report).toEqual({ kind: 'DELETED', freedBytes: null });
  });

  test('is left where it is when the checkpoint lies beside it again, or it is another than was recorded', async () => {
    const meant = await archived();
    await put('checkpoints/a.ckpt', 'new');
    expect((await run('DELETE', meant)).report).toEqual({ kind: 'FAILED', problem: 'a.ckpt lies in its place again: nothing was removed' });
    await rm(`${job}/checkpoints/a.ckpt`);
    await put('checkpoints/a.ckpt.zst', 'another');
    expect((await run('DELETE', meant)).report).toEqual({ kind: 'FAILED', problem: 'a.ckpt.zst is not the archive that was recorded' });
    expect(await names()).toEqual(['a.ckpt.zst']);
  });
});

describe('without zstd', () => {
  test('gzip does it', async () => {
    await put('checkpoints/a.ckpt');
    await onlyCommandsBut('zstd');
    const path = process.env['PATH'];
    process.env['PATH'] = '/nowhere';
    const { report } = await run('ARCHIVE', file('checkpoints/a.ckpt'));
    process.env['PATH'] = path;
    expect(report).toMatchObject({ kind: 'ARCHIVED', suffix: '.gz' });
    expect(await names()).toEqual(['a.ckpt.gz']);
    expect((await run('RESTORE', file('checkpoints/a.ckpt'))).report).toEqual({ kind: 'RESTORED' });
    expect(await readFile(`${job}/checkpoints/a.ckpt`, 'utf8')).toBe(content);
  });
});

test('what is not on disk is told', async () => {
  for (const action of ['ARCHIVE', 'DIGEST'] as const) expect((await run(action, file('checkpoints/none.ckpt'))).report).toEqual({ kind: 'GONE' });
  expect((await run('RESTORE', file('checkpoints/none.ckpt'))).report).toMatchObject({ kind: 'FAILED', problem: expect.stringMatching(/neither its archive/) });
  expect((await run('DELETE', file('checkpoints/none.ckpt'))).report).toEqual({ kind: 'DELETED', freedBytes: null });
});

describe('killed at every command that it runs, and run again', () => {
  /** Each command of the system that changes something, or comes between two that do, kills the program when it is its turn. */
  const COMMANDS = ['mkdir', 'zstd', 'tar', 'chmod', 'touch', 'sync', 'sha256sum', 'mv', 'rm', 'find', 'wc', 'stat'];

  async function armAll(): Promise<void> {
    for (const name of COMMANDS) {
      await fake(name, `exec 8>> '${root}/lock'; /usr/bin/flock 8; read -r n < '${root}/count'; read -r fatal < '${root}/fatal'
echo $((n + 1)) > '${root}/count'; [ $((n + 1)) -ne "$fatal" ] || kill -9 0
exec 8>&-; real=/usr/bin/${name}; [ -x "$real" ] || real=/bin/${name}; exec "$real" "$@"`);
    }
  }
  /** @param fatal 0: the commands of the system are used as they are */
  const arm = async (fatal: number): Promise<void> => {
    useFakes(fatal > 0);
    await writeFile(`${root}/count`, '0\n');
    await writeFile(`${root}/fatal`, `${fatal}\n`);
  };

  test.each([['ARCHIVE', 'file'], ['ARCHIVE', 'folder'], ['RESTORE', 'file'], ['RESTORE', 'folder'], ['DELETE', 'folder']] as const)('%s of a %s ends as if nothing had happened', async (action, kind) => {
    await armAll();
    const path = kind === 'file' ? 'checkpoints/a.ckpt' : 'checkpoints/b';
    const item = kind === 'file' ? file(path) : folder(path);
    const ending = kind === 'file' ? '.zst' : '.tar.zst';
    let kills = 0;
    for (let fatal = 1; ; fatal += 1) {
      await rm(`${job}/checkpoints`, { recursive: true, force: true });
      await put(kind === 'file' ? path : `${path}/model.bin`);
      if (action === 'RESTORE') {
        await arm(0);
        expect((await run('ARCHIVE', item)).report?.kind).toBe('ARCHIVED');
      }
      await arm(fatal);
      const first = await run(action, item);
      // At any moment there is the original, an archive under its own name, or the original in the folder that it is being moved to.
      if (action !== 'DELETE') {
        const left = await names();
        expect(left.some((name) => ['a.ckpt', 'b', `a.ckpt${ending}`, `b${ending}`, `.expgraph-${ID}.old`].includes(name)), `${fatal}: ${left.join()}`).toBe(true);
      }
      if (first.report === undefined) kills += 1;
      await arm(0);
      const { report } = await run(action, item, 'r2');
      expect(report?.kind, `killed at command ${fatal}`).toBe({ ARCHIVE: 'ARCHIVED', RESTORE: 'RESTORED', DELETE: 'DELETED' }[action]);
      expect(await names(), `killed at command ${fatal}`).toEqual(action === 'DELETE' ? [] : [action === 'ARCHIVE' ? `${path.slice(12)}${ending}` : path.slice(12)]);
      if (action !== 'DELETE') {
        if (action === 'ARCHIVE') expect((await run('RESTORE', item)).report?.kind).toBe('RESTORED');
        expect(await readFile(`${job}/${kind === 'file' ? path : `${path}/model.bin`}`, 'utf8')).toBe(content);
      }
      if (first.exitCode === 0 && first.report !== undefined) break;
    }
    expect(kills).toBeGreaterThan(3);
  }, 300_000);
});

test.each([['with locks', true], ['without locks, as on some shared file systems', false]])('three at once on the same checkpoint leave one archive and lose nothing, %s', async (_, hasLocks) => {
  if (!hasLocks) await fake('flock', 'exit 1');
  for (let round = 0; round < 10; round += 1) {
    await put('checkpoints/b/model.bin');
    const reports = await Promise.all(['r1', 'r2', 'r3'].map((runId) => run('ARCHIVE', folder('checkpoints/b'), runId)));
    if (hasLocks) expect(reports.map(({ report }) => report?.kind)).toEqual(['ARCHIVED', 'ARCHIVED', 'ARCHIVED']);
    expect((await run('ARCHIVE', folder('checkpoints/b'), 'r4')).report, `round ${round}`).toMatchObject({ kind: 'ARCHIVED' });
    expect(await names(), `round ${round}`).toEqual(['b.tar.zst']);
    expect((await run('RESTORE', folder('checkpoints/b'))).report).toEqual({ kind: 'RESTORED' });
    expect(await readFile(`${job}/checkpoints/b/model.bin`, 'utf8')).toBe(content);
    await rm(`${job}/checkpoints/b`, { recursive: true });
  }
}, 120_000);
