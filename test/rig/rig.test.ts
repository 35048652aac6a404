import { execFile } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openDoor } from './door.ts';
import { endAll, isAlive, readRecords, until } from './processes.ts';
import {
  ensureRig, killNode, rigStatus, rigUnavailableReason, slurm, startNode, startSshd, stopSshd, takeDownRig, type Rig, type RigCluster,
} from './rig.ts';

const run = promisify(execFile);
const reason = rigUnavailableReason();
if (reason !== null && process.env['CI']) throw new Error(`cluster tests may not be skipped in CI: ${reason}`);
if (reason !== null) console.warn(`cluster tests are skipped: ${reason}`);

describe.skipIf(reason !== null)('the rig', () => {
  let rig: Rig;

  // A rig of its own: these tests kill nodes and doors that other tests need.
  const directory = `/tmp/expgraph-rig-test-${process.pid}`;

  beforeAll(async () => {
    vi.stubEnv('EXPGRAPH_RIG_DIR', directory);
    rig = await ensureRig();
  }, 300_000);

  afterAll(async () => {
    await takeDownRig();
    rmSync(`${directory}.lock`);
  });

  function cluster(name: string): RigCluster {
    return rig.clusters.find((candidate) => candidate.name === name)!;
  }

  async function ssh(name: string, command: string): Promise<string> {
    const { stdout } = await run('ssh', [
      '-F', '/dev/null', '-p', String(cluster(name).sshPort), '-i', rig.identityFile, '-o', `UserKnownHostsFile=${rig.knownHostsFile}`, '-o', 'StrictHostKeyChecking=yes',
      '-o', 'BatchMode=yes', `${rig.user}@127.0.0.1`, command,
    ]);
    return stdout.trim();
  }

  it('answers over SSH with two clusters of different names, GPUs and limits', async () => {
    const [alpha, beta] = await Promise.all(['alpha', 'beta'].map((name) => ssh(name, 'scontrol show config; sinfo -h -o "%P %G"')));
    expect(alpha).toMatch(/ClusterName\s+= alpha\n/);
    expect(alpha).toMatch(/MaxArraySize\s+= 1001\n/);
    expect(alpha).toContain('gpu* gpu:rtx8000:2');
    expect(beta).toMatch(/ClusterName\s+= beta\n/);
    expect(beta).toMatch(/MaxArraySize\s+= 21\n/);
    expect(beta).toContain('gpu* gpu:a100:4');
  });

  it('runs a submitted job with its GPU and remembers it in accounting, under one name on each cluster', async () => {
    for (const { name, rootDirectory } of rig.clusters) {
      const output = `${rootDirectory}/rig-test-%j.out`;
      const id = await ssh(name, `printf '#!/bin/sh\\nid -un; echo gpu $CUDA_VISIBLE_DEVICES\\n' | sbatch --parsable --gres=gpu:1 --output=${output}`);
      await until(`job ${id} on ${name} to be accounted`, 30_000, async () =>
        /^COMPLETED\|0:0\|cds$/m.test(await slurm(rig, name, ['sacct', '-n', '-P', '-X', '-j', id, '--format=State,ExitCode,Account'])));
      expect(await ssh(name, `cat ${output.replace('%j', id)}`)).toMatch(/^expgraph-rig\ngpu [0-3]$/);
    }
  }, 60_000);

  it('fails the job of a node that dies, and the node comes back', async () => {
    const node = cluster('alpha').nodes.at(-1)!;
    const id = (await slurm(rig, 'alpha', ['sbatch', '--parsable', '--no-requeue', `--nodelist=${node}`, '--output=/dev/null'], { stdin: '#!/bin/sh\nsleep 300\n' })).trim();
    const state = async () => (await slurm(rig, 'alpha', ['squeue', '-h', '-t', 'all', '-j', id, '-o', '%T'])).trim();
    await until('the job to run', 30_000, async () => (await state()) === 'RUNNING');
    await killNode(rig, 'alpha', node);
    try {
      await until('the job to be failed by SLURM', 60_000, async () => (await state()) === 'NODE_FAIL');
      expect((await ensureRig()).directory).toBe(rig.directory);
    } finally {
      await startNode(rig, 'alpha', node);
    }
    expect((await slurm(rig, 'alpha', ['sinfo', '-h', '-N', '-n', node, '-o', '%t'])).trim()).toMatch(/^(idle|mix)/);
  }, 150_000);

  it('refuses connections while a door is closed, and opens it with the same host key', async () => {
    await stopSshd(rig, 'beta');
    try {
      await expect(ssh('beta', 'true')).rejects.toThrow(/Connection refused/);
      await expect(ssh('alpha', 'echo still there')).resolves.toBe('still there');
    } finally {
      await startSshd(rig, 'beta');
    }
    await expect(ssh('beta', 'echo back')).resolves.toBe('back');
  });

  it('is whole for everybody while a living test has slammed or closed a door of its own', async () => {
    const door = await openDoor(rig, 'alpha', 'door-of-the-test');
    await door.slam();
    expect(rigStatus().rig).toEqual(rig);
    await door.reopen();
    await door.close();
    expect(rigStatus().rig).toEqual(rig);
    expect(await ensureRig()).toEqual(rig);
  });

  it('is built once by many callers, again after all of it was killed, and leaves nothing when taken down', async () => {
    const sleeper = ['sbatch', '--parsable', '--output=/dev/null'];
    const first = readRecords(directory).map((record) => record.process);
    await slurm(rig, 'alpha', sleeper, { stdin: '#!/bin/sh\nsleep 300\n' });
    await endAll(first, 'SIGKILL');
    expect(rigStatus().rig).toBeNull();

    const [one, other] = await Promise.all([ensureRig(), ensureRig()]);
    expect(other).toEqual(one);
    rig = one;
    expect(await ssh('alpha', 'squeue -h')).toBe('');

    const second = readRecords(directory).map((record) => record.process);
    expect(second).toHaveLength(first.length);
    expect(await takeDownRig()).toBe(true);
    expect([...first, ...second].filter(isAlive)).toEqual([]);
    expect(existsSync(directory)).toBe(false);
    expect(await takeDownRig()).toBe(false);
  }, 120_000);
});
