/** The script of a batch: header, what it says about itself, one case per task with everything embedded, and the supervisor. Pure. */
import type { BatchSpec, TaskSpec } from '../batch.ts';
import { UserError } from '../errors.ts';
import { artifactsDirectory, batchDirectory, checkpointsDirectory, configPath } from '../layout.ts';
import { embeddedVariables, expandCommand, expandEnvironment, type TemplatePaths } from '../template.ts';
import { CONFIG_START, manifestTaskBytes, renderManifest } from './manifest.ts';
import { sbatchHeader, sbatchOptions } from './sbatch-arguments.ts';
import { bashQuote } from './shell-quote.ts';
import { SUPERVISE } from './supervise.ts';

/** SLURM takes scripts of 4 MiB (max_script_size); the rest is for the header and the supervisor. */
export const MAX_SCRIPT_BYTES = 3 * 1024 * 1024;

/**
 * The script as it is submitted and recorded. Throws UserError for values that no script can carry. It may be larger
 * than MAX_SCRIPT_BYTES only when a single task is: see `taskScriptBytes`.
 */
export function renderBatchScript(batch: BatchSpec): string {
  if (batch.tasks.length === 0) throw new Error('a batch has at least one task');
  return [
    '#!/bin/bash\n',
    sbatchHeader(sbatchOptions(batch)),
    renderManifest(batch),
    '\n',
    `expgraph_batch_dir=${bashQuote(batchDirectory(batch.rootDirectory, batch.token))}\n`,
    `expgraph_setup=${bashQuote(batch.setupScript ?? '')}\n`,
    signals(batch),
    whichTask(batch.tasks.length),
    'case "$expgraph_task" in\n',
    ...batch.tasks.map(renderTask),
    `*) printf 'expgraph: this script has no task %s\\n' "$expgraph_task" >&2; exit 1 ;;\n`,
    'esac\n',
    SUPERVISE,
  ].join('');
}

/** Bytes that a task adds to its batch's script. Throws UserError like `renderBatchScript`. */
export function taskScriptBytes(task: TaskSpec): number {
  return Buffer.byteLength(renderTask(task, 0)) + manifestTaskBytes(task);
}

/** Ids are taken from the variables of a batch's own kind: a server inside a SLURM job hands down those of that job. */
function whichTask(taskCount: number): string {
  if (taskCount === 1) return 'expgraph_task=0\nexpgraph_slurm_id=$SLURM_JOB_ID\n';
  return 'expgraph_task=${SLURM_ARRAY_TASK_ID:-${EXPGRAPH_TASK_INDEX:-0}}\n'
    + 'expgraph_slurm_id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}\n';
}

const SIGNAL_NAMES: Readonly<Record<string, string>> = { 1: 'HUP', 2: 'TERM', 10: 'USR1', 12: 'USR2', 15: 'TERM', INT: 'TERM' };

/** `--signal=B:TERM@60` signals the script alone, so that there TERM must be passed on; and the script knows the warning by its signal. */
function signals(batch: BatchSpec): string {
  const word = /^\w*B\w*:(?:SIG)?(\w+)/i.exec(batch.resources.sbatchOptions['signal'] ?? '')?.[1]?.toUpperCase() ?? '';
  const warning = SIGNAL_NAMES[word] ?? word;
  return `expgraph_pass_term=${warning === 'TERM' ? 1 : 0}\nexpgraph_warning=${bashQuote(warning)}\n`;
}

function renderTask(task: TaskSpec, index: number): string {
  const { identity, jobDirectory } = task;
  const paths: TemplatePaths = {
    jobDirectory, configPath: configPath(jobDirectory),
    checkpointsDirectory: checkpointsDirectory(jobDirectory), artifactsDirectory: artifactsDirectory(jobDirectory),
  };
  const command = expandCommand(identity, paths);
  if (command[0]?.includes('=')) {
    throw UserError.of('BAD_USER_INPUT', `the program ${JSON.stringify(command[0])} has a "=" in its name; start it by a link without one`, ['command', '0']);
  }
  const variables = [...embeddedVariables(identity.config), ...expandEnvironment(identity, paths)];
  return [
    `${index})\n`,
    `  expgraph_job_dir=${bashQuote(jobDirectory)}\n`,
    `  expgraph_working_dir=${bashQuote(identity.workingDirectory ?? '')}\n`,
    `  expgraph_attempt=${task.attemptNumber}\n`,
    `  export EXPGRAPH_JOB_ID=${bashQuote(task.jobId)} EXPGRAPH_JOB_NAME=${bashQuote(task.jobName)}\n`,
    `  export EXPGRAPH_PROJECT=${bashQuote(task.project)} EXPGRAPH_EXPERIMENT=${bashQuote(task.experiment)}\n`,
    `  export EXPGRAPH_RESUME_CHECKPOINT=${bashQuote(task.resumeCheckpointPath ?? '')}\n`,
    `${CONFIG_START}${bashQuote(JSON.stringify(identity.config)).slice(1)}\n`,
    `  expgraph_variables=(${variables.map(([name, value]) => bashQuote(`${name}=${value}`)).join(' ')})\n`,
    `  expgraph_command=(${command.map(bashQuote).join(' ')})\n`,
    '  ;;\n',
  ].join('');
}
