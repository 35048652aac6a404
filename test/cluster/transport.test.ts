/** What every transport promises of running commands. */
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Transport } from '../../src/cluster/transport.ts';
import { digest, TRANSPORTS, type OpenedTransport } from './transports.ts';

const HOSTILE = ['', ' ', "it's", '"quoted"', '$(touch /tmp/pwned)', '`id`', '$HOME', 'two\nlines\n', '\\', "'\\''", '-n', '--', '*', '~', '#x', '!y', 'é 雪 🙂', '\t\r', ';ls', '&', '|', '>x'];
const PRINT_ARGUMENTS = 'for a do printf "%s\\0" "$a"; done';

describe.each(TRANSPORTS.filter(({ skip }) => !skip))('exec of the $name transport', ({ open }) => {
  let opened: OpenedTransport;
  let transport: Transport;
  let folder: string;

  beforeAll(async () => {
    opened = await open();
    ({ transport, folder } = opened);
  });
  afterAll(() => opened.remove());

  it('hands every argument over unchanged', async () => {
    const result = await transport.exec(['sh', '-c', PRINT_ARGUMENTS, 'sh', ...HOSTILE]);
    expect(result.stdout.toString('utf8').split('\0').slice(0, -1)).toEqual(HOSTILE);
    expect(result).toMatchObject({ exitCode: 0, signal: null, stderr: Buffer.alloc(0) });
  });

  it('hands 100 kB of arguments over and refuses more than the login shell could take', async () => {
    const long = 'x'.repeat(100_000);
    expect((await transport.exec(['printf', '%s', long])).stdout.length).toBe(100_000);
    await expect(transport.exec(['printf', '%s', long + long])).rejects.toThrow('standard input');
  });

  it('refuses a NUL byte and an empty command', async () => {
    await expect(transport.exec(['echo', 'a\0b'])).rejects.toThrow('NUL');
    await expect(transport.exec([])).rejects.toThrow(RangeError);
  });

  it('carries 4 MB of standard input byte for byte', async () => {
    const content = randomBytes(4 * 1024 * 1024);
    const result = await transport.exec(['cat'], { stdin: content });
    expect(digest(result.stdout)).toBe(digest(content));
  });

  it('does not mind a command that ends without reading its input', async () => {
    const result = await transport.exec(['true'], { stdin: randomBytes(4 * 1024 * 1024) });
    expect(result.exitCode).toBe(0);
  });

  it('closes the standard input of a command that is given none', async () => {
    expect(await transport.exec(['cat'])).toMatchObject({ exitCode: 0, stdout: Buffer.alloc(0) });
  });

  it('carries 50 MB of output', async () => {
    const result = await transport.exec(['sh', '-c', 'head -c 52428800 /dev/zero']);
    expect(result.stdout.length).toBe(52_428_800);
  });

  it('keeps output and errors apart and tells the exit code', async () => {
    const result = await transport.exec(['sh', '-c', 'echo out; echo err >&2; exit 42']);
    expect(result).toEqual({ exitCode: 42, signal: null, stdout: Buffer.from('out\n'), stderr: Buffer.from('err\n') });
  });

  it('tells the signal that ended a command', async () => {
    const result = await transport.exec(['sh', '-c', 'kill -TERM $$']);
    expect(result).toMatchObject({ exitCode: null, signal: 'SIGTERM' });
  });

  it('answers 127 for a command that does not exist and 126 for one that may not be run', async () => {
    expect(await transport.exec(['expgraph-no-such-command'])).toMatchObject({ exitCode: 127 });
    await writeFile(join(folder, 'not-executable'), 'x');
    expect(await transport.exec([join(folder, 'not-executable')])).toMatchObject({ exitCode: 126 });
  });

  it('ends a command that takes too long, with all that it started', async () => {
    const pidFile = join(folder, 'pid');
    await expect(transport.exec(['sh', '-c', 'sleep 300 & echo $! > "$1"; wait', 'sh', pidFile], { timeoutMs: 500 }))
      .rejects.toMatchObject({ name: 'TransportError', failure: 'interrupted' });
    const pid = (await readFile(pidFile, 'utf8')).trim();
    await expect.poll(async () => (await transport.exec(['kill', '-0', pid])).exitCode).not.toBe(0);
  });

  it('ends a command that does not listen to TERM', async () => {
    const pidFile = join(folder, 'stubborn');
    await expect(transport.exec(['sh', '-c', 'trap "" TERM; echo $$ > "$1"; while :; do sleep 1; done', 'sh', pidFile], { timeoutMs: 500 }))
      .rejects.toMatchObject({ failure: 'interrupted' });
    const pid = (await readFile(pidFile, 'utf8')).trim();
    await expect.poll(async () => (await transport.exec(['kill', '-0', pid])).exitCode).not.toBe(0);
  });

  it('ends a command that prints more than it may', async () => {
    await expect(transport.exec(['sh', '-c', 'while :; do echo line; done'], { maxOutputBytes: 10_000 }))
      .rejects.toMatchObject({ name: 'TransportError', failure: 'output-limit' });
    expect((await transport.exec(['echo', 'still here'])).stdout.toString()).toBe('still here\n');
  });

  it('refuses calls after it was closed, and ends what runs', async () => {
    const other = await open();
    const running = other.transport.exec(['sleep', '300']);
    const outcome = expect(running).rejects.toMatchObject({ failure: 'interrupted' });
    await other.transport.exec(['true']);
    await other.transport.close();
    await outcome;
    await expect(other.transport.exec(['true'])).rejects.toMatchObject({ name: 'TransportError', failure: 'unreachable' });
    await other.remove();
  });
});
