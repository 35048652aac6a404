/** SLURM's listings, as a real SLURM 22.05 printed them. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { compactIds, parseListedId } from '../../../src/cluster/slurm/job-ids.ts';
import { parseConfig, parsePartitions } from '../../../src/cluster/slurm/parse-cluster.ts';
import { parseAccounting, parseQueue, type JobRow, type Listing } from '../../../src/cluster/slurm/parse.ts';
import { parseBytes, parseExitCode, parseMinutes, parseMoment } from '../../../src/cluster/slurm/values.ts';

const recorded = (name: string): string => readFileSync(new URL(`../../recorded/${name}`, import.meta.url), 'utf8');
const all = (): boolean => true;
const queue = (name: string): Listing => parseQueue(recorded(name), all);
const accounting = (name: string): Listing => parseAccounting(recorded(name), all);
const short = ({ taskIndexes, state, exitCode, signal }: JobRow): string =>
  `${taskIndexes === null ? '' : `_${taskIndexes.join('+')} `}${state} ${exitCode}:${signal}`;

describe('squeue', () => {
  it('is read whole, with reasons in SLURM\'s own words', () => {
    const { rows, problems } = queue('squeue-alpha.txt');
    expect(problems).toEqual([]);
    const reasons = Object.fromEntries(rows.map(({ jobName, state, reason }) => [jobName.replace('eg-0123456789-', ''), `${state} ${reason}`]));
    expect(reasons).toMatchObject({
      completing: 'COMPLETING null', dependency: 'PENDING Dependency', 'dependency-never': 'PENDING DependencyNeverSatisfied', begin: 'PENDING BeginTime',
      'qos-second': 'PENDING QOSMaxJobsPerUserLimit', 'node-drained': 'PENDING ReqNodeNotAvail, UnavailableNodes:a3', 'held-admin': 'PENDING JobHeldAdmin',
      'held-user': 'PENDING JobHeldUser', 'qos-first': 'RUNNING null', suspended: 'SUSPENDED null',
    });
    expect(rows.filter(({ jobName }) => jobName.endsWith('held-array')).map(({ taskIndexes }) => taskIndexes)).toEqual([[0], [1], [2], [3], [4], [5]]);
  });

  it('gives a start only to what has started: before, it is a forecast', () => {
    const rows = queue('squeue-alpha.txt').rows.concat(queue('squeue-beta.txt').rows);
    expect(rows.filter(({ state, startedAt }) => state === 'PENDING' && startedAt !== null)).toEqual([]);
    const started = /RUNNING\|None\|b\[1-2\]\|([^|]+)\|/.exec(recorded('squeue-beta.txt'))?.[1];
    expect(rows.find(({ jobName }) => jobName.endsWith('blocker'))).toMatchObject({ nodeList: 'b[1-2]', startedAt: new Date(`${started}Z`) });
    const begin = /PENDING\|BeginTime\|\|([^|]+)\|/.exec(recorded('squeue-alpha.txt'))?.[1];
    expect(rows.find(({ jobName }) => jobName.endsWith('begin'))).toMatchObject({ estimatedStartAt: new Date(`${begin}Z`) });
    expect(rows.filter(({ state, estimatedStartAt }) => state !== 'PENDING' && estimatedStartAt !== null)).toEqual([]);
  });

  it('shows a requeued job as waiting again', () => {
    expect(queue('squeue-requeued.txt').rows.find(({ jobName }) => jobName.endsWith('-requeue'))).toMatchObject({ state: 'PENDING', reason: 'BeginTime' });
    expect(queue('squeue-special-exit.txt').rows.find(({ jobName }) => jobName.endsWith('requeue-hold'))).toMatchObject({ state: 'PENDING' });
  });

  it('is empty when nothing is queued', () => {
    expect(queue('squeue-empty-alpha.txt')).toEqual({ rows: [], problems: [], counts: [] });
  });

  it('counts all jobs of the user that have not ended, by what they ask for, and tells those under tokens of ours', () => {
    const rows = [
      '10_0|RUNNING|None|a1|2026-01-01T00:00:00|2026-01-01T00:00:00|gpu cds normal|0:01|eg-abcdefgh23-sweep', '10_1|PENDING|Priority||N/A|2026-01-01T00:00:00|gpu cds normal|0:00|eg-abcdefgh23-sweep',
      '11|PENDING|Priority||N/A|2026-01-01T00:00:00|gpu,short cds (null)|0:00|my | job', '12|COMPLETED|None|a1|2026-01-01T00:00:00|2026-01-01T00:00:00|gpu cds normal|0:01|done',
    ];
    expect(parseQueue(`${rows.join('\n')}\n`, () => false).counts).toEqual([
      { partition: 'gpu', account: 'cds', qos: 'normal', token: 'eg-abcdefgh23-sweep', count: 2 }, { partition: 'gpu,short', account: 'cds', qos: null, token: null, count: 1 },
    ]);
  });

  it('does not look at jobs of other names, and reports words it does not know', () => {
    const text = '1|HOVERING|None|||||0:00|mine\n2|HOVERING|None|||||0:00|theirs\nx y|RUNNING|None|||||0:00|mine\nshort|row\n3|RUNNING|None|n1||||0:00|mine\n';
    const { rows, problems } = parseQueue(text, (name) => name === 'mine');
    expect(rows.map(({ baseId }) => baseId)).toEqual(['3']);
    expect(problems).toEqual([expect.stringContaining('unknown state "HOVERING"'), expect.stringContaining('unknown id "x y"'), expect.stringContaining('cannot read the row')]);
  });
});

describe('sacct', () => {
  it.each([
    ['sacct-done.txt', ['_0 COMPLETED 0:null', '_1 COMPLETED 0:null', '_2 COMPLETED 0:null']],
    ['sacct-exit-code.txt', ['_0 COMPLETED 0:null', '_1 FAILED 1:null', '_2 FAILED 2:null', '_3 FAILED 3:null']],
    ['sacct-signal.txt', ['_9 FAILED 0:9', '_11 FAILED 0:11']],
    ['sacct-cancel-running.txt', ['CANCELLED 0:null']],
    ['sacct-cancel-pending.txt', ['_0+1 CANCELLED 0:null']],
    ['sacct-cancel-rest-by-id.txt', ['_0 COMPLETED 0:null', '_1+2+3+4 CANCELLED 0:null']],
    ['sacct-timeout.txt', ['TIMEOUT 0:null']],
    ['sacct-out-of-memory.txt', ['OUT_OF_MEMORY 0:125']],
    ['sacct-deadline.txt', ['DEADLINE 1:null']],
    ['sacct-node-fail.txt', ['NODE_FAIL 0:null']],
    ['sacct-steps.txt', ['COMPLETED 0:null']],
    ['sacct-unknown-name.txt', []],
  ])('%s', (name, expected) => {
    const { rows, problems } = accounting(name);
    expect({ rows: rows.map(short), problems }).toEqual({ rows: expected, problems: [] });
  });

  it.each([
    ['sacct-requeue.txt', ['CANCELLED requeued']],
    ['sacct-requeued-pending.txt', ['CANCELLED requeued']],
    ['sacct-node-requeue.txt', ['NODE_FAIL null']],
    ['sacct-done.txt', []],
  ])('tells how the runs before a requeue ended: %s', (name, expected) => {
    const { earlierRuns } = accounting(name).rows[0]!;
    expect(earlierRuns.map(({ state, reason }) => `${state} ${reason}`)).toEqual(expected);
    for (const run of earlierRuns) expect(run).toMatchObject({ startedAt: expect.any(Date), finishedAt: expect.any(Date), elapsedSeconds: expect.any(Number) });
  });

  it('takes the newest run of a job that was requeued, with the memory of that run', () => {
    const [run, ...others] = accounting('sacct-requeue.txt').rows;
    const [, , first] = /\|REQUEUED\|.*?\|a\d\|([^|]+)\|([^|]+)\|/.exec(recorded('sacct-requeue.txt')) ?? [];
    expect(others).toEqual([]);
    expect(run).toMatchObject({ state: 'COMPLETED', maxRssBytes: null });
    expect(run!.startedAt!.getTime()).toBeGreaterThanOrEqual(Date.parse(`${first}Z`));
    expect(run!.elapsedSeconds).toBe((run!.finishedAt!.getTime() - run!.startedAt!.getTime()) / 1000);
    expect(accounting('sacct-requeued-pending.txt').rows).toEqual([expect.objectContaining({ state: 'PENDING', finishedAt: null })]);
    expect(accounting('sacct-node-requeue.txt').rows.map(short)).toEqual(['COMPLETED 0:null']);
  });

  it('takes memory from the steps', () => {
    expect(accounting('sacct-done.txt').rows.map(({ maxRssBytes }) => maxRssBytes)).toEqual(
      [...recorded('sacct-done.txt').matchAll(/\|(\d+)K\|/g)].map(([, kib]) => Number(kib) * 1024));
  });

  it('says who cancelled, and gives no start to what never had a node', () => {
    expect(accounting('sacct-cancelled-split-task.txt').rows[0]).toMatchObject({ taskIndexes: [3], reason: expect.stringMatching(/^by user id \d+$/), startedAt: null, nodeList: null });
  });
});

describe('the cluster', () => {
  it('has its partitions summed up from their nodes', () => {
    expect(parsePartitions(recorded('sinfo-nodes-alpha.txt'))).toEqual([
      { name: 'gpu', isDefault: true, availability: 'up', timeLimitMinutes: 2880, nodeCount: 4, idleNodeCount: 4, cpuCount: 256, idleCpuCount: 256, memoryMiBPerNode: 65536, gpus: [{ type: 'rtx8000', total: 8, used: 0 }] },
      { name: 'short', isDefault: false, availability: 'up', timeLimitMinutes: 2, nodeCount: 4, idleNodeCount: 4, cpuCount: 256, idleCpuCount: 256, memoryMiBPerNode: 65536, gpus: [{ type: 'rtx8000', total: 8, used: 0 }] },
    ]);
    expect(parsePartitions(recorded('sinfo-nodes-busy-beta.txt'))).toEqual([
      expect.objectContaining({ name: 'gpu', nodeCount: 2, idleNodeCount: 1, idleCpuCount: 127, gpus: [{ type: 'a100', total: 8, used: 3 }] }),
      expect.objectContaining({ name: 'cpu', isDefault: false, gpus: [] }),
    ]);
  });

  it('tells its array size and version', () => {
    expect(parseConfig(recorded('scontrol-config-alpha.txt'))).toEqual({
      maxArraySize: 1001, maxJobCount: 20_000, clusterName: 'alpha', schedulerVersion: '22.05.8', keepsAccounts: true, showsEverybody: true,
    });
    expect(parseConfig(recorded('scontrol-config-beta.txt'))).toMatchObject({ maxArraySize: 21 });
    expect(parseConfig('MaxArraySize = 1001\nSchedulerParameters = defer,max_array_tasks=50\n')).toMatchObject({ maxArraySize: 50 });
  });

  it('knows whether a site keeps accounts, and whether it hides the jobs of others', () => {
    for (const none of ['accounting_storage/none', '(null)']) expect(parseConfig(`AccountingStorageType = ${none}\n`)).toMatchObject({ keepsAccounts: false });
    expect(parseConfig('')).toMatchObject({ keepsAccounts: null });
    expect(parseConfig('PrivateData             = cloud,jobs,nodes\n')).toMatchObject({ showsEverybody: false });
    expect(parseConfig('PrivateData             = accounts\n')).toMatchObject({ showsEverybody: true });
  });
});

describe('small forms', () => {
  it('ids of arrays', () => {
    expect(parseListedId('12_[0-3,7,10-14:2%5]')).toEqual({ baseId: '12', taskIndexes: [0, 1, 2, 3, 7, 10, 12, 14] });
    expect(parseListedId('12_3.batch')).toBeNull();
    expect(compactIds(['7', '12_3', '12_1', '12_2', '12_9', '13_4'])).toEqual(['7', '12_[1-3,9]', '13_4']);
  });

  it('times, sizes and exit codes', () => {
    expect(['30', '10:00', '1:30', '1:00:00', '2-00:00:00', '1-12', 'UNLIMITED', 'infinite'].map(parseMinutes)).toEqual([30, 10, 2, 60, 2880, 2160, null, null]);
    expect(['1480K', '1.50G', '0', '', '12X'].map(parseBytes)).toEqual([1_515_520, 1_610_612_736, 0, null, null]);
    expect(['0:0', '3:0', '0:9', '137:0', '255:0', ''].map(parseExitCode)).toEqual([
      { exitCode: 0, signal: null }, { exitCode: 3, signal: null }, { exitCode: 0, signal: 9 }, { exitCode: 137, signal: 9 }, { exitCode: 255, signal: null }, { exitCode: null, signal: null },
    ]);
    expect(['2026-11-23T13:01:28', 'Unknown', 'None', 'N/A'].map(parseMoment)).toEqual([new Date('2026-11-23T13:01:28Z'), null, null, null]);
  });
});
