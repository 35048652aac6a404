/** From which checkpoint a run after a requeue goes on; scripts are run for real under bash. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { attemptDirectory, batchDirectory, resumePath } from '../../../src/domain/layout.ts';
import { renderBatchScript } from '../../../src/domain/script/batch-script.ts';
import { batchOf, identityOf, taskOf } from '../../support/batches.ts';

let root: string;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'expgraph resume ')); });
afterEach(() => rmSync(root, { recursive: true, force: true }));

test('a run goes on after a requeue from the checkpoint that was noted for that run, if it is there, else from the one it was submitted with', () => {
  const command = ['sh', '-c', 'printf %s "$EXPGRAPH_RESUME_CHECKPOINT" > "$EXPGRAPH_JOB_DIR/resumed-$EXPGRAPH_ATTEMPT"; touch "$EXPGRAPH_CHECKPOINTS_DIR/new one.ckpt"'];
  const task = taskOf(root, 'a', { identity: identityOf({ command }), resumeCheckpointPath: '/embedded.ckpt' });
  mkdirSync(batchDirectory(root, batchOf(root, [task]).token), { recursive: true });
  const note = (attempt: number, path: string): void => {
    mkdirSync(attemptDirectory(task.jobDirectory, attempt), { recursive: true });
    writeFileSync(resumePath(task.jobDirectory, attempt), path);
  };
  const newer = `${task.jobDirectory}/checkpoints/new one.ckpt`;
  note(1, newer);
  note(3, newer);
  note(4, `${task.jobDirectory}/checkpoints/deleted.ckpt`);
  for (const restart of [0, 1, 2, 3]) {
    execFileSync('/bin/bash', [], { input: renderBatchScript(batchOf(root, [task])), env: { SLURM_JOB_ID: '9', SLURM_RESTART_COUNT: String(restart) } });
  }
  expect([1, 2, 3, 4].map((attempt) => readFileSync(`${task.jobDirectory}/resumed-${attempt}`, 'utf8'))).toEqual(['/embedded.ckpt', '/embedded.ckpt', newer, '/embedded.ckpt']);
});
