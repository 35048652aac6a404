import { describe, expect, test } from 'vitest';
import { readOverview } from '../../../src/cluster/slurm/overview.ts';

const ahead = (rows: string[], showsEverybody = true) => Object.fromEntries(readOverview(rows.join('\n'), 'me', showsEverybody).jobsAhead);

describe('the jobs before one that waits for its priority', () => {
  test('are those of its partition with a higher priority, or the same and an earlier id, of anybody, array tasks counted singly', () => {
    expect(ahead([
      'PENDING|50|gpu|me|20|Priority', 'PENDING|90|gpu|you|30_1|Resources', 'PENDING|90|gpu|you|30_2|Priority', 'PENDING|99|cpu|you|5|Priority',
      'PENDING|50|gpu|me|21_0|Priority', 'PENDING|10|gpu|you|1|Priority', 'RUNNING|99|gpu|you|2|None',
    ])).toEqual({ 20: 2, '21_0': 3 });
  });

  test('are not those that SLURM passes over: held, beyond a limit, waiting for something else', () => {
    expect(ahead(['PENDING|9|gpu|me|9|Priority', ...['JobHeldUser', 'QOSMaxJobsPerUserLimit', 'Dependency', 'BeginTime'].map((reason, index) => `PENDING|90|gpu|you|${index}|${reason}`)]))
      .toEqual({ 9: 0 });
  });

  test('of several partitions are counted where there are fewest', () => {
    expect(ahead(['PENDING|9|gpu,cpu|me|9|Priority', 'PENDING|90|gpu|you|1|Resources', 'PENDING|90|gpu|you|2|Priority', 'PENDING|80|cpu|you|3|Priority'])).toEqual({ 9: 1 });
  });

  test('are not known for other reasons, nor where the site hides the jobs of others', () => {
    expect(ahead(['PENDING|9|gpu|me|9|Resources'])).toEqual({});
    expect(ahead(['PENDING|9|gpu|me|9|Priority'], false)).toEqual({});
  });
});

test('jobs are counted by state', () => {
  expect(readOverview('PENDING|1|gpu|me|1|Priority\nRUNNING|1|gpu|you|2|None\nPENDING|1|gpu|you|3_[1-2]|a|b\n', 'me', true)).toMatchObject({ pendingJobCount: 2, runningJobCount: 1 });
});
