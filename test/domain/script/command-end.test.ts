/** When a script takes its command to have ended; scripts are run for real under bash. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { TaskSpec } from '../../../src/domain/batch.ts';
import { batchDirectory, exitRecordPath } from '../../../src/domain/layout.ts';
import { renderBatchScript } from '../../../src/domain/script/batch-script.ts';
import { batchOf, identityOf, taskOf } from '../../support/batches.ts';

let root: string;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'expgraph end ')); });
afterEach(() => rmSync(root, { recursive: true, force: true }));

function run(command: string[]): { task: TaskSpec; code: number | null } {
  const task = taskOf(root, 'a', { identity: identityOf({ command }) });
  const batch = batchOf(root, [task]);
  mkdirSync(batchDirectory(root, batch.token), { recursive: true });
  const { status } = spawnSync('/bin/bash', [], { input: renderBatchScript(batch), env: { SLURM_JOB_ID: '1' }, stdio: ['pipe', 'ignore', 'ignore'] });
  return { task, code: status };
}

test('a command that closes whatever it was handed is waited for', () => {
  const closeAll = 'for fd in /dev/fd/*; do fd=${fd##*/}; if [ "$fd" -gt 2 ]; then eval "exec $fd>&-"; fi; done';
  const { task, code } = run(['bash', '-c', `${closeAll}; sleep 1; echo ran > "$EXPGRAPH_JOB_DIR/ran"; exit 3`]);
  expect(code).toBe(3);
  expect(existsSync(`${task.jobDirectory}/ran`)).toBe(true);
  expect(JSON.parse(readFileSync(exitRecordPath(task.jobDirectory, 1), 'utf8'))).toMatchObject({ exitCode: 3, signal: null });
});

test('what a command leaves behind is not waited for', () => {
  const { task, code } = run(['sh', '-c', 'sleep 300 & echo $! > "$EXPGRAPH_JOB_DIR/left"; exit 4']);
  // Throws when it has ended before.
  process.kill(Number(readFileSync(`${task.jobDirectory}/left`, 'utf8')), 'SIGKILL');
  expect(code).toBe(4);
});
