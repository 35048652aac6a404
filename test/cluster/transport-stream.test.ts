/** What every transport promises of a command that runs for as long as it is wanted. */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CommandStream, Transport } from '../../src/cluster/transport.ts';
import { identify, isAlive, until, type ProcessIdentity } from '../rig/processes.ts';
import { TRANSPORTS, type OpenedTransport } from './transports.ts';

/** Says its pid, then ends with its input. */
const OBEDIENT = ['sh', '-c', 'echo $$; exec cat > /dev/null'];
const STUBBORN = ['sh', '-c', 'trap "" TERM; echo $$; while :; do sleep 1; done'];

/** The first line that the command says. */
async function firstLine(stream: CommandStream): Promise<string> {
  for await (const chunk of stream.stdout) return chunk.toString('utf8').trim();
  throw new Error(`it said nothing and ended: ${JSON.stringify(await stream.ended)}`);
}

async function processOf(stream: CommandStream): Promise<ProcessIdentity> {
  const identity = identify(Number(await firstLine(stream)));
  if (identity === null) throw new Error('the command does not run');
  return identity;
}

const gone = (process: ProcessIdentity) => until('the command to be gone', 30_000, () => !isAlive(process));

describe.each(TRANSPORTS.filter(({ skip }) => !skip))('a stream of the $name transport', ({ open }) => {
  let opened: OpenedTransport;
  let transport: Transport;

  beforeAll(async () => {
    opened = await open();
    ({ transport } = opened);
  });
  afterAll(() => opened.remove());

  it('carries text both ways while it runs', async () => {
    const stream = await transport.stream(['sh', '-c', 'while read -r line; do echo "heard $line"; done']);
    await stream.write('first\n');
    const heard: string[] = [];
    for await (const chunk of stream.stdout) {
      heard.push(chunk.toString('utf8'));
      if (heard.length === 2) break;
      await stream.write('second\n');
    }
    expect(heard).toEqual(['heard first\n', 'heard second\n']);
    await stream.close();
    expect((await stream.ended).lost).toContain('closed');
  });

  it('tells how a command ended by itself, with the last of its errors', async () => {
    const stream = await transport.stream(['sh', '-c', 'echo reason >&2; exit 7']);
    expect(await stream.ended).toEqual({ exitCode: 7, signal: null, stderr: 'reason\n', lost: null });
    await expect(stream.write('x')).rejects.toMatchObject({ name: 'TransportError', failure: 'interrupted' });
    expect((await (await transport.stream(['expgraph-no-such-command'])).ended).exitCode).toBe(127);
  });

  it('holds back a command whose output nobody takes, and loses nothing', async () => {
    const marker = join(opened.folder, 'all written');
    const stream = await transport.stream(['sh', '-c', 'head -c 50000000 /dev/zero; touch "$1"', 'sh', marker]);
    for (let count = 0; count < 20; count += 1) await transport.exec(['sleep', '0.02']);
    expect(existsSync(marker)).toBe(false);
    let byteCount = 0;
    for await (const chunk of stream.stdout) byteCount += chunk.length;
    expect(byteCount).toBe(50_000_000);
    expect(await stream.ended).toMatchObject({ exitCode: 0 });
    expect(existsSync(marker)).toBe(true);
  });

  it('leaves room for commands, and is one at a time', async () => {
    const stream = await transport.stream(OBEDIENT);
    const words = Array.from({ length: 20 }, (_, index) => `${index}\n`);
    expect(await Promise.all(words.map(async (word) => (await transport.exec(['printf', '%s', word])).stdout.toString()))).toEqual(words);
    await expect(transport.stream(OBEDIENT)).rejects.toThrow(RangeError);
    await stream.close();
    await (await transport.stream(OBEDIENT)).close();
  });

  it('ends a command that listens neither to its input nor to TERM', async () => {
    const stream = await transport.stream(STUBBORN);
    const command = await processOf(stream);
    await stream.close();
    await gone(command);
  });

  it('leaves nothing behind when the transport is closed', async () => {
    const other = await open();
    const stream = await other.transport.stream(OBEDIENT);
    const command = await processOf(stream);
    await other.transport.close();
    expect((await stream.ended).lost).not.toBeNull();
    await gone(command);
    await other.remove();
  });

  it('leaves nothing behind when our process is killed', async () => {
    const pidFile = join(opened.folder, 'pid');
    await writeFile(pidFile, '');
    const { module, expression } = opened.inAnotherProcess;
    const program = `import * as opened from ${JSON.stringify(module)};
      const stream = await ${expression}.stream(['sh', '-c', 'echo $$; exec cat > /dev/null']);
      const { writeFileSync } = await import('node:fs');
      for await (const chunk of stream.stdout) writeFileSync(${JSON.stringify(pidFile)}, chunk);`;
    const owner = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], { stdio: ['ignore', 'inherit', 'inherit'] });
    await until('the command to run', 30_000, async () => (await readFile(pidFile, 'utf8')).endsWith('\n'));
    const command = identify(Number(await readFile(pidFile, 'utf8')));
    expect(command).not.toBeNull();
    owner.kill('SIGKILL');
    await gone(command!);
  });
});
