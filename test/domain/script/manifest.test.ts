import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TaskSpec } from '../../../src/domain/batch.ts';
import { fingerprint } from '../../../src/domain/fingerprint.ts';
import type { JsonObject } from '../../../src/domain/job-spec.ts';
import { jobDirectory } from '../../../src/domain/layout.ts';
import { renderBatchScript, taskScriptBytes } from '../../../src/domain/script/batch-script.ts';
import { readManifest, type Manifest } from '../../../src/domain/script/manifest.ts';
import { batchOf, identityOf, plainResources, taskOf } from '../../support/batches.ts';

const ROOT = '/scratch/ada/expgraph';
const NASTY = `it's "quoted" $(touch pwned) \r\n#SBATCH --job-name=evil\n# expgraph-task {"jobId":"x"}\n  expgraph_config='{"n":1}'\n\u2028雪 🙂`;

const usual = (name: string, task: Partial<TaskSpec> = {}): TaskSpec => (
  taskOf(ROOT, name, { jobDirectory: jobDirectory(ROOT, 'vision', 'resnet', `id-${name}`), ...task }));
const withConfig = (config: JsonObject) => identityOf({ command: ['python', 'train.py', '{overrides}'], config });
const told = ({ jobId, jobName, attemptNumber, jobDirectory: place, identity, tags, priority }: TaskSpec) => (
  { jobId, name: jobName, attemptNumber, jobDirectory: place, identity, fingerprint: fingerprint(identity), tags, priority });

function read(script: string): Manifest {
  const manifest = readManifest(script);
  if ('problem' in manifest) throw new Error(manifest.problem);
  return manifest;
}
const problemOf = (script: string): string | null => {
  const manifest = readManifest(script);
  return 'problem' in manifest ? manifest.problem : null;
};

describe('what a script says about itself', () => {
  it('is all that the database knew of its jobs', () => {
    const resources = { ...plainResources, gpus: 2, gpuType: 'rtx8000', timeLimitMinutes: 60, sbatchOptions: { constraint: 'ib' } };
    const tasks = [
      usual('a', { identity: withConfig({ optim: { lr: 0.1 }, seed: 1 }), tags: ['coarse', `it's`], priority: 300 }),
      usual('b', { identity: withConfig({ optim: { lr: 0.1 }, seed: 2 }), attemptNumber: 3, resumeCheckpointPath: '/x/last.ckpt' }),
      taskOf('/other/place', 'c', { identity: identityOf({ command: ['true'], environment: { A: 'b' }, workingDirectory: '/w', codeVersion: 'abc' }) }),
    ];
    expect(read(renderBatchScript(batchOf(ROOT, tasks, { resources })))).toEqual({
      project: 'vision', experiment: 'resnet', rootDirectory: ROOT, resources, tasks: tasks.map(told),
    });
  });

  it('survives values that look like its own lines', () => {
    const tasks = [1, 2].map((seed) => usual(`${NASTY}${seed}`, {
      project: NASTY, experiment: NASTY, jobDirectory: `${ROOT}/${seed}`, tags: [NASTY],
      identity: identityOf({ command: ['echo', NASTY, '{overrides}'], config: { text: NASTY, seed }, environment: { NOTE: NASTY } }),
    }));
    expect(read(renderBatchScript(batchOf(ROOT, tasks))).tasks).toEqual(tasks.map(told));
  });

  it('gives back any configuration', () => {
    fc.assert(fc.property(fc.array(fc.dictionary(fc.string().filter((key) => key !== '' && !key.includes('\0')), fc.jsonValue()), { minLength: 1, maxLength: 4 }), (configs) => {
      const tasks = configs.map((config, index) => usual(String(index), { identity: identityOf({ config: JSON.parse(JSON.stringify(config).replaceAll('\\u0000', '')) as JsonObject }) }));
      expect(read(renderBatchScript(batchOf(ROOT, tasks))).tasks).toEqual(tasks.map(told));
    }));
  });

  it('adds little: what tasks share stands once, and a configuration is not repeated', () => {
    const config = { text: 'x'.repeat(1000) };
    const tasks = Array.from({ length: 100 }, (_, seed) => usual(String(seed), { identity: withConfig({ ...config, seed }) }));
    const script = renderBatchScript(batchOf(ROOT, tasks));
    const header = script.split('\n').filter((line) => line.startsWith('# expgraph-'));
    expect(header.join('\n').length / tasks.length).toBeLessThan(200);
    expect(header.join('\n')).not.toContain('xxx');
    const growth = Buffer.byteLength(script) - Buffer.byteLength(renderBatchScript(batchOf(ROOT, tasks.slice(1))));
    expect(taskScriptBytes(tasks[0]!)).toBeGreaterThanOrEqual(growth);
  });

  it('that is missing, of another form or damaged is a problem in words, never a guess', () => {
    const script = renderBatchScript(batchOf(ROOT, [usual('a', { identity: withConfig({ lr: 0.1 }) })]));
    expect(problemOf(script)).toBeNull();
    expect(problemOf('#!/bin/bash\nsleep 1\n')).toMatch(/does not say which jobs/);
    expect(problemOf('')).toMatch(/does not say which jobs/);
    expect(problemOf(script.replace('"version":1', '"version":2'))).toMatch(/form 2/);
    expect(problemOf(script.replace('"version":1', '"version"'))).toMatch(/form undefined|damaged/);
    expect(problemOf(script.replace('"lr":0.1', '"lr":0.2'))).toMatch(/job "a" is damaged/);
    expect(problemOf(script.replace('"attempt":1', '"attempt":0'))).toMatch(/damaged/);
    expect(problemOf(script.replace('"cpus":1', '"cpus":"1"'))).toMatch(/damaged/);
    expect(problemOf(script.replace(/^# expgraph-task .*\n/m, ''))).toMatch(/damaged/);
  });
});
