/** The push: what jobs write is told at once, over one channel that leaves nothing behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Transport } from '../../src/cluster/transport.ts';
import { openSshTransport } from '../../src/cluster/transport/ssh.ts';
import { openWatch, type Watch, type WatchStatus } from '../../src/cluster/watch/open-watch.ts';
import { WATCH_COMMAND, WATCH_PROGRAM } from '../../src/cluster/watch/program.ts';
import { checkpointsDirectory, eventsPath, exitRecordPath, metricsPath, ownerPath } from '../../src/domain/layout.ts';
import { until } from '../rig/processes.ts';
import { startSshd, sshdUnavailableReason, type TestSshd } from '../support/sshd.ts';
import { TRANSPORTS, type OpenedTransport } from './transports.ts';

const silent = { info: () => undefined, warn: () => undefined };

/** A watch with all that it told. */
class Follower {
  readonly watch: Watch;
  readonly told: string[] = [];
  readonly statuses: WatchStatus[] = [];

  constructor(transport: Transport) {
    this.watch = openWatch(transport, silent);
    this.watch.onStatus((status) => this.statuses.push(status));
    this.watch.onChange((changes) => {
      for (const { jobDirectory, what } of changes) for (const kind of what) this.told.push(`${jobDirectory.split('/').at(-1)} ${kind}`);
    });
  }

  async tells(...changes: string[]): Promise<void> {
    await until(`${changes.join(', ')} (told: ${this.told.join(', ')})`, 30_000, () => changes.every((change) => this.told.includes(change)));
    this.told.length = 0;
  }

  becomes(state: 'LIVE' | 'POLLING'): Promise<void> {
    return until(`the watch to be ${state}`, 30_000, () => this.watch.status().state === state);
  }
}

async function write(path: string, text = 'x\n'): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

describe.each(TRANSPORTS.filter(({ skip }) => !skip))('a watch over the $name transport', ({ open }) => {
  let opened: OpenedTransport;
  let follower: Follower;
  /** How often the watch asked the transport for files. */
  let askedCount = 0;
  const job = (name: string) => join(opened.folder, name);

  beforeAll(async () => {
    opened = await open();
    await chmod(opened.folder, 0o755);
    const { transport } = opened;
    follower = new Follower({ ...transport, list: (request) => { askedCount += 1; return transport.list(request); }, read: (ranges) => { askedCount += 1; return transport.read(ranges); } });
    await follower.becomes('LIVE');
  });
  afterAll(async () => {
    await follower.watch.close();
    await opened.remove();
  });

  it('tells the start, every kind of writing and the end of a job', async () => {
    follower.watch.setJobs([{ jobDirectory: job('a'), attemptNumber: 1 }]);
    await write(ownerPath(job('a'), 1));
    await follower.tells('a started');
    await write(metricsPath(job('a')));
    await follower.tells('a metrics');
    await write(eventsPath(job('a')));
    await follower.tells('a notes');
    await write(`${checkpointsDirectory(job('a'))}/last.ckpt`);
    await follower.tells('a checkpoints');
    await write(exitRecordPath(job('a'), 1), '{}');
    await follower.tells('a exit');
  });

  it('tells a checkpoint again once it is left alone, and one that grows inside a folder', async () => {
    await write(`${checkpointsDirectory(job('a'))}/step-2/weights.pt`);
    await follower.tells('a checkpoints');
    await follower.tells('a checkpoints');
    await writeFile(`${checkpointsDirectory(job('a'))}/step-2/weights.pt`, 'grown');
    await follower.tells('a checkpoints');
  });

  it('tells what a job already has when it is added, and nothing of one that was removed or of another attempt', async () => {
    for (const name of ['b', 'c']) {
      await write(ownerPath(job(name), 2));
      await write(metricsPath(job(name)));
    }
    follower.watch.setJobs([{ jobDirectory: job('b'), attemptNumber: 2 }, { jobDirectory: job('c'), attemptNumber: 3 }]);
    await follower.tells('b started', 'b metrics');
    await write(metricsPath(job('a')), 'more\n');
    await write(ownerPath(job('c'), 2));
    await write(metricsPath(job('b')), 'more\n');
    await until('metrics of b', 30_000, () => follower.told.includes('b metrics'));
    expect(follower.told).toEqual(['b metrics']);
  });

  it('lists and reads as the transport does, over its channel', async () => {
    const tree = job('tree');
    await write(`${tree}/checkpoints/step-1/ü\n weights.pt`, 'weights');
    await symlink('step-1', `${tree}/checkpoints/last`);
    const request = { directories: [tree, job('not-there'), job('n'.repeat(300))], maxDepth: 3, maxEntries: 100 };
    const byPath = <Entry extends { path: string }>(entries: Entry[]) => [...entries].sort((a, b) => a.path.localeCompare(b.path));
    const expected = await opened.transport.list(request);
    const askedBefore = askedCount;
    const listed = await follower.watch.files.list(request);
    expect(byPath(listed.entries)).toEqual(byPath(expected.entries));
    expect(listed.entries).toHaveLength(4);
    expect([expected.unreadable, listed.unreadable]).toEqual([[request.directories[2]], [request.directories[2]]]);
    expect((await follower.watch.files.list({ ...request, maxEntries: 2 }))).toMatchObject({ truncated: true, entries: { length: 2 } });
    const path = `${tree}/checkpoints/step-1/ü\n weights.pt`;
    const ranges = [{ path, offsetBytes: 2, maxBytes: 3 }, { path: tree, offsetBytes: 0, maxBytes: 10 }, { path: `${tree}/no`, offsetBytes: 0, maxBytes: 10 }, { path, offsetBytes: 4, maxBytes: 100 }];
    expect((await follower.watch.files.read(ranges)).map(String)).toEqual(['igh', 'null', 'null', 'hts']);
    expect(askedCount).toBe(askedBefore);
    const large = [{ path, offsetBytes: 0, maxBytes: 4 * 1024 * 1024 }];
    expect(await follower.watch.files.read(large)).toEqual(await opened.transport.read(large));
  });

  it('writes nothing', async () => {
    expect((await readdir(opened.folder)).sort()).toEqual(['a', 'b', 'c', 'tree']);
    expect((await readdir(job('c'))).sort()).toEqual(['attempts', 'metrics.jsonl']);
  });
});

const noSshd = sshdUnavailableReason();

describe.skipIf(noSshd !== null)('a watch whose channel fails', () => {
  const cleanUp: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const undo of cleanUp.splice(0).reverse()) await undo();
  });

  async function follow(configLines: string[] = []): Promise<{ sshd: TestSshd; follower: Follower; transport: Transport }> {
    const sshd = await startSshd({ configLines });
    const { host, port, user, identityFile, knownHostsFile } = sshd;
    const transport = openSshTransport({
      host, port, user, identityFile, agentSocket: null, knownHostsFiles: [knownHostsFile], jumps: [], connectTimeoutSeconds: 5, maxChannels: 8,
    });
    const follower = new Follower(transport);
    cleanUp.push(() => sshd.remove(), () => transport.close(), () => follower.watch.close());
    return { sshd, follower, transport };
  }

  /** Programs of the watch on this sshd's connections. Others may watch as the same user, on connections of their own. */
  const programsOf = async ({ port }: TestSshd): Promise<string[]> => {
    const found: string[] = [];
    for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
      // One that ends meanwhile is none.
      const read = async (file: string): Promise<string[]> => (await readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')).split('\0');
      const isOurs = (await read('environ')).some((variable) => variable.startsWith('SSH_CONNECTION=') && variable.endsWith(` ${port}`));
      if (isOurs && (await read('cmdline')).slice(1, 6).join(' ').startsWith('-I -S -u -c # expgraph watch')) found.push(pid);
    }
    return found;
  };

  it('says so, comes back when sshd does, and then tells what was missed', async () => {
    const { sshd, follower } = await follow();
    await follower.becomes('LIVE');
    const jobDirectory = join(sshd.folder, 'job');
    follower.watch.setJobs([{ jobDirectory, attemptNumber: 1 }]);
    await write(ownerPath(jobDirectory, 1));
    await follower.tells('job started');
    await sshd.stop();
    await follower.becomes('POLLING');
    expect(follower.watch.status().reason).toMatch(/connection/);
    await write(exitRecordPath(jobDirectory, 1), '{}');
    await sshd.start();
    await follower.becomes('LIVE');
    await follower.tells('job started', 'job exit');
  });

  it('comes back after the program was killed', async () => {
    const { sshd, follower, transport } = await follow();
    await follower.becomes('LIVE');
    const [pid] = await programsOf(sshd);
    await transport.exec(['kill', '-KILL', pid ?? '']);
    await follower.becomes('POLLING');
    expect(follower.watch.status().reason).toBe('the watch program ended (signal SIGKILL)');
    await follower.becomes('LIVE');
  });

  it('leaves nothing running when the process that watches is killed', async () => {
    const { sshd, follower } = await follow();
    await follower.watch.close();
    await until('no program', 30_000, async () => (await programsOf(sshd)).length === 0);
    const victim = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'watch-victim.ts'), JSON.stringify(sshd)], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [said] = await once(victim.stdout, 'data') as [Buffer];
    expect(said.toString()).toBe('LIVE\n');
    expect(await programsOf(sshd)).toHaveLength(1);
    victim.kill('SIGKILL');
    await until('the program to end', 30_000, async () => (await programsOf(sshd)).length === 0);
  }, 60_000);

  it('says that another command runs in the place of its own', async () => {
    const { follower } = await follow(['ForceCommand echo not this']);
    await until('the reason', 30_000, () => follower.statuses.length > 0);
    expect(follower.statuses[0]).toEqual({ state: 'POLLING', reason: 'the watch program ended (exit code 0)' });
  });

  it('says that there is no python3', async () => {
    const { follower } = await follow(['SetEnv PATH=/nowhere']);
    await until('the reason', 30_000, () => follower.statuses.length > 0);
    expect(follower.statuses).toEqual([{ state: 'POLLING', reason: 'there is no python3 on the machine that is watched' }]);
  });

  it('says that sshd allows no further channel', async () => {
    const { follower, transport } = await follow(['MaxSessions 1']);
    await follower.becomes('LIVE');
    expect((await transport.exec(['echo', 'still here'])).stdout.toString()).toBe('still here\n');
    await follower.becomes('POLLING');
    expect(follower.watch.status().reason).toContain('one channel only');
  });
});

describe('the program of the watch', () => {
  it('looks at a new job at once, though a round over all jobs takes seconds', async () => {
    const [program = '', ...rest] = WATCH_COMMAND;
    const slow = rest.with(rest.length - 1, WATCH_PROGRAM.replace('MOST_STATS = 0.2', 'MOST_STATS = 60'));
    const child = spawn(program, slow, { stdio: ['pipe', 'pipe', 'inherit'] });
    const said: string[] = [];
    child.stdout.on('data', (chunk: Buffer) => said.push(chunk.toString()));
    const folder = await mkdtemp(join(tmpdir(), 'expgraph-watch-'));
    await write(ownerPath(folder, 1));
    await until('the program to be there', 30_000, () => said.join('').includes('beat'));
    child.stdin.write(`${JSON.stringify({ add: [[1, folder, 1]] })}\n`);
    await until('the start', 30_000, () => said.join('').includes('{"changed": [[1, ["started"'));
    child.stdin.end();
    expect(await once(child, 'close')).toEqual([0, null]);
    await rm(folder, { recursive: true });
  });

  it('looks at files no more often than it may, however many jobs there are', async () => {
    const [program = '', ...rest] = WATCH_COMMAND;
    const hasty = WATCH_PROGRAM.replace('0.02, 0.03, 0.25, 10000', '0.02, 1, 1, 100').replace(/^LEASE, BEAT = (\d+), \d+/m, 'LEASE, BEAT = $1, 1');
    expect(hasty).toMatch(/1, 1, 100\n/);
    const child = spawn(program, rest.with(rest.length - 1, hasty), { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.write(`${JSON.stringify({ add: Array.from({ length: 150 }, (_, index) => [index, `/nowhere/${index}`, 1]) })}\n`);
    const beats: { at: number; stats: number }[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      const { beat } = JSON.parse(line) as { beat?: { stats: number } };
      if (beat !== undefined) beats.push({ at: performance.now(), stats: beat.stats });
      if (beats.length === 5) break;
    }
    child.stdin.end();
    const [first, last] = [beats[1]!, beats[4]!];
    // What one slice looks at is paid for by the pause after it.
    expect(last.stats - first.stats).toBeLessThanOrEqual((100 * (last.at - first.at)) / 1000 + 300);
    expect(last.stats).toBeGreaterThan(150);
  });

  it('fits into one argument and says what it is in the list of processes', () => {
    expect(Buffer.byteLength(WATCH_PROGRAM)).toBeLessThan(16 * 1024);
    expect(WATCH_PROGRAM).toMatch(/^# expgraph watch/);
  });

  it('ends by itself when its input stays open but nothing is heard', async () => {
    const [program = '', ...rest] = WATCH_COMMAND;
    const hasty = rest.with(rest.length - 1, WATCH_PROGRAM.replace(/^LEASE, BEAT = \d+/m, 'LEASE, BEAT = 1'));
    const child = spawn(program, hasty, { stdio: ['pipe', 'ignore', 'inherit'] });
    expect(await once(child, 'close')).toEqual([null, 'SIGALRM']);
  });

  it('says what went wrong before it ends', async () => {
    const [program = '', ...rest] = WATCH_COMMAND;
    const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
    const said: string[] = [];
    child.stdout.on('data', (chunk: Buffer) => said.push(chunk.toString()));
    child.stdin.write('not json\n');
    expect(await once(child, 'close')).toEqual([1, null]);
    expect(said.join('')).toMatch(/\{"fault": "JSONDecodeError: /);
  });
});
