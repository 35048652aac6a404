/** What the program of the watch takes from a machine: all jobs are under way and write nothing, which is what they do most of the time. */
import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WATCH_COMMAND } from '../src/cluster/watch/program.ts';
import { checkpointsDirectory, eventsPath, metricsPath, ownerPath } from '../src/domain/layout.ts';
import { rounded } from './result.ts';
import { withFolder } from './server.ts';

const JOBS_PER_LINE = 500;
/** Signs of life between which it is measured, after the first looks at all jobs. */
const BEATS = { warmUp: 1, measured: 2 };

export interface WatchCost {
  cpuMsPerSecond: number;
  statsPerSecond: number;
  /** Between two looks at the same job. */
  secondsBetweenLooks: number;
  memoryMiB: number;
}

interface Beat {
  at: number;
  stats: number;
  rounds: number;
  cpuSeconds: number;
  maxRssKiB: number;
}

export function measureWatchProgram(jobCount: number): Promise<WatchCost> {
  return withFolder(async (folder) => {
    const directories = Array.from({ length: jobCount }, (_, index) => join(folder, String(index)));
    for (const directory of directories) {
      for (const path of [ownerPath(directory, 1), metricsPath(directory), eventsPath(directory), `${checkpointsDirectory(directory)}/last.ckpt`]) {
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, 'x\n');
      }
    }
    const [first, last] = await beatsOf(directories);
    const seconds = (last.at - first.at) / 1000;
    return {
      cpuMsPerSecond: rounded(((last.cpuSeconds - first.cpuSeconds) * 1000) / seconds), statsPerSecond: Math.round((last.stats - first.stats) / seconds),
      secondsBetweenLooks: rounded(seconds / (last.rounds - first.rounds)), memoryMiB: Math.round(last.maxRssKiB / 1024),
    };
  });
}

/** The first and the last sign of life of the stretch that counts. */
async function beatsOf(directories: string[]): Promise<[Beat, Beat]> {
  const [program = '', ...rest] = WATCH_COMMAND;
  const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    for (let start = 0; start < directories.length; start += JOBS_PER_LINE) {
      child.stdin.write(`${JSON.stringify({ add: directories.slice(start, start + JOBS_PER_LINE).map((directory, index) => [start + index, directory, 1]) })}\n`);
    }
    const beats: Beat[] = [];
    let rest = '';
    for await (const chunk of child.stdout) {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const { beat } = JSON.parse(line) as { beat?: Omit<Beat, 'at'> & { jobs: number } };
        if (beat?.jobs === directories.length) beats.push({ at: performance.now(), ...beat });
      }
      if (beats.length > BEATS.warmUp + BEATS.measured) return [beats[BEATS.warmUp]!, beats.at(-1)!];
    }
    throw new Error('the program of the watch ended');
  } finally {
    child.stdin.end();
    child.kill();
  }
}
