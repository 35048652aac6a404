/** The frameworks that install in seconds write their files anew, as they come from the package index today. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { tensorboard } from '../../src/domain/readers/tensorboard.ts';
import { JobFolder, RECORDED_RUNS } from '../domain/readers/job-folder.ts';

const PACKAGES = ['tensorboardX', 'numpy', 'safetensors'];
const RUNS = ['tensorboardx', 'safetensors'];
/** A venv and three wheels take ten seconds where nothing else runs. */
const DEADLINE_MS = 300_000;

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'expgraph-frameworks-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Null when the packages cannot be had, with a line that says why. */
async function record(): Promise<string | null> {
  const python = join(folder, 'venv/bin/python');
  const out = join(folder, 'runs');
  try {
    await run('python3', ['-m', 'venv', join(folder, 'venv')]);
    await run(python, ['-m', 'pip', 'install', '--quiet', '--no-compile', '--disable-pip-version-check', '--retries', '1', ...PACKAGES], { timeout: DEADLINE_MS });
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim().split('\n').at(-1) ?? '';
    console.warn(`test/frameworks: not run, because ${PACKAGES.join(', ')} cannot be installed: ${said}`);
    return null;
  }
  await run(python, ['-B', join(import.meta.dirname, 'record.py'), out, ...RUNS], { timeout: DEADLINE_MS });
  return out;
}

const out = await record();

describe.skipIf(out === null)('written anew', () => {
  it('TensorBoard files yield the recorded points', () => {
    const [anew, recorded] = [new JobFolder(), new JobFolder()];
    anew.putAll(join(out!, 'tensorboardx'));
    recorded.putAll(join(RECORDED_RUNS, 'tensorboardx'));
    anew.read(tensorboard);
    recorded.read(tensorboard);
    expect(anew.all()).toEqual(recorded.all());
    expect(anew.all()['val/loss']).toHaveLength(10);
  });

  it('safetensors files are those that were recorded, byte by byte', () => {
    const [anew, recorded] = [new JobFolder(), new JobFolder()];
    anew.putAll(join(out!, 'safetensors'));
    recorded.putAll(join(RECORDED_RUNS, 'safetensors'));
    expect([...anew.files].map(([path, { content }]) => [path, content])).toEqual([...recorded.files].map(([path, { content }]) => [path, content]));
  });
});
