import { describe, expect, test } from 'vitest';
import { parseLimits } from '../../src/cluster/slurm/parse-limits.ts';
import type { SubmitLane } from '../../src/domain/submit-lane.ts';
import { countUnder, limitsOn, type AccountingLimits } from '../../src/domain/submit-limits.ts';

const lane: SubmitLane = { partition: 'gpu', account: null, qos: null };

/** As sacctmgr prints them: an association a row, then a QOS a row. */
const limits = (associations: string[], qos: string[]): AccountingLimits => parseLimits(`${associations.join('\n')}\n`, `${qos.join('\n')}\n`, 'alpha');
const shown = (of: AccountingLimits, on = lane): [number, string][] => limitsOn(on, of).map(({ most, source }) => [most, source]);

describe('the limits of a user', () => {
  test('are those of the account that jobs go to, on this cluster', () => {
    const known = limits(['cds|alpha|cds|||100||normal', 'cds|alpha|other|||7||normal', 'cds|beta|cds|||5||normal'], ['normal||||']);
    expect(shown(known)).toEqual([[100, 'MaxSubmitJobs of account cds']]);
    expect(shown(known, { ...lane, account: 'other' })).toEqual([[7, 'MaxSubmitJobs of account other']]);
  });

  test('of the QOS take the place of the same limits of the account', () => {
    const known = limits(['cds|alpha|cds||4|100|50|normal'], ['normal||30||', 'urgent|2|||9']);
    expect(shown(known)).toEqual([
      [30, 'MaxSubmitJobsPerUser of QOS normal'], [50, 'GrpSubmitJobs of account cds'], [8, 'twice what may run at once: 4, MaxJobs of account cds'],
    ]);
    expect(shown(known, { ...lane, qos: 'urgent' })).toEqual([
      [9, 'GrpSubmitJobs of QOS urgent, which others share'], [4, 'twice what may run at once: 2, MaxJobsPerUser of QOS urgent'], [100, 'MaxSubmitJobs of account cds'],
    ]);
  });

  test('in a partition with a line of its own are those of that line', () => {
    const known = limits(['cds|alpha|cds|||100||', 'cds|alpha|cds|gpu||10||'], []);
    expect(shown(known)).toEqual([[10, 'MaxSubmitJobs of account cds in partition gpu']]);
    expect(shown(known, { ...lane, partition: 'cpu' })).toEqual([[100, 'MaxSubmitJobs of account cds']]);
  });

  test('are none where accounting knows none', () => {
    expect(shown(limits([], []))).toEqual([]);
    expect(shown(limits(['cds|alpha|cds|||||normal'], ['normal||||']))).toEqual([]);
  });
});

test('a job counts under a limit where it asked for what the limit is on, and where that is not known', () => {
  const counts = [
    { partition: 'gpu', account: 'cds', qos: 'normal', count: 1 }, { partition: 'cpu,gpu', account: 'cds', qos: null, count: 10 },
    { partition: 'cpu', account: 'other', qos: 'normal', count: 100 },
  ];
  expect(countUnder({ partition: null, account: 'cds', qos: null }, counts)).toBe(11);
  expect(countUnder({ partition: null, account: null, qos: 'normal' }, counts)).toBe(111);
  expect(countUnder({ partition: 'gpu', account: 'cds', qos: null }, counts)).toBe(11);
  expect(countUnder({ partition: null, account: null, qos: null }, counts)).toBe(111);
});
