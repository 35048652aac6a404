/** Who gets the start guard when an execution is killed while it takes it; scripts are run for real under bash. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { attemptDirectory, batchDirectory, ownerPath, startGuardDirectory } from '../../../src/domain/layout.ts';
import { renderBatchScript } from '../../../src/domain/script/batch-script.ts';
import { parseGuardOwner } from '../../../src/domain/start-guard.ts';
import { batchOf, identityOf, taskOf } from '../../support/batches.ts';

let root: string;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'expgraph guard ')); });
afterEach(() => rmSync(root, { recursive: true, force: true }));

test.each([
  ['before it is in place: nobody holds it, and the next execution runs', 'kill -KILL "$PPID"', '2'],
  ['after it is in place: it names its owner, and the next execution runs nothing', '/usr/bin/env -i PATH=/usr/bin:/bin mv "$@"; kill -KILL "$PPID"', '1'],
])('an execution that is killed %s', (_, fakeMv, holder) => {
  const task = taskOf(root, 'a', { identity: identityOf({ command: ['sh', '-c', 'echo ran >> "$EXPGRAPH_JOB_DIR/runs"'] }) });
  const batch = batchOf(root, [task]);
  mkdirSync(batchDirectory(root, batch.token), { recursive: true });
  mkdirSync(join(root, 'bin'));
  writeFileSync(join(root, 'bin/mv'), `#!/bin/sh\n${fakeMv}\n`, { mode: 0o755 });
  const run = (slurmJobId: string, path: string) => spawnSync('/bin/bash', [], { input: renderBatchScript(batch), env: { SLURM_JOB_ID: slurmJobId, PATH: path } });

  expect(run('1', `${join(root, 'bin')}:/usr/bin:/bin`).signal).toBe('SIGKILL');
  expect(existsSync(startGuardDirectory(task.jobDirectory, 1))).toBe(holder === '1');
  run('2', '/usr/bin:/bin');
  expect(parseGuardOwner(readFileSync(ownerPath(task.jobDirectory, 1), 'utf8'))).toEqual({ slurmJobId: holder, pid: null, token: batch.token });
  expect(existsSync(`${task.jobDirectory}/runs`)).toBe(holder === '2');
  expect(readdirSync(attemptDirectory(task.jobDirectory, 1)).includes('refused-2.json')).toBe(holder === '1');
});
