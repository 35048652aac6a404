/** How a situation is submitted, waited for and recorded: everything of `record.ts` that is not a situation. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../rig/processes.ts';
import { ensureRig, rigCluster, slurm, slurmAnswer, type SlurmOptions } from '../rig/rig.ts';

export type ClusterName = 'alpha' | 'beta';
interface Recording { files: string[]; cluster: ClusterName; command: string; exitCode: number; situation: string }

export const SQUEUE_FORMAT = '%i|%T|%r|%N|%S|%V|%l|%M|%j';
const SACCT_FIELDS = 'JobID,JobName,State,ExitCode,DerivedExitCode,Reason,NodeList,Start,End,ElapsedRaw,MaxRSS,Submit';
export const SINFO_FORMAT = '%P|%a|%l|%D|%T|%C|%m|%G|%t';
/** `GresUsed` and other fields that `-o` has no letter for; the bars are suffixes of each column. */
export const NODE_FIELDS = 'Partition:64|,NodeList:64|,StateComplete:48|,CPUsState:32|,Memory:16|,Gres:256|,GresUsed:256|,Time:24|,Available:16';
const recordings: Recording[] = [];
const startedAt = new Date(Date.now() - 5_000).toISOString().slice(0, 19);

export const rig = await ensureRig(console.log);

/** The command that asks for the queue, as the product asks. */
export const squeue = ['squeue', '-h', '-r', '-u', rig.user, '-o', SQUEUE_FORMAT];
/** Accounting of one id: shows also what was never eligible. */
export const sacctById = (id: string) => ['sacct', '-n', '-P', '--duplicates', '-j', id, `--format=${SACCT_FIELDS}`];
/** Accounting of situations by job name and time, as the product asks. */
export const sacct = (...names: string[]) => ['sacct', '-n', '-P', '--duplicates', '--name', names.map(token).join(','), '-S', startedAt, `--format=${SACCT_FIELDS}`];

/** The name of the SLURM jobs of a situation, in the form that real batch tokens have. */
export function token(situation: string): string {
  return `eg-0123456789-${situation}`;
}

function shellWord(word: string): string {
  return /^[\w./=:,%+@-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** Runs the command and keeps what it printed: standard error, if any, in a file of its own (`x.stderr.txt` beside `x.txt`). */
export async function record(cluster: ClusterName, file: string, situation: string, argv: string[], options: SlurmOptions = {}): Promise<void> {
  const answer = await slurmAnswer(rig, cluster, argv, options);
  const errorFile = file.replace(/\.txt$/, '.stderr.txt');
  const kept = [
    ...(answer.stdout === '' && answer.stderr !== '' ? [] : [{ name: file, text: answer.stdout }]),
    ...(answer.stderr === '' ? [] : [{ name: errorFile, text: answer.stderr }]),
  ];
  for (const { name, text } of kept) writeFileSync(join(import.meta.dirname, name), text);
  recordings.push({ files: kept.map(({ name }) => name), cluster, command: argv.map(shellWord).join(' '), exitCode: answer.exitCode, situation });
  console.log(`${file} (${answer.exitCode})`);
}

/** Submits a script under a situation's name; answers the id. */
export async function submit(cluster: ClusterName, situation: string, argv: string[], body: string): Promise<string> {
  const log = join(rigCluster(rig, cluster).rootDirectory, '%x_%A_%a.out');
  // Node a4 is kept for the jobs that are to die with it.
  const placement = cluster === 'alpha' && !argv.some((word) => word.startsWith('--nodelist')) ? ['--exclude=a4'] : [];
  const printed = await slurm(rig, cluster, ['sbatch', '--parsable', ...placement, `--job-name=${token(situation)}`, `--output=${log}`, ...argv], { stdin: `#!/bin/bash\n${body}\n` });
  return printed.trim();
}

/** Runs a command as SLURM's administrator. */
export const root = (cluster: ClusterName, ...argv: string[]) => slurm(rig, cluster, argv, { as: 'root' });
/** State and reason of each job of a situation. */
export const states = async (cluster: ClusterName, situation: string) =>
  (await slurm(rig, cluster, ['squeue', '-h', '-r', '-t', 'all', '--name', token(situation), '-o', '%T %r'])).trim().split('\n');

/** Waits until every job of the situation matches. */
export async function untilState(cluster: ClusterName, situation: string, pattern: RegExp, seconds = 60): Promise<void> {
  await until(`${situation} to be ${pattern}`, seconds * 1000, async () => (await states(cluster, situation)).every((line) => pattern.test(line)));
}

/** Waits until accounting of the situation matches. */
export async function untilAccounted(cluster: ClusterName, situation: string, pattern: RegExp, seconds = 60): Promise<void> {
  await until(`${situation} to be accounted as ${pattern}`, seconds * 1000, async () => pattern.test(await slurm(rig, cluster, sacct(situation))));
}

/** Writes README.md: what was recorded so far. */
export function writeTable(version: string): void {
  const rows = recordings.map(({ files, cluster, command, exitCode, situation }) =>
    `| ${files.map((file) => `\`${file}\``).join(' ')} | ${cluster} | ${exitCode} | ${situation.replaceAll('|', String.raw`\|`)} | \`${command.replaceAll('|', String.raw`\|`)}\` |`);
  writeFileSync(join(import.meta.dirname, 'README.md'), [
    '# What SLURM really prints',
    '',
    `Recorded by \`record.ts\` on the test rig (${version}), with \`TZ=UTC0\` unless the row says otherwise. \`x.txt\` holds standard output, \`x.stderr.txt\` standard error`,
    '(no file: nothing was printed there). `--array` jobs and their names (`eg-0123456789-<situation>`) are as in real submissions. Fed to `sbatch` on standard input: a script of two lines.',
    '',
    '| file | cluster | exit code | situation | command |',
    '|---|---|---|---|---|',
    ...rows,
    '',
  ].join('\n'));
}
