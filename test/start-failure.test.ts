import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { UserError } from '../src/domain/errors.ts';
import { startFaults } from '../src/start-failure.ts';

/** As Node makes them; the kernel cannot be made to run out of space or descriptors here. */
const systemError = (code: string, details: object) => Object.assign(new Error(`${code}: ...`), { code, syscall: 'open', ...details });

it.each<[string, object, RegExp]>([
  ['ENOSPC', { path: '/data/x' }, /^no space is left for \/data\/x: free some/],
  ['ENOSPC', { syscall: 'write' }, /^no space is left: free some/],
  ['EACCES', { path: '/data/x' }, /^this user \(id \d+\) may not use \/data\/x: .*EXPGRAPH_DATA_DIR/],
  ['EROFS', { path: '/data/x' }, /read-only file system/],
  ['ENOTDIR', { path: '/data/x' }, /^\/data\/x is a file, or lies below one/],
  ['EMFILE', { path: '/data/x' }, /ulimit -n/],
  ['EADDRINUSE', { syscall: 'listen', address: '127.0.0.1', port: 4000 }, /^127\.0\.0\.1:4000 is in use; is expgraph running already\? Choose another EXPGRAPH_PORT/],
  ['EADDRNOTAVAIL', { syscall: 'listen', address: '::2', port: 4000 }, /^::2 is no address of this machine; .*EXPGRAPH_HOST/],
  ['EACCES', { syscall: 'listen', address: '::', port: 80 }, /may not listen on \[::\]:80; .*1024/],
  ['EINVAL', { path: '/data/x' }, /^EINVAL/],
])('%s %j is said in words', (code, details, words) => {
  expect(startFaults(systemError(code, details))).toEqual([expect.stringMatching(words)]);
});

it('a real failure to listen and a real failure to write are recognised', async () => {
  const listening = (host: string) => new Promise((resolve) => createServer().once('error', resolve).listen(0, host));
  expect(startFaults(await listening('192.0.2.7'))).toEqual([expect.stringContaining('192.0.2.7 is no address of this machine')]);
  const file = join(tmpdir(), `expgraph-start-${process.pid}`);
  await writeFile(file, '', { flag: 'w' });
  expect(startFaults(await writeFile(join(file, 'below'), '').catch((error: unknown) => error))).toEqual([expect.stringContaining('below is a file, or lies below one')]);
});

it('all faults of a UserError are listed with their fields', () => {
  expect(startFaults(new UserError([
    { field: ['EXPGRAPH_PORT'], message: 'must be a number', code: 'BAD_USER_INPUT' }, { field: [], message: 'no database', code: 'CONFLICT' },
  ]))).toEqual(['EXPGRAPH_PORT: must be a number', 'no database']);
});

it('a refusal by the database is said in its own words, without the statement', () => {
  const refusal = Object.assign(new Error('permission denied for schema public'), { code: '42501' });
  expect(startFaults(new Error('Failed query: create table x', { cause: refusal }))).toEqual(['the database refuses: permission denied for schema public']);
});

it('a fault of ours is none that a user can mend', () => {
  expect(startFaults(new TypeError('x is not a function'))).toBeNull();
});
