/** Rendered scripts, run for real under bash. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseExitRecord } from '../../../src/domain/attempt-change.ts';
import type { BatchSpec, TaskSpec } from '../../../src/domain/batch.ts';
import { batchDirectory, exitRecordPath, refusedIn } from '../../../src/domain/layout.ts';
import { renderBatchScript } from '../../../src/domain/script/batch-script.ts';
import { REFUSED_EXIT_CODE } from '../../../src/domain/start-guard.ts';
import { batchOf, identityOf, plainResources, taskOf } from '../../support/batches.ts';

/** A job that writes down what reached it. */
const DUMP = 'require("fs").writeFileSync(process.env.EXPGRAPH_JOB_DIR + "/dump.json", JSON.stringify({argv: process.argv.slice(1), env: process.env, cwd: process.cwd()}))';
const dump = (...rest: string[]): string[] => [process.execPath, '-e', DUMP, '--', ...rest];
const NASTY = `it's "q" $(touch pwned) \`touch pwned\` $HOME \${HOME} \\ \\' !x *?[a] ~ # ; & | <>\r\n\ttab\n雪 🙂 é`;

let root: string;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'expgraph script ')); });
afterEach(() => rmSync(root, { recursive: true, force: true }));

interface Run {
  code: number | null;
  stderr: string;
}

/** Starts the script with almost no environment, as a job may, and its log files where SLURM or the local executor puts them. */
function start(batch: BatchSpec, environment: Record<string, string> = {}, logName = 'task-0'): { child: ChildProcess; ended: Promise<Run> } {
  const directory = batchDirectory(root, batch.token);
  mkdirSync(directory, { recursive: true });
  const script = join(directory, 'script.sh');
  // bash reads its script as it goes, so one that runs must not be written again.
  if (!existsSync(script)) writeFileSync(script, renderBatchScript(batch));
  const log = join(directory, `${logName}.err`);
  const child = spawn('/bin/bash', ['-c', 'exec /bin/bash "$1" 2>> "$2"', 'start', script, log], { env: environment, detached: true, stdio: 'ignore', cwd: '/' });
  return { child, ended: once(child, 'exit').then(([code]) => ({ code: code as number | null, stderr: readFileSync(log, 'utf8') })) };
}

const run = (batch: BatchSpec, environment?: Record<string, string>, logName?: string): Promise<Run> => start(batch, environment, logName).ended;
const readJson = (path: string): Record<string, any> => JSON.parse(readFileSync(path, 'utf8')) as Record<string, any>;
const recordOf = (task: TaskSpec, attempt = task.attemptNumber): Record<string, any> => readJson(exitRecordPath(task.jobDirectory, attempt));

async function untilExists(path: string): Promise<void> {
  mkdirSync(join(path, '..'), { recursive: true });
  const watcher = watch(join(path, '..'));
  const deadline = AbortSignal.timeout(10_000);
  while (!existsSync(path)) await once(watcher, 'change', { signal: deadline });
  watcher.close();
}

describe('a script that runs', () => {
  it('brings every value to the job byte for byte', async () => {
    const large = 'x'.repeat(100_000);
    const config = { text: NASTY, nested: { 'odd key-é': NASTY, list: [1, NASTY], tiny: 1e-300 }, large };
    const task = taskOf(root, NASTY, { identity: identityOf({ command: dump(NASTY, '', large, '{overrides}', '{config.text}'), config, environment: { NOTE: NASTY, GROUPS: '8', RANDOM: 'no', HOME: '/nowhere' } }) });
    const { code, stderr } = await run(batchOf(root, [task]));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { argv, env, cwd } = readJson(`${task.jobDirectory}/dump.json`);
    expect(argv).toEqual([NASTY, '', large, `large=${large}`, `nested.list=${JSON.stringify([1, NASTY])}`, `nested.odd key-é=${NASTY}`, 'nested.tiny=1e-300', `text=${NASTY}`, NASTY]);
    expect(env).toMatchObject({
      NOTE: NASTY, GROUPS: '8', RANDOM: 'no', HOME: '/nowhere', EXPGRAPH_CONFIG_text: NASTY, EXPGRAPH_CONFIG_nested__odd_key__: NASTY, EXPGRAPH_JOB_NAME: NASTY,
      EXPGRAPH_JOB_ID: task.jobId, EXPGRAPH_JOB_DIR: task.jobDirectory, EXPGRAPH_CONFIG: `${task.jobDirectory}/config.json`, EXPGRAPH_METRICS: `${task.jobDirectory}/metrics.jsonl`,
      EXPGRAPH_CHECKPOINTS_DIR: `${task.jobDirectory}/checkpoints`, EXPGRAPH_ARTIFACTS_DIR: `${task.jobDirectory}/artifacts`, EXPGRAPH_ATTEMPT: '1',
      EXPGRAPH_PROJECT: 'vision', EXPGRAPH_EXPERIMENT: 'resnet', EXPGRAPH_RESUME_CHECKPOINT: '',
    });
    expect(env).not.toHaveProperty('EXPGRAPH_CONFIG_large');
    expect(cwd).toBe(task.jobDirectory);
    expect(readFileSync(`${task.jobDirectory}/config.json`, 'utf8')).toBe(`${JSON.stringify(config)}\n`);
    expect(execFileSync('find', [root, '-name', 'pwned'], { encoding: 'utf8' })).toBe('');
  });

  it('gives a 1 MB configuration whole', async () => {
    const config = { text: 'é'.repeat(500_000) };
    const task = taskOf(root, 'a', { identity: identityOf({ config }) });
    expect((await run(batchOf(root, [task]))).code).toBe(0);
    expect(readJson(`${task.jobDirectory}/config.json`)).toEqual(config);
  });

  it('lets each array task find its own values by index', async () => {
    const tasks = ['a', 'b', 'c'].map((name) => taskOf(root, name, { identity: identityOf({ command: dump(name) }) }));
    await Promise.all([
      run(batchOf(root, tasks), { SLURM_JOB_ID: '77', SLURM_ARRAY_JOB_ID: '70', SLURM_ARRAY_TASK_ID: '1' }, '70_1'),
      run(batchOf(root, tasks), { EXPGRAPH_TASK_INDEX: '2' }, 'task-2'),
    ]);
    expect(tasks.map(({ jobDirectory }) => existsSync(`${jobDirectory}/dump.json`) && readJson(`${jobDirectory}/dump.json`)['argv'])).toEqual([false, ['b'], ['c']]);
    expect(recordOf(tasks[1]!)).toMatchObject({ slurmJobId: '70_1' });
    expect(readlinkSync(`${tasks[1]!.jobDirectory}/logs/attempt-1.out`)).toBe(`${batchDirectory(root, 'eg-0123456789-resnet')}/70_1.out`);
  });

  it('does not take the array index of a SLURM job around it for its own', async () => {
    const task = taskOf(root, 'a', { identity: identityOf({ command: dump() }) });
    await run(batchOf(root, [task]), { SLURM_JOB_ID: '5', SLURM_ARRAY_JOB_ID: '4', SLURM_ARRAY_TASK_ID: '3' }, '5');
    expect(recordOf(task)).toMatchObject({ slurmJobId: '5', exitCode: 0 });
  });

  it('records how it ended', async () => {
    const task = taskOf(root, 'a', { attemptNumber: 2 });
    await run(batchOf(root, [task]), { SLURM_JOB_ID: '12', SLURM_RESTART_COUNT: '1', SLURMD_NODENAME: 'n1' }, '12');
    // Submitted as attempt 2, requeued once.
    const record = recordOf(task, 3);
    expect(record).toMatchObject({ attempt: 3, exitCode: 0, signal: null, host: 'n1', slurmJobId: '12', restart: 1 });
    expect(parseExitRecord(JSON.stringify(record))?.startedAt?.toISOString()).toBe(record['startedAt']);
    expect(Math.abs(Date.now() - Date.parse(record['finishedAt']))).toBeLessThan(60_000);
    expect(readFileSync(`${task.jobDirectory}/attempts/3/started/owner`, 'utf8')).toBe('slurm 12\nbatch eg-0123456789-resnet\n');
    const events = readFileSync(`${task.jobDirectory}/events.jsonl`, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as { event: string });
    expect(events.map(({ event }) => event)).toEqual(['started', 'finished']);
    expect(existsSync(`${task.jobDirectory}/error.txt`)).toBe(false);
  });

  it('keeps the end of standard error of a command that failed', async () => {
    const task = taskOf(root, 'a', { identity: identityOf({ command: ['sh', '-c', 'echo first >&2; echo boom >&2; exit 3'] }) });
    expect((await run(batchOf(root, [task]))).code).toBe(3);
    expect(recordOf(task)).toMatchObject({ exitCode: 3, signal: null });
    expect(readFileSync(`${task.jobDirectory}/error.txt`, 'utf8')).toBe('The command ended with exit code 3.\nfirst\nboom\n');
  });

  it('leaves the error that the command wrote itself', async () => {
    const task = taskOf(root, 'a', { identity: identityOf({ command: ['sh', '-c', 'echo mine > "$EXPGRAPH_JOB_DIR/error.txt"; exit 3'] }) });
    await run(batchOf(root, [task]));
    expect(readFileSync(`${task.jobDirectory}/error.txt`, 'utf8')).toBe('mine\n');
  });

  it('tells a death by signal from an exit code', async () => {
    const task = taskOf(root, 'a', { identity: identityOf({ command: ['sh', '-c', 'kill -9 $$'] }) });
    expect((await run(batchOf(root, [task]))).code).toBe(137);
    expect(recordOf(task)).toMatchObject({ exitCode: 137, signal: 9 });
  });

  it('says what is missing when there is no such command or working directory', async () => {
    const noCommand = taskOf(root, 'a', { identity: identityOf({ command: ['no-such-program'] }) });
    const noDirectory = taskOf(root, 'b', { identity: identityOf({ workingDirectory: '/no/such/place' }) });
    expect((await run(batchOf(root, [noCommand]))).code).toBe(127);
    expect(readFileSync(`${noCommand.jobDirectory}/error.txt`, 'utf8')).toContain('no-such-program');
    expect((await run(batchOf(root, [noDirectory], { token: 'eg-2' }))).code).toBe(1);
    expect(readFileSync(`${noDirectory.jobDirectory}/error.txt`, 'utf8')).toContain('/no/such/place');
    expect(recordOf(noDirectory)).toMatchObject({ exitCode: 1 });
  });

  it('does not run an attempt a second time', async () => {
    const task = taskOf(root, 'a', { identity: identityOf({ command: ['sh', '-c', 'echo ran >> "$EXPGRAPH_JOB_DIR/runs"'] }) });
    const submissions = ['1', '2', '3'].map((id) => run(batchOf(root, [task]), { SLURM_JOB_ID: id }, id));
    const runs = await Promise.all(submissions);
    expect(readFileSync(`${task.jobDirectory}/runs`, 'utf8')).toBe('ran\n');
    expect(runs.map(({ code }) => code).sort((a, b) => a! - b!)).toEqual([0, REFUSED_EXIT_CODE, REFUSED_EXIT_CODE]);
    expect(runs.filter(({ stderr }) => stderr.includes('not run a second time'))).toHaveLength(2);
    const winner = String(runs.findIndex(({ code }) => code === 0) + 1);
    const files = readdirSync(`${task.jobDirectory}/attempts/1`).map((file) => `${task.jobDirectory}/attempts/1/${file}`);
    const refused = files.filter((path) => refusedIn(task.jobDirectory, 1, path) !== null);
    expect(refused.map((path) => refusedIn(task.jobDirectory, 1, path)).sort()).toEqual(['1', '2', '3'].filter((id) => id !== winner));
    for (const path of refused) expect(readJson(path)).toMatchObject({ attempt: 1, owner: `slurm ${winner}`, slurmJobId: refusedIn(task.jobDirectory, 1, path) });
    expect(files).toHaveLength(4);
    expect(recordOf(task)).toMatchObject({ slurmJobId: winner, exitCode: 0 });
    expect(readFileSync(`${task.jobDirectory}/events.jsonl`, 'utf8').trim().split('\n')).toHaveLength(2);
  });

  it('gives way after a requeue when a retry has begun since, however often it was requeued, and goes on when none has', async () => {
    const task = taskOf(root, 'a', { identity: identityOf({ command: ['sh', '-c', 'echo "$EXPGRAPH_ATTEMPT" >> "$EXPGRAPH_JOB_DIR/runs"'] }) });
    const batch = batchOf(root, [task]);
    await run(batch, { SLURM_JOB_ID: '9' }, '9');
    await run(batch, { SLURM_JOB_ID: '9', SLURM_RESTART_COUNT: '1' }, '9');
    await run(batchOf(root, [{ ...task, attemptNumber: 3 }], { token: 'eg-2' }), { SLURM_JOB_ID: '10' }, '10');
    for (const restart of ['2', '3', '5']) {
      expect((await run(batch, { SLURM_JOB_ID: '9', SLURM_RESTART_COUNT: restart }, '9')).code).toBe(REFUSED_EXIT_CODE);
    }
    expect(readFileSync(`${task.jobDirectory}/runs`, 'utf8')).toBe('1\n2\n3\n');
  });

  it('runs again after a requeue and after a retry, and does not take old results for new ones', async () => {
    const command = ['sh', '-c', 'if [ -e "$EXPGRAPH_JOB_DIR/once" ]; then exit 0; fi; touch "$EXPGRAPH_JOB_DIR/once"; echo {} > "$EXPGRAPH_JOB_DIR/result.json"; printf "{\\"step\\": 1, " > "$EXPGRAPH_METRICS"; exit 4'];
    const task = taskOf(root, 'a', { identity: identityOf({ command }) });
    await run(batchOf(root, [task]), { SLURM_JOB_ID: '9' }, '9');
    await run(batchOf(root, [task]), { SLURM_JOB_ID: '9', SLURM_RESTART_COUNT: '1' }, '9');
    expect(recordOf(task)).toMatchObject({ attempt: 1, exitCode: 4, restart: 0 });
    expect(recordOf(task, 2)).toMatchObject({ attempt: 2, exitCode: 0, restart: 1 });
    expect(readdirSync(`${task.jobDirectory}/attempts/2/started`).sort()).toEqual(['owner', 'previous-error.txt', 'previous-result.json']);
    expect(existsSync(`${task.jobDirectory}/error.txt`)).toBe(false);
    expect(readFileSync(`${task.jobDirectory}/metrics.jsonl`, 'utf8')).toBe('{"step": 1, \n');
    const retry = { ...task, attemptNumber: 3 };
    await run(batchOf(root, [retry], { token: 'eg-2' }), { SLURM_JOB_ID: '10' }, '10');
    expect(recordOf(retry)).toMatchObject({ attempt: 3, exitCode: 0, terminated: false, restart: 0 });
  });
});

describe('a script that is signalled', () => {
  const waiting = "trap 'echo TERM >> \"$EXPGRAPH_JOB_DIR/signals\"; exit 7' TERM; trap 'echo USR1 >> \"$EXPGRAPH_JOB_DIR/signals\"; usr1=1' USR1; touch \"$EXPGRAPH_JOB_DIR/ready\"; while :; do sleep 0.05; if [ -n \"$usr1\" ]; then touch \"$EXPGRAPH_JOB_DIR/handled\"; fi; done";

  it('passes TERM on once, waits for the command and records its code', async () => {
    const task = taskOf(root, 'a', { identity: identityOf({ command: ['sh', '-c', waiting] }) });
    const { child, ended } = start(batchOf(root, [task]));
    await untilExists(`${task.jobDirectory}/ready`);
    process.kill(child.pid!, 'SIGTERM');
    expect((await ended).code).toBe(7);
    expect(readFileSync(`${task.jobDirectory}/signals`, 'utf8')).toBe('TERM\n');
    expect(recordOf(task)).toMatchObject({ exitCode: 7, signal: null, terminated: true });
  });

  it('records the signal that ended a command without a handler', async () => {
    const task = taskOf(root, 'a', { identity: identityOf({ command: ['sh', '-c', 'touch "$EXPGRAPH_JOB_DIR/ready"; exec sleep 60'] }) });
    const { child, ended } = start(batchOf(root, [task]));
    await untilExists(`${task.jobDirectory}/ready`);
    process.kill(child.pid!, 'SIGTERM');
    expect((await ended).code).toBe(143);
    expect(recordOf(task)).toMatchObject({ exitCode: 143, signal: 15 });
  });

  it('notes that it had the warning that was asked for, and only that', async () => {
    const warned = async (signal: string): Promise<unknown> => {
      const task = taskOf(root, signal, { identity: identityOf({ command: ['sh', '-c', 'trap "exit 5" USR1; touch "$EXPGRAPH_JOB_DIR/ready"; while :; do sleep 0.05; done'] }) });
      const { child, ended } = start(batchOf(root, [task], { token: `eg-${signal.length}`, resources: { ...plainResources, sbatchOptions: { signal } } }), { SLURM_JOB_ID: '9' }, '9');
      await untilExists(`${task.jobDirectory}/ready`);
      process.kill(child.pid!, 'SIGUSR1');
      await ended;
      return recordOf(task)['warned'];
    };
    expect(await warned('B:SIGUSR1@60')).toBe(true);
    expect(await warned('B:10@60')).toBe(true);
    expect(await warned('B:USR2@60')).toBe(false);
  });

  it('under SLURM, which signals every process itself, does not double TERM but passes USR1 on', async () => {
    const task = taskOf(root, 'a', { identity: identityOf({ command: ['sh', '-c', waiting] }) });
    const { child, ended } = start(batchOf(root, [task]), { SLURM_JOB_ID: '1' }, '1');
    await untilExists(`${task.jobDirectory}/ready`);
    process.kill(child.pid!, 'SIGUSR1');
    // Once the command has dealt with it: a signal in the middle of another one's trap is the command's own affair.
    await untilExists(`${task.jobDirectory}/handled`);
    process.kill(-child.pid!, 'SIGTERM');
    expect((await ended).code).toBe(7);
    expect(readFileSync(`${task.jobDirectory}/signals`, 'utf8')).toBe('USR1\nTERM\n');
  });

  it('records the code of a command that ends in the moment of a signal', async () => {
    const task = taskOf(root, 'a', { identity: identityOf({ command: ['sh', '-c', "trap 'exit 7' TERM; touch \"$EXPGRAPH_JOB_DIR/ready\"; while :; do sleep 0.01; done"] }) });
    for (let attemptNumber = 1; attemptNumber <= 15; attemptNumber += 1) {
      const attempt = { ...task, attemptNumber };
      const { child, ended } = start(batchOf(root, [attempt], { token: `eg-${attemptNumber}` }), { SLURM_JOB_ID: '1' }, '1');
      await untilExists(`${task.jobDirectory}/ready`);
      rmSync(`${task.jobDirectory}/ready`);
      process.kill(-child.pid!, 'SIGTERM');
      expect((await ended).code).toBe(7);
      expect(recordOf(attempt)).toMatchObject({ exitCode: 7, signal: null });
    }
  });

  it('ends what the command left behind, as SLURM does', async () => {
    const task = taskOf(root, 'a', { identity: identityOf({ command: ['sh', '-c', 'sleep 60 & echo $! > "$EXPGRAPH_JOB_DIR/left"'] }) });
    await run(batchOf(root, [task]), { EXPGRAPH_TASK_INDEX: '0' });
    const left = Number(readFileSync(`${task.jobDirectory}/left`, 'utf8'));
    await expect.poll(() => isAlive(left)).toBe(false);
  });
});

describe('the setup script', () => {
  const setupOf = (setupScript: string, task: TaskSpec): BatchSpec => batchOf(root, [task], { setupScript });

  it('runs in the same shell, before the command, and cannot disturb its arguments', async () => {
    const task = taskOf(root, 'a', { identity: identityOf({ command: dump('one', 'two'), environment: { OMP_NUM_THREADS: '4' } }) });
    const setup = 'set -eu\nset -- lost\nexport FROM_SETUP="a b" OMP_NUM_THREADS=1\ncd /\ntrap - TERM\nfalse || true';
    expect((await run(setupOf(setup, task))).code).toBe(0);
    const { argv, env, cwd } = readJson(`${task.jobDirectory}/dump.json`);
    expect({ argv, cwd }).toEqual({ argv: ['one', 'two'], cwd: task.jobDirectory });
    expect(env).toMatchObject({ FROM_SETUP: 'a b', OMP_NUM_THREADS: '4' });
  });

  it('may leave a trap that cleans up after the command', async () => {
    const task = taskOf(root, 'a');
    await run(setupOf(`trap 'touch "$EXPGRAPH_JOB_DIR/cleaned"' EXIT`, task));
    expect(existsSync(`${task.jobDirectory}/cleaned`)).toBe(true);
    expect(recordOf(task)).toMatchObject({ exitCode: 0 });
  });

  it('that exits leaves a record, and the command is not run', async () => {
    const task = taskOf(root, 'a', { identity: identityOf({ command: dump() }) });
    expect((await run(setupOf('echo no module >&2; exit 5', task))).code).toBe(5);
    expect(recordOf(task)).toMatchObject({ exitCode: 5 });
    expect(readFileSync(`${task.jobDirectory}/error.txt`, 'utf8')).toContain('no module');
    expect(existsSync(`${task.jobDirectory}/dump.json`)).toBe(false);
  });

  it('that exits with 0 is no success, because the command did not run', async () => {
    const task = taskOf(root, 'a');
    expect((await run(setupOf('exit 0', task))).code).toBe(1);
    expect(recordOf(task)).toMatchObject({ exitCode: 1 });
    expect(readFileSync(`${task.jobDirectory}/error.txt`, 'utf8')).toContain('setup script');
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}
