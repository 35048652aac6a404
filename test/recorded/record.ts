/**
 * Records what real SLURM prints in every situation the parsers must understand, as files in this folder, and the table in
 * README.md. Run it with a rig of its own (it drains nodes and stops daemons): `EXPGRAPH_RIG_DIR=/tmp/rig-record npx tsx test/recorded/record.ts`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { endAll, readRecord, until } from '../rig/processes.ts';
import { killNode, slurm, slurmAnswer, startNode, takeDownRig, type Rig, type SlurmOptions } from '../rig/rig.ts';
import {
  NODE_FIELDS, record, rig, root, sacct, sacctById, SINFO_FORMAT, squeue, SQUEUE_FORMAT, states, submit, token, untilAccounted, untilState, writeTable, type ClusterName,
} from './recorder.ts';

async function recordSubmissions(): Promise<void> {
  const script = { stdin: '#!/bin/bash\ntrue\n' };
  const answer = (file: string, situation: string, argv: string[], cluster: ClusterName = 'alpha', options: SlurmOptions = script) =>
    record(cluster, file, situation, ['sbatch', '--parsable', '--output=/dev/null', ...argv], options);
  await answer('sbatch-accepted.txt', 'accepted', []);
  await answer('sbatch-accepted-array.txt', 'array accepted', ['--array=0-4']);
  await answer('sbatch-refused-partition.txt', 'no such partition', ['--partition=nowhere']);
  await answer('sbatch-refused-account.txt', 'no such account', ['--account=nobody']);
  await answer('sbatch-refused-qos.txt', 'no such QOS', ['--qos=nosuch']);
  await answer('sbatch-refused-time-word.txt', 'time that cannot be read', ['--time=soon']);
  await answer('sbatch-refused-time-limit.txt', 'more time than the partition allows, EnforcePartLimits=ALL', ['--partition=short', '--time=10']);
  await answer('sbatch-refused-array-size.txt', 'index not below MaxArraySize (21)', ['--array=0-21'], 'beta');
  await answer('sbatch-refused-gpu-count.txt', 'more GPUs than any node has', ['--gres=gpu:rtx8000:3']);
  await answer('sbatch-refused-gpu-type.txt', 'no such GPU type', ['--gres=gpu:h100:1']);
  await answer('sbatch-refused-gres.txt', 'no such generic resource', ['--gres=tpu:1']);
  await answer('sbatch-refused-memory.txt', 'more memory than any node has', ['--mem=900G']);
  await answer('sbatch-refused-cpus.txt', 'more CPUs than any node has', ['--cpus-per-task=65']);
  await answer('sbatch-refused-nodes.txt', 'more nodes than the partition has', ['--nodes=9']);
  await answer('sbatch-refused-constraint.txt', 'no such feature', ['--constraint=volta']);
  await answer('sbatch-refused-option.txt', 'no such option', ['--frobnicate']);
  await answer('sbatch-refused-no-shebang.txt', 'script without #!', [], 'alpha', { stdin: 'true\n' });
  await answer('sbatch-refused-empty.txt', 'empty script', [], 'alpha', { stdin: '' });
  await root('alpha', 'scontrol', 'update', 'PartitionName=short', 'State=DRAIN');
  await answer('sbatch-refused-partition-drained.txt', 'partition is drained: no new jobs for now', ['--partition=short']);
  await root('alpha', 'scontrol', 'update', 'PartitionName=short', 'State=UP');
  await root('alpha', 'sacctmgr', '-iQ', 'add', 'qos', 'few', 'MaxSubmitJobsPerUser=1');
  await root('alpha', 'sacctmgr', '-iQ', 'modify', 'user', rig.user, 'set', 'qos+=few');
  await until('the new QOS to be usable', 20_000, async () => (await slurmAnswer(rig, 'alpha', ['sbatch', '--qos=few', '--hold', '--output=/dev/null'], script)).exitCode === 0);
  await answer('sbatch-refused-submit-limit.txt', "as many jobs as the QOS' MaxSubmitJobsPerUser already there: works again later", ['--qos=few']);
  await slurm(rig, 'alpha', ['scancel', '--qos=few']);
}

async function recordDescriptions(): Promise<void> {
  for (const cluster of ['alpha', 'beta'] as const) {
    await record(cluster, `sinfo-${cluster}.txt`, 'partitions', ['sinfo', '-h', '-o', SINFO_FORMAT]);
    await record(cluster, `sinfo-exact-${cluster}.txt`, 'partitions, a row for each different configuration', ['sinfo', '-h', '-e', '-o', SINFO_FORMAT]);
    await record(cluster, `sinfo-nodes-${cluster}.txt`, 'GPUs and how many are used, a row for each node and partition',
      ['sinfo', '-h', '-N', '-O', NODE_FIELDS]);
    await record(cluster, `scontrol-partition-${cluster}.txt`, 'partitions', ['scontrol', 'show', 'partition', '-o']);
    await record(cluster, `scontrol-config-${cluster}.txt`, 'configuration', ['scontrol', 'show', 'config']);
    await record(cluster, `scontrol-node-${cluster}.txt`, 'nodes', ['scontrol', 'show', 'node', '-o']);
  }
  await record('alpha', 'sinfo-version.txt', 'version', ['sinfo', '--version']);
}

/** Jobs that wait, each for another reason, with some that run. */
async function recordQueue(): Promise<void> {
  const sleep = 'sleep 300';
  await submit('beta', 'blocker', ['--nodes=2', '--gres=gpu:a100:4', '--time=5'], sleep);
  await untilState('beta', 'blocker', /RUNNING/);
  await submit('beta', 'resources', ['--gres=gpu:a100:4'], sleep);
  await untilState('beta', 'resources', /Resources/);
  await submit('beta', 'priority', ['--gres=gpu:a100:4'], sleep);
  await submit('beta', 'partition-time', ['--partition=cpu', '--time=5:00:00'], sleep);
  await submit('beta', 'array-running', ['--partition=cpu', '--array=0-2', '--time=5'], sleep);
  await untilState('beta', 'priority', /Priority|Resources/);
  await untilState('beta', 'array-running', /RUNNING/);
  const held = await submit('alpha', 'held-user', ['--hold'], sleep);
  const byAdmin = await submit('alpha', 'held-admin', ['--begin=now+1hour'], sleep);
  await root('alpha', 'scontrol', 'hold', byAdmin);
  await submit('alpha', 'held-array', ['--hold', '--array=0-5'], sleep);
  await submit('alpha', 'dependency', [`--dependency=afterok:${held}`], sleep);
  const failing = await submit('alpha', 'dependency-cause', [], 'exit 1');
  await untilState('alpha', 'dependency-cause', /FAILED/);
  await submit('alpha', 'dependency-never', [`--dependency=afterok:${failing}`], sleep);
  await submit('alpha', 'begin', ['--begin=now+1hour'], sleep);
  await submit('alpha', 'qos-first', ['--qos=single'], sleep);
  await untilState('alpha', 'qos-first', /RUNNING/);
  await submit('alpha', 'qos-second', ['--qos=single'], sleep);
  await submit('alpha', 'array-throttled', ['--array=0-2%1'], sleep);
  await root('alpha', 'scontrol', 'update', 'NodeName=a3', 'State=DRAIN', 'Reason=recording');
  await submit('alpha', 'node-drained', ['--nodelist=a3'], sleep);
  await submit('alpha', 'two-nodes', ['--nodes=2'], sleep);
  const suspended = await submit('alpha', 'suspended', [], sleep);
  await untilState('alpha', 'suspended', /RUNNING/);
  await root('alpha', 'scontrol', 'suspend', suspended);
  const special = await submit('alpha', 'requeue-hold', [], sleep);
  await untilState('alpha', 'requeue-hold', /RUNNING/);
  await root('alpha', 'scontrol', 'requeuehold', 'State=SpecialExit', special);
  await submit('alpha', 'completing', [], "trap '' TERM\nsleep 300 & sleep 300 & while true; do wait; done");
  await untilState('alpha', 'completing', /RUNNING/);
  await untilState('alpha', 'qos-second', /QOS/);
  await untilState('alpha', 'node-drained', /ReqNode/);
  await untilState('alpha', 'dependency-never', /NeverSatisfied/);
  await slurm(rig, 'alpha', ['scancel', '--name', token('completing')]);
  await untilState('alpha', 'completing', /COMPLETING/);
  await record('alpha', 'squeue-alpha.txt', 'job names say what each row is (COMPLETING: cancelled, ignores SIGTERM)', squeue);
  await untilState('alpha', 'requeue-hold', /SPECIAL|HELD|Held/i);
  await record('alpha', 'squeue-special-exit.txt', 'as before, after `scontrol requeuehold State=SpecialExit` was done', squeue);
  await record('beta', 'squeue-beta.txt', 'job names say what each row is', squeue);
  await record('beta', 'squeue-beta-eastern.txt', 'the same jobs as in squeue-beta.txt, printed where TZ=EST5', squeue, { environment: { TZ: 'EST5' } });
  await record('alpha', 'squeue-by-name.txt', 'looking tokens up', [...squeue.slice(0, -2), '--name', `${token('held-array')},${token('nosuch')}`, '-o', SQUEUE_FORMAT]);
  await untilAccounted('alpha', 'two-nodes', /RUNNING/);
  await record('alpha', 'sacct-queue.txt', 'the queue of squeue-alpha.txt: by name and time, jobs that are held or not yet eligible are NOT shown',
    sacct('held-user', 'held-array', 'array-throttled', 'dependency-never', 'suspended', 'requeue-hold', 'two-nodes'));
  for (const cluster of ['alpha', 'beta'] as const) {
    await record(cluster, `sinfo-busy-${cluster}.txt`, 'the queue of squeue-*.txt', ['sinfo', '-h', '-o', SINFO_FORMAT]);
    await record(cluster, `sinfo-nodes-busy-${cluster}.txt`, 'the queue of squeue-*.txt',
      ['sinfo', '-h', '-N', '-O', NODE_FIELDS]);
  }
  await recordControl(held);
  await root('alpha', 'scontrol', 'update', 'NodeName=a3', 'State=RESUME');
  for (const cluster of ['alpha', 'beta'] as const) {
    await slurm(rig, cluster, ['scancel', '--user', rig.user]);
    await until(`an empty queue on ${cluster}`, 60_000, async () => (await slurm(rig, cluster, ['squeue', '-h'])) === '');
    await record(cluster, `squeue-empty-${cluster}.txt`, 'nothing is queued', squeue);
  }
}

/** What the commands that change jobs say to ids that are not, or no longer, what they expect. */
async function recordControl(heldId: string): Promise<void> {
  const unknown = '66000000';
  const running = (await slurm(rig, 'alpha', ['squeue', '-h', '--name', token('qos-first'), '-o', '%i'])).trim();
  const finished = (await slurm(rig, 'alpha', ['squeue', '-h', '-t', 'FAILED', '--name', token('dependency-cause'), '-o', '%i'])).trim();
  await record('alpha', 'scontrol-hold-pending.txt', 'hold a pending job', ['scontrol', 'hold', heldId]);
  await record('alpha', 'scontrol-release-pending.txt', 'release a held job', ['scontrol', 'release', heldId]);
  await record('alpha', 'scontrol-hold-running.txt', 'hold a running job', ['scontrol', 'hold', running]);
  await record('alpha', 'scontrol-hold-finished.txt', 'hold a finished job', ['scontrol', 'hold', finished]);
  await record('alpha', 'scontrol-hold-unknown.txt', 'hold a job nobody knows', ['scontrol', 'hold', unknown]);
  await record('alpha', 'scontrol-hold-mixed.txt', 'hold an unknown, a running and a pending job', ['scontrol', 'hold', unknown, running, heldId]);
  await record('alpha', 'scancel-finished.txt', 'cancel a finished job', ['scancel', finished]);
  await record('alpha', 'scancel-unknown.txt', 'cancel a job nobody knows', ['scancel', unknown]);
  await record('alpha', 'scancel-mixed.txt', 'cancel an unknown, a finished and a pending job', ['scancel', unknown, finished, heldId]);
  await record('alpha', 'scancel-malformed.txt', 'cancel what is no id', ['scancel', 'abc']);
}

/** Jobs that end, each in another way. */
async function recordEndings(): Promise<void> {
  const sleep = 'sleep 300';
  await submit('alpha', 'timeout', ['--partition=short', '--time=1'], sleep);
  await submit('alpha', 'node-fail', ['--nodelist=a4', '--no-requeue'], sleep);
  await submit('alpha', 'node-requeue', ['--nodelist=a4', '--requeue'], 'if [ -n "$SLURM_RESTART_COUNT" ]; then exit 0; fi; sleep 300');
  const deadline = new Date(Date.now() + 75_000).toISOString().slice(0, 19);
  await submit('alpha', 'deadline', ['--begin=now+40', '--time=1', `--deadline=${deadline}`], sleep);
  await submit('alpha', 'done', ['--array=0-2'], "text=$(head -c 20M /dev/zero | tr '\\0' x); sleep 6");
  await submit('alpha', 'exit-code', ['--array=0-3'], 'exit $SLURM_ARRAY_TASK_ID');
  await submit('alpha', 'signal', ['--array=9,11'], 'kill -$SLURM_ARRAY_TASK_ID $$');
  await submit('alpha', 'steps', [], 'srun --ntasks=1 true; srun --ntasks=1 bash -c "exit 7"; exit 0');
  await submit('alpha', 'no-log-folder', ['--output=/nonexistent/x.out'], 'true');
  await submit('beta', 'out-of-memory', ['--mem=30'], 'head -c 500M /dev/zero | tail');
  await submit('beta', 'out-of-memory-in-step', ['--mem=30'], 'srun --ntasks=1 bash -c "head -c 500M /dev/zero | tail"; exit 0');
  const rest = await submit('alpha', 'cancel-rest', ['--array=0-4%1'], 'sleep 8');
  await submit('alpha', 'wall', ['--nodelist=a3', '--exclusive'], sleep);
  const blocked = await submit('alpha', 'cancel-blocked', ['--nodelist=a3', '--exclusive', '--array=0-1'], 'sleep 3');
  const waiting = await submit('alpha', 'cancel-held', ['--hold', '--array=0-3'], sleep);
  await submit('alpha', 'cancel-pending', ['--nodelist=a1', '--exclusive', '--array=0-1'], sleep);
  await submit('alpha', 'cancel-running', [], sleep);
  const again = await submit('alpha', 'requeue', [], 'if [ -n "$SLURM_RESTART_COUNT" ]; then sleep 2; exit 0; fi; sleep 300');
  for (const name of ['cancel-running', 'requeue', 'node-fail', 'node-requeue']) await untilState('alpha', name, /RUNNING/);
  await killNode(rig, 'alpha', 'a4');
  await recordCancelledWhileHeld(waiting);
  await recordCancelledRest(rest, blocked);
  for (const name of ['cancel-pending', 'cancel-running']) await slurm(rig, 'alpha', ['scancel', '--name', token(name)]);
  await slurm(rig, 'alpha', ['scontrol', 'requeue', again]);
  await untilState('alpha', 'requeue', /PENDING BeginTime/);
  await record('alpha', 'squeue-requeued.txt', 'after `scontrol requeue`: waits with BeginTime (name `requeue`)', squeue);
  await record('alpha', 'sacct-requeued-pending.txt', 'after `scontrol requeue`, before it runs again', sacct('requeue'));
  await record('alpha', 'scontrol-job-requeued.txt', 'the same: Restarts=1', ['scontrol', 'show', 'job', '-o', again]);
  await slurm(rig, 'alpha', ['scontrol', 'update', `JobId=${again}`, 'StartTime=now']);
  await untilAccounted('alpha', 'requeue', /\|COMPLETED\|/);
  await recordAccounts();
  await recordNodeFailure();
}

/** The array is held, has tasks 0 to 3, and none of them ever ran. */
async function recordCancelledWhileHeld(arrayId: string): Promise<void> {
  const all = [...squeue, '-t', 'all', '--name', token('cancel-held')];
  const accounted = async () => slurm(rig, 'alpha', sacctById(arrayId));
  await slurm(rig, 'alpha', ['scancel', `${arrayId}_2`]);
  await until('task 2 to vanish', 60_000, async () => !(await slurm(rig, 'alpha', all)).includes(`${arrayId}_2`));
  await record('alpha', 'squeue-cancelled-one-task.txt', 'task 2 of a waiting array cancelled: it leaves NO trace, here or in sacct', all);
  await record('alpha', 'sacct-cancelled-one-task.txt', 'the same, asked by id', sacctById(arrayId));
  await slurm(rig, 'alpha', ['scontrol', 'update', `JobId=${arrayId}_3`, 'Comment=split']);
  await slurm(rig, 'alpha', ['scancel', `${arrayId}_3`]);
  await record('alpha', 'squeue-cancelled-split-task.txt', 'task 3 cancelled after `scontrol update JobId=<array>_3`, which makes it a job of its own: the trace stays', all);
  await until('task 3 to be accounted as cancelled', 60_000, async () => /_3\|.*CANCELLED/.test(await accounted()));
  await record('alpha', 'sacct-cancelled-split-task.txt', 'the same, asked by id', sacctById(arrayId));
  await slurm(rig, 'alpha', ['scancel', arrayId]);
  await until('all tasks to be accounted as cancelled', 60_000, async () => !(await accounted()).includes('PENDING'));
  await record('alpha', 'sacct-held-cancelled.txt', 'the whole array cancelled, none ran; asked by id', sacctById(arrayId));
  await record('alpha', 'sacct-held-cancelled-by-name.txt', 'the same, asked by name and time: what was never eligible is NOT shown', sacct('cancel-held'));
}

/** Arrays of which task 0 runs when the waiting rest is cancelled: one throttled, one that had to wait for its node at first. */
async function recordCancelledRest(throttled: string, blocked: string): Promise<void> {
  await untilAccounted('alpha', 'cancel-blocked', /\[0-1\]\|.*PENDING/);
  await slurm(rig, 'alpha', ['scancel', '--name', token('wall')]);
  await until('task 0 to run', 60_000, async () => (await states('alpha', 'cancel-blocked')).some((line) => line.startsWith('RUNNING')));
  for (const name of ['cancel-rest', 'cancel-blocked']) await slurm(rig, 'alpha', ['scancel', '--state=PENDING', '--name', token(name)]);
  for (const id of [throttled, blocked]) {
    await until('both rows', 60_000, async () => /_0\|.*COMPLETED[^]*CANCELLED by|CANCELLED by[^]*_0\|.*COMPLETED/.test(await slurm(rig, 'alpha', sacctById(id))));
  }
  await record('alpha', 'sacct-cancel-rest.txt', 'tasks 1 to 4 waited for the throttle, never eligible, when cancelled: by name and time they are NOT shown', sacct('cancel-rest'));
  await record('alpha', 'sacct-cancel-rest-by-id.txt', 'the same, asked by id', sacctById(throttled));
  await record('alpha', 'squeue-cancel-rest.txt', 'the same: the cancelled rest has the bare array id', [...squeue, '-t', 'all', '--name', token('cancel-rest')]);
  await record('alpha', 'sacct-cancel-blocked.txt', 'task 1 cancelled after task 0 had started: the row of the rest may still name task 0 in its brackets; the own row of task 0 is right',
    sacct('cancel-blocked'));
}

async function recordAccounts(): Promise<void> {
  const account = async (cluster: ClusterName, name: string, pattern: RegExp, situation: string) => {
    await untilAccounted(cluster, name, pattern, 150);
    await record(cluster, `sacct-${name}.txt`, situation, sacct(name));
  };
  await account('alpha', 'done', /(COMPLETED\|0:0[^]*){6}/, 'array of three, all completed (MaxRSS is on the .batch rows)');
  await account('alpha', 'exit-code', /FAILED\|3:0[^]*FAILED\|3:0/, 'array of four, exit codes 0 to 3');
  await account('alpha', 'signal', /0:11[^]*0:11/, 'killed by its own SIGKILL and SIGSEGV');
  await account('alpha', 'steps', /\|COMPLETED\|/, 'a completed job whose second step failed (DerivedExitCode)');
  await account('alpha', 'no-log-folder', /FAILED/, 'the folder of its output file does not exist');
  await account('alpha', 'cancel-pending', /CANCELLED by/, 'eligible array cancelled before it ran: one row for both tasks');
  await account('alpha', 'cancel-running', /CANCELLED by[^]*CANCELLED\|/, 'cancelled while it ran');
  await account('alpha', 'requeue', /\|COMPLETED\|/, '`scontrol requeue` while it ran, then completed: two rows with one id');
  await account('beta', 'out-of-memory', /OUT_OF_MEMORY[^]*OUT_OF_MEMORY/, 'more memory than asked for, killed by the kernel');
  await account('beta', 'out-of-memory-in-step', /\|(OUT_OF_MEMORY|COMPLETED)\|/, 'the same in a step; the script went on and exited with 0');
  await account('alpha', 'timeout', /TIMEOUT/, 'ran into its time limit of one minute');
  await account('alpha', 'deadline', /DEADLINE/, 'pending until its deadline had passed');
}

async function recordNodeFailure(): Promise<void> {
  await untilAccounted('alpha', 'node-fail', /\|NODE_FAIL\|/);
  await record('alpha', 'sacct-node-fail.txt', 'its node died; submitted with --no-requeue', sacct('node-fail'));
  await untilState('alpha', 'node-requeue', /PENDING/);
  await record('alpha', 'squeue-node-requeue.txt', 'its node died; SLURM requeued it', squeue);
  await record('alpha', 'sacct-node-requeue-pending.txt', 'its node died; SLURM requeued it; it waits', sacct('node-requeue'));
  await record('alpha', 'sinfo-node-down.txt', 'node a4 is down', ['sinfo', '-h', '-o', SINFO_FORMAT]);
  await startNode(rig, 'alpha', 'a4');
  const id = (await slurm(rig, 'alpha', ['squeue', '-h', '--name', token('node-requeue'), '-o', '%i'])).trim();
  await slurm(rig, 'alpha', ['scontrol', 'update', `JobId=${id}`, 'StartTime=now']);
  await untilAccounted('alpha', 'node-requeue', /\|COMPLETED\|/);
  await record('alpha', 'sacct-node-requeue.txt', 'its node died; SLURM requeued it; it completed', sacct('node-requeue'));
  await record('alpha', 'sacct-unknown-name.txt', 'a name that no job ever had', sacct('nosuch'));
}

/** Last, because it stops the daemons that answer. */
async function recordOutages(): Promise<void> {
  await endAll([readRecord(rig.directory, 'slurmdbd').process]);
  await record('alpha', 'sacct-no-slurmdbd.txt', 'slurmdbd does not answer', sacct('done'));
  await endAll([readRecord(rig.directory, 'slurmctld.alpha').process]);
  const quick = { environment: { SLURM_CONF: impatientConfig(rig) } };
  await record('alpha', 'squeue-no-slurmctld.txt', 'slurmctld does not answer', squeue, quick);
  await record('alpha', 'sinfo-no-slurmctld.txt', 'slurmctld does not answer', ['sinfo', '-h', '-o', SINFO_FORMAT], quick);
  await record('alpha', 'scancel-no-slurmctld.txt', 'slurmctld does not answer', ['scancel', '1'], quick);
  await record('alpha', 'sbatch-no-slurmctld.txt', 'slurmctld does not answer', ['sbatch', '--parsable'], { stdin: '#!/bin/bash\ntrue\n', ...quick });
}

/** The commands try for as long as the controller's own time-outs allow; shorter ones change nothing in what they print. */
function impatientConfig(of: Rig): string {
  const file = join(of.directory, 'alpha', 'impatient.conf');
  writeFileSync(file, readFileSync(of.clusters[0]!.slurmConf, 'utf8').replace(/MessageTimeout=\d+/, 'MessageTimeout=5').replace(/SlurmctldTimeout=\d+/, 'SlurmctldTimeout=5'));
  return file;
}

const version = (await slurm(rig, 'alpha', ['sinfo', '--version'])).trim();
await recordSubmissions();
await recordDescriptions();
await recordQueue();
writeTable(version);
await recordEndings();
await recordOutages();
writeTable(version);
await takeDownRig();
