/** What may go wrong in a round of chaos. */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CRASH_POINTS, type CrashPoint } from '../../src/reconcilers/crash-point.ts';
import { SBATCH_FAULTS, type SbatchFault } from '../rig/door.ts';
import { until } from '../rig/processes.ts';
import { restartDaemon, slurmAnswer, stopDaemon } from '../rig/rig.ts';
import type { Fault } from './chaos.ts';

/** `kill -9` of the server; it is started again at once. */
export const killServer: Fault = {
  name: 'the server is killed',
  async strike({ victim }) {
    await victim.kill();
    await victim.start();
  },
};

/** Points that every sweep passes; those of a cancel, of requests on checkpoints and of roll-ups are in tests of their own. */
export const PASSED_POINTS = CRASH_POINTS.filter((point) => !/^(?:cancel|checkpoints|roll-up)-/.test(point));

export const crashAt = (point: CrashPoint): Fault => ({
  name: `the server is killed at ${point}`,
  async before({ victim }) {
    await victim.kill();
    await victim.start(point);
  },
  async strike({ victim }) {
    await victim.died();
    await victim.start();
  },
});

export const breakSbatch = (fault: SbatchFault): Fault => ({
  name: `sbatch ${fault}`,
  async before({ door }) { door.breakNextSbatch(fault); },
  async strike({ door, random }) {
    if (fault === 'times out, submits when told') {
      await delay(12_000 * random());
      await door.submitLate();
    }
    if (!SBATCH_FAULTS[fault].includes('/sent')) return;
    await until(`sbatch to be used: ${fault}`, 60_000, door.hasSent);
    await delay(1_000 * random());
    await door.slam();
    await door.reopen();
  },
});

export const restartSshd: Fault = {
  name: 'sshd is killed with all connections and started again',
  async strike({ door, random }) {
    await door.slam();
    await delay(3_000 * random());
    await door.reopen();
  },
};

export const stopController = (seconds: number): Fault => ({
  name: `slurmctld is stopped for ${seconds} s`,
  async strike({ rig, cluster }) {
    await stopDaemon(rig, `slurmctld.${cluster}`);
    await delay(seconds * 1000);
    restartDaemon(rig, `slurmctld.${cluster}`);
    await until('slurmctld to answer', 60_000, async () => (await slurmAnswer(rig, cluster, ['squeue', '-h'])).exitCode === 0);
  },
});

export const stopAccounting = (seconds: number): Fault => ({
  name: `slurmdbd is stopped for ${seconds} s`,
  async strike({ rig, cluster }) {
    await stopDaemon(rig, 'slurmdbd');
    await delay(seconds * 1000);
    restartDaemon(rig, 'slurmdbd');
    await until('slurmdbd to answer', 60_000, async () => (await slurmAnswer(rig, cluster, ['sacct', '-n', '-X'])).exitCode === 0);
  },
});

/** @param restart stops PostgreSQL and starts it again at the same address */
export const restartPostgres = (restart: () => Promise<void>): Fault => ({
  name: 'PostgreSQL is restarted',
  strike: restart,
});

/** The file system of the root directory, which must be a small one of its own, is full for some seconds. */
export const fillDisk: Fault = {
  name: 'the disk of the cluster is full',
  async strike({ root, rig, cluster, random }) {
    const file = join(root, 'filler');
    const full = await slurmAnswer(rig, cluster, ['dd', 'if=/dev/zero', `of=${file}`, 'bs=64k']);
    if (full.exitCode === 0) throw new Error('the disk is not full');
    await delay(2_000 + 3_000 * random());
    rmSync(file);
  },
};

/** Makes a small file system at the folder; answers how to take it away. */
export function mountSmallDisk(folder: string, mebibytes: number): () => void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0777`, 'expgraph-chaos', folder]);
  return () => void execFileSync('umount', ['--lazy', folder]);
}
