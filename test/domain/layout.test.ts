import { describe, expect, it } from 'vitest';
import { attemptLogPaths, batchLogPaths, exitRecordPath, jobDirectory, localMarkPath, ownerPath } from '../../src/domain/layout.ts';

describe('the layout on a cluster', () => {
  it('puts a job below its project and experiment, whatever their names are', () => {
    expect(jobDirectory('/scratch/ada/', 'Vision 2', '../..', 'id-1')).toMatch(/^\/scratch\/ada\/Vision-2\/x[0-9a-f]+\/id-1$/);
  });

  it('keeps what an attempt leaves apart from other attempts and runs', () => {
    expect(exitRecordPath('/j', 2)).toBe('/j/attempts/2/exit.json');
    expect(ownerPath('/j', 2)).toBe('/j/attempts/2/started/owner');
    expect(localMarkPath('/r', '12.34', 'cancelled')).toBe('/r/.expgraph/local/12.34.cancelled');
  });

  it('names log files so that SLURM\'s patterns come out as the paths of each attempt', () => {
    const expand = (pattern: string, fields: Record<string, string>): string => pattern.replace(/%(.)/g, (_, letter: string) => fields[letter] ?? '?');
    const array = batchLogPaths('/scratch/100%', 'eg-1', { array: true });
    expect(expand(array.stdout, { A: '12', a: '3', '%': '%' })).toBe(attemptLogPaths('/scratch/100%', 'eg-1', '12_3', 3).stdout);
    const single = batchLogPaths('/scratch/100%', 'eg-1', { array: false });
    expect(expand(single.stderr, { j: '12', '%': '%' })).toBe(attemptLogPaths('/scratch/100%', 'eg-1', '12', 0).stderr);
  });

  it('names log files of local processes by task, because a process id is known only after they are opened', () => {
    expect(attemptLogPaths('/r', 'eg-1', '4711.99', 3).stdout).toBe('/r/.expgraph/batches/eg-1/task-3.out');
  });
});
