import { describe, expect, test } from 'vitest';
import { explainPending } from '../../src/domain/pending-reason.ts';

describe('a reason to wait is explained', () => {
  test.each([
    ['Resources', true], ['Priority', true], ['Dependency', true], ['BeginTime', true], ['Licenses', true], ['Reservation', true], ['Cleaning', true], ['JobArrayTaskLimit', true],
    ['DependencyNeverSatisfied', false], ['JobHeldUser', false], ['JobHeldAdmin', false], ['PartitionTimeLimit', false], ['PartitionNodeLimit', false], ['BadConstraints', false],
    ['InvalidAccount', false], ['InvalidQOS', false], ['QOSNotAllowed', false], ['ReservationDeleted', false], ['launch failed requeued held', false], ['launch_failed_requeued_held', false],
    ['(launch failed requeued held)', false], ['job requeued in held state', false],
    ['QOSMaxJobsPerUserLimit', true], ['QOSMaxGRESPerUser', true], ['QOSMaxCpuPerUserLimit', true], ['QOSMaxGRESPerJob', false], ['QOSMaxWallDurationPerJobLimit', false], ['QOSMinGRES', false],
    ['QOSGrpGRES', true], ['QOSGrpCpuLimit', true], ['QOSGrpCPUMinutesLimit', null], ['QOSMaxMemoryLimit', null], ['MaxGRESPerAccount', true],
    ['AssocGrpGRES', true], ['AssocGrpCpuLimit', true], ['AssocGrpBillingMinutes', null], ['AssocMaxJobsLimit', true], ['AssocMaxGRESPerJob', false], ['AssociationJobLimit', true],
    ['ReqNodeNotAvail', null], ['NodeDown', null], ['PartitionDown', null], ['PartitionInactive', null],
  ])('%s', (word, willStartByItself) => {
    const explained = explainPending(word);
    expect(explained).toMatchObject({ willStartByItself });
    expect(explained?.explanation).toMatch(/\.$/);
    expect(explained?.advice).toMatch(/\.$/);
  });

  test('with the details that SLURM adds', () => {
    expect(explainPending('ReqNodeNotAvail, UnavailableNodes:gr[001-004]')).toMatchObject({
      reason: 'ReqNodeNotAvail', explanation: expect.stringContaining('SLURM adds: UnavailableNodes:gr[001-004]'),
    });
    expect(explainPending('Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions')?.explanation).toMatch(/down, drained/);
  });

  test('an unknown word is shown as it is, and nothing is guessed', () => {
    expect(explainPending('SolarFlare')).toEqual({ reason: 'SolarFlare', explanation: null, advice: null, willStartByItself: null });
  });

  test('no word is no reason', () => {
    expect([explainPending(null), explainPending(''), explainPending('None')]).toEqual([null, null, null]);
  });
});
