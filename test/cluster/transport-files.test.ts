/** What every transport promises of files. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, link, mkdir, readFile, readdir, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countEntries } from '../../src/cluster/transport/count-entries.ts';
import { FileError, type Transport } from '../../src/cluster/transport.ts';
import { digest, TRANSPORTS, type OpenedTransport } from './transports.ts';

describe.each(TRANSPORTS.filter(({ skip }) => !skip))('files of the $name transport', ({ open }) => {
  let opened: OpenedTransport;
  let transport: Transport;
  let folder: string;

  beforeAll(async () => {
    opened = await open();
    ({ transport, folder } = opened);
  });
  afterAll(() => opened.remove());

  describe('put', () => {
    it('makes the directory and writes every byte, also of an odd name', async () => {
      const path = join(folder, 'deep', "it's\n$(x)", '-name');
      const content = randomBytes(300_000);
      await transport.put(path, content);
      expect(digest(await readFile(path))).toBe(digest(content));
    });

    it('replaces a file as a whole: who has the old one open keeps it', async () => {
      const path = join(folder, 'replaced');
      await transport.put(path, Buffer.from('old'));
      await link(path, join(folder, 'old-content'));
      await transport.put(path, Buffer.alloc(0));
      expect((await readFile(path)).length).toBe(0);
      expect(await readFile(join(folder, 'old-content'), 'utf8')).toBe('old');
    });

    it('says why it cannot write, and leaves nothing behind', async () => {
      await mkdir(join(folder, 'occupied', 'directory'), { recursive: true });
      await expect(transport.put(join(folder, 'occupied', 'directory'), Buffer.from('x'))).rejects.toThrow(FileError);
      await writeFile(join(folder, 'a-file'), '');
      await expect(transport.put(join(folder, 'a-file', 'below'), Buffer.from('x'))).rejects.toThrow(join(folder, 'a-file', 'below'));
      expect(await readdir(join(folder, 'occupied'))).toEqual(['directory']);
      expect(await readdir(join(folder, 'occupied', 'directory'))).toEqual([]);
    });

    it('refuses a path that is not absolute', async () => {
      await expect(transport.put('relative', Buffer.from('x'))).rejects.toThrow(RangeError);
    });
  });

  describe('read', () => {
    it('answers each range in order: whole, part, past the end, absent', async () => {
      const bytes = randomBytes(100_000);
      const path = join(folder, 'binary');
      await writeFile(path, bytes);
      await writeFile(join(folder, 'empty'), '');
      const answers = await transport.read([
        { path, offsetBytes: 0, maxBytes: 1_000_000 },
        { path, offsetBytes: 10, maxBytes: 20 },
        { path, offsetBytes: 99_990, maxBytes: 50 },
        { path, offsetBytes: 100_000, maxBytes: 50 },
        { path, offsetBytes: 200_000, maxBytes: 50 },
        { path, offsetBytes: 5, maxBytes: 0 },
        { path: join(folder, 'empty'), offsetBytes: 0, maxBytes: 9 },
        { path: join(folder, 'absent'), offsetBytes: 0, maxBytes: 9 },
        { path: folder, offsetBytes: 0, maxBytes: 9 },
      ]);
      const empty = Buffer.alloc(0);
      expect(answers.map((answer) => answer && digest(answer))).toEqual(
        [bytes, bytes.subarray(10, 30), bytes.subarray(99_990), empty, empty, empty, empty, null, null].map((answer) => answer && digest(answer)),
      );
      expect(await transport.read([])).toEqual([]);
    });

    it('finds files with odd names', async () => {
      const names = ['with space', "it's", '"', 'two\nlines', '-dash', '$(x)', '*', '雪', ' lead', 'trail '];
      await mkdir(join(folder, 'odd'), { recursive: true });
      await Promise.all(names.map((name) => writeFile(join(folder, 'odd', name), `content of ${name}`)));
      const answers = await transport.read(names.map((name) => ({ path: join(folder, 'odd', name), offsetBytes: 0, maxBytes: 100 })));
      expect(answers.map(String)).toEqual(names.map((name) => `content of ${name}`));
    });

    it('does not wait for a named pipe', async () => {
      execFileSync('mkfifo', [join(folder, 'pipe')]);
      expect(await transport.read([{ path: join(folder, 'pipe'), offsetBytes: 0, maxBytes: 9 }])).toEqual([null]);
    });

    it('answers null for a file that may not be read', async () => {
      const mayReadAll = (await transport.exec(['id', '-u'])).stdout.toString().trim() === '0';
      const path = join(folder, 'unreadable');
      await writeFile(path, 'x');
      await chmod(path, 0);
      expect(await transport.read([{ path, offsetBytes: 0, maxBytes: 9 }])).toEqual([mayReadAll ? Buffer.from('x') : null]);
    });

    it('answers thousands of ranges, most of them shorter than asked for', async () => {
      const paths = Array.from({ length: 2500 }, (_, index) => join(folder, 'many', `job ${index}`, 'metrics.jsonl'));
      await Promise.all(paths.map(async (path, index) => {
        await mkdir(dirname(path), { recursive: true });
        if (index % 7 !== 0) await writeFile(path, `skip{"step":${index}}\n`);
      }));
      const answers = await transport.read(paths.map((path) => ({ path, offsetBytes: 4, maxBytes: 1024 * 1024 })));
      expect(answers.map((answer) => answer && String(answer))).toEqual(paths.map((_, index) => (index % 7 === 0 ? null : `{"step":${index}}\n`)));
    });

    it('answers more bytes together than one command may print', async () => {
      const path = join(folder, 'large');
      await writeFile(path, randomBytes(40 * 1024 * 1024));
      const range = { path, offsetBytes: 0, maxBytes: 50 * 1024 * 1024 };
      const answers = await transport.read([range, { ...range, offsetBytes: 1024 }, { ...range, offsetBytes: 40 * 1024 * 1024 - 7 }]);
      expect(answers.map((answer) => answer?.length)).toEqual([41_943_040, 41_942_016, 7]);
    });

    it('stays in step while a file is cut shorter again and again', async () => {
      const path = join(folder, 'shrinking');
      await writeFile(path, 'x'.repeat(200_000));
      await writeFile(join(folder, 'steady'), 'steady');
      const ranges = Array.from({ length: 20 }, () => [{ path, offsetBytes: 0, maxBytes: 1e6 }, { path: join(folder, 'steady'), offsetBytes: 0, maxBytes: 100 }]).flat();
      let isDone = false;
      const shrink = async () => {
        for (let size = 200_000; !isDone; size = size > 2000 ? size - 1000 : 200_000) await writeFile(path, 'x'.repeat(size));
      };
      const shrinking = shrink();
      const answers = await transport.read(ranges).finally(() => { isDone = true; });
      await shrinking;
      expect(answers.filter((_, index) => index % 2 === 1).map(String)).toEqual(Array.from({ length: 20 }, () => 'steady'));
    });
  });

  describe('list', () => {
    it('tells kind, size, time, inode and link target of odd names, to the depth asked for', async () => {
      const root = join(folder, 'listed');
      await mkdir(join(root, 'sub', 'deeper'), { recursive: true });
      await writeFile(join(root, 'two\nlines'), '12345');
      await writeFile(join(root, 'sub', '-dash "x" 雪'), '');
      await writeFile(join(root, 'sub', 'deeper', 'hidden'), '');
      await symlink('nowhere\nat all', join(root, 'link'));
      await symlink('sub', join(root, 'link-to-directory'));
      await utimes(join(root, 'two\nlines'), 1_700_000_000.5, 1_700_000_000.5);
      const { entries, truncated } = await transport.list({ directories: [root, join(folder, 'missing')], maxDepth: 2, maxEntries: 100 });
      const found = Object.fromEntries(entries.map((entry) => [entry.path.slice(root.length + 1), entry]));
      expect(truncated).toBe(false);
      expect(Object.keys(found).sort()).toEqual(['link', 'link-to-directory', 'sub', 'sub/-dash "x" 雪', 'sub/deeper', 'two\nlines']);
      expect(found['link']).toMatchObject({ kind: 'link', linkTarget: 'nowhere\nat all' });
      expect(found['sub']).toMatchObject({ kind: 'directory', linkTarget: null });
      expect(found['two\nlines']).toMatchObject({
        kind: 'file', sizeBytes: 5, inode: String((await stat(join(root, 'two\nlines'))).ino), modifiedAt: new Date(1_700_000_000_500),
      });
    });

    it('lists a directory that is itself behind a link', async () => {
      await mkdir(join(folder, 'real'));
      await writeFile(join(folder, 'real', 'file'), '');
      await symlink('real', join(folder, 'behind-link'));
      const { entries } = await transport.list({ directories: [join(folder, 'behind-link')], maxDepth: 1, maxEntries: 10 });
      expect(entries.map((entry) => entry.path)).toEqual([join(folder, 'behind-link', 'file')]);
    });

    it('stops at the bound and says so, but not when the bound is just met', async () => {
      const root = join(folder, 'crowded');
      await mkdir(root);
      await Promise.all(Array.from({ length: 20 }, (_, index) => writeFile(join(root, `${index}`), '')));
      const few = await transport.list({ directories: [root], maxDepth: 1, maxEntries: 5 });
      expect([few.entries.length, few.truncated]).toEqual([5, true]);
      const all = await transport.list({ directories: [root], maxDepth: 1, maxEntries: 20 });
      expect([all.entries.length, all.truncated]).toEqual([20, false]);
    });

    it('says of which directories not everything could be read', async () => {
      const root = join(folder, 'read');
      await mkdir(root);
      await writeFile(join(root, 'file'), '');
      const directories = [root, join(folder, 'n'.repeat(300)), join(folder, 'absent'), join(root, 'file', 'below')];
      const { entries, unreadable } = await transport.list({ directories, maxDepth: 2, maxEntries: 10 });
      expect([entries.map(({ path }) => path), unreadable]).toEqual([[join(root, 'file')], [directories[1]]]);
    });

    it('counts what lies below directories, up to a bound, without following loops of links', async () => {
      const root = join(folder, "counted 'it's\n");
      await mkdir(join(root, 'a/b/c'), { recursive: true });
      await symlink('..', join(root, 'a/loop'));
      await Promise.all(Array.from({ length: 20 }, (_, index) => writeFile(join(root, `a/b/${index}\n`), '')));
      const exec: Transport['exec'] = (...command) => transport.exec(...command);
      expect(await countEntries(exec, [root, join(root, 'absent'), join(root, 'a/b')], 3, 1000)).toEqual([24, 0, 21]);
      expect(await countEntries(exec, [root], 3, 10)).toEqual([10]);
      expect(await countEntries(exec, [], 3, 10)).toEqual([]);
    });

    it('lists thousands of directories at once, and none at all', async () => {
      const directories = Array.from({ length: 3000 }, (_, index) => join(folder, 'wide', `a directory with a rather long name, number ${index}`));
      await Promise.all(directories.map((directory) => mkdir(join(directory, 'child'), { recursive: true })));
      const { entries } = await transport.list({ directories, maxDepth: 1, maxEntries: 10_000 });
      expect(new Set(entries.map((entry) => entry.path))).toEqual(new Set(directories.map((directory) => join(directory, 'child'))));
      expect(await transport.list({ directories: [], maxDepth: 1, maxEntries: 10 })).toEqual({ entries: [], truncated: false, unreadable: [] });
    });
  });
});
