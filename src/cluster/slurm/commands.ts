/** The argv of every SLURM command we run. Times are in UTC and in SLURM's standard form, whatever the account is set to. */
import type { CommandUse } from '../command-budget.ts';
import type { SubmittedBatch } from '../executor.ts';
import { batchDirectory } from '../../domain/layout.ts';
import { sbatchArguments } from '../../domain/script/sbatch-arguments.ts';
import { compactIds } from './job-ids.ts';

/** A transport takes 120 KiB of arguments; the rest is for the command's own words and for quoting. */
const MAX_LIST_BYTES = 100_000;
/** Accounts may set these; they would hide jobs from us or change what is printed. */
const MEDDLING_VARIABLES = ['SQUEUE_PARTITION', 'SQUEUE_STATES', 'SQUEUE_SORT', 'SQUEUE_LICENSES', 'SINFO_PARTITION', 'SACCT_FEDERATION', 'SLURM_BITSTR_LEN'];
const ENVIRONMENT = ['env', ...MEDDLING_VARIABLES.flatMap((name) => ['-u', name]), 'TZ=UTC0', 'LC_ALL=C', 'SLURM_TIME_FORMAT=standard'];

/** Exit code of the submission when the batch directory could not be made. */
export const NO_DIRECTORY_EXIT_CODE = 73;
const SUBMIT = `mkdir -p -- "$1" || exit ${NO_DIRECTORY_EXIT_CODE}; shift; exec sbatch --parsable "$@"`;

/** Makes the batch directory and submits the script on standard input: one round trip. */
export function submitCommand(batch: SubmittedBatch): string[] {
  return ['sh', '-c', SUBMIT, 'submit', batchDirectory(batch.rootDirectory, batch.token), ...sbatchArguments(batch)];
}

export const QUEUE_FORMAT = '%i|%T|%r|%N|%S|%V|%P %a %q|%M|%j';

/** All jobs of a user that the controller remembers, array tasks singly: also those that ended in the last MinJobAge (5 minutes). */
export function queueCommand(user: string): string[] {
  return [...ENVIRONMENT, 'squeue', '-h', '-r', '-t', 'all', '-u', user, '-o', QUEUE_FORMAT];
}

/** The same of the jobs of one name. */
export function queueByNameCommand(user: string, name: string): string[] {
  return [...queueCommand(user), '-n', name];
}

/** What jobs depend on, and what became of that, also of those that have ended: `7|afterok:6(failed)`. */
export function dependencyCommands(slurmJobIds: string[]): string[][] {
  return inChunks(slurmJobIds).map((ids) => [...ENVIRONMENT, 'squeue', '-h', '-r', '-t', 'all', '-j', ids.join(','), '-o', '%i|%E']);
}

export const ACCOUNTING_FIELDS = 'JobID,JobName,State,ExitCode,DerivedExitCode,Reason,NodeList,Start,End,ElapsedRaw,MaxRSS,Submit';
const ACCOUNTING = [...ENVIRONMENT, 'sacct', '-n', '-P', '--duplicates', `--format=${ACCOUNTING_FIELDS}`];

/** What accounting says of jobs by id: one command unless there are too many ids for one. */
export function accountingByIdCommands(slurmJobIds: string[]): string[][] {
  return inChunks(slurmJobIds).map((ids) => [...ACCOUNTING, '-j', ids.join(',')]);
}

/** What accounting says of whole arrays, without their steps. */
export function accountingOfArrayCommands(baseIds: string[]): string[][] {
  return inChunks(baseIds).map((ids) => [...ACCOUNTING, '-X', '-j', ids.join(',')]);
}

/** What accounting says of jobs by name, submitted since `since`. */
export function accountingByNameCommands(tokens: string[], since: Date): string[][] {
  return inChunks(tokens).map((names) => [...ACCOUNTING, '-S', since.toISOString().slice(0, 19), '--name', names.join(',')]);
}

/**
 * Without a signal option: SLURM then sends TERM to every process of the job, so that the script can write its exit
 * record, and KILL after KillWait. With one, the job would not end for certain.
 */
export function cancelCommands(slurmJobIds: string[], { onlyWaiting = false } = {}): string[][] {
  return inChunks(compactIds(slurmJobIds)).map((ids) => ['env', 'LC_ALL=C', 'scancel', '--quiet', ...(onlyWaiting ? ['--state=PENDING'] : []), ...ids]);
}

export function holdCommands(slurmJobIds: string[], held: boolean): string[][] {
  return inChunks(compactIds(slurmJobIds)).map((ids) => ['env', 'LC_ALL=C', 'scontrol', held ? 'hold' : 'release', ...ids]);
}

/** The batch script of a job of one's own, which the controller keeps for as long as it remembers the job. */
export function scriptCommand(slurmJobId: string): string[] {
  return ['env', 'LC_ALL=C', 'scontrol', 'write', 'batch_script', slurmJobId, '-'];
}

const NODE_FIELDS = 'Partition:64|,NodeList:64|,StateComplete:48|,CPUsState:32|,Memory:16|,Gres:256|,GresUsed:256|,Time:24|,Available:16';

/** One row a node and partition. */
export const NODES_COMMAND = [...ENVIRONMENT, 'sinfo', '-h', '-N', '-O', NODE_FIELDS];
export const OVERVIEW_FORMAT = '%T|%Q|%P|%u|%i|%r';
/** One short row for each job or array task of anybody. */
export const OVERVIEW_COMMAND = [...ENVIRONMENT, 'squeue', '-h', '-r', '-t', 'PENDING,RUNNING', '-o', OVERVIEW_FORMAT];
export const CONFIG_COMMAND = [...ENVIRONMENT, 'scontrol', 'show', 'config'];

/** The limits of a user in each account. A value that an account sets for all its users stands in their own row. */
export function associationsCommand(user: string): string[] {
  return [...ENVIRONMENT, 'sacctmgr', '-nP', 'show', 'user', 'where', `name=${user}`, 'withassoc',
    'format=DefaultAccount,Cluster,Account,Partition,MaxJobs,MaxSubmitJobs,GrpSubmitJobs,DefaultQOS'];
}

export const QOS_COMMAND = [...ENVIRONMENT, 'sacctmgr', '-nP', 'show', 'qos', 'format=Name,MaxJobsPU,MaxSubmitJobsPU,MaxSubmitJobsPA,GrpSubmitJobs'];

const SLURM_COMMANDS = ['sbatch', 'squeue', 'sacct', 'scancel', 'scontrol', 'sinfo', 'sacctmgr'];

/** Which command of SLURM an argv made here runs; null for any other argv. */
export function slurmCommandOf(argv: string[]): string | null {
  return argv[2] === SUBMIT ? 'sbatch' : argv.find((word) => SLURM_COMMANDS.includes(word)) ?? null;
}

/** Whether SLURM's controller answers the command; accounting has a daemon of its own. */
export function needsController(command: string): boolean {
  return command !== 'sacct' && command !== 'sacctmgr';
}

/** What a command of SLURM made here is for. */
export function commandUseOf(argv: string[]): CommandUse {
  switch (slurmCommandOf(argv)) {
    case 'sbatch': return 'submit';
    case 'scancel': return 'wish';
    case 'scontrol': return argv === CONFIG_COMMAND ? 'describe' : 'wish';
    case 'squeue': return argv === OVERVIEW_COMMAND ? 'describe' : 'look';
    case 'sacct': return 'look';
    default: return 'describe';
  }
}

function inChunks(words: string[]): string[][] {
  const chunks: string[][] = [];
  let bytes = Infinity;
  for (const word of words) {
    const wordBytes = Buffer.byteLength(word) + 3;
    if (bytes + wordBytes > MAX_LIST_BYTES) {
      chunks.push([]);
      bytes = 0;
    }
    chunks.at(-1)?.push(word);
    bytes += wordBytes;
  }
  return chunks;
}
