/** What a push finds in the files of a job, and what the scheduler's word adds to it or changes about it afterwards. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import type { ChangeKind } from '../../src/cluster/watch/program.ts';
import { eventsPath, exitRecordPath, ownerPath, resultPath } from '../../src/domain/layout.ts';
import { ListRests } from '../../src/reconcilers/list-rests.ts';
import { observeChanged } from '../../src/reconcilers/observe-changed.ts';
import { smallSweep } from '../support/actions.ts';
import { fakeClusterTest, putFile, silent, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

const NOW = Date.now();
const START = new Date(NOW - 4250).toISOString();
const exitRecord = (change: object) => (
  JSON.stringify({ attempt: 1, exitCode: 0, signal: null, terminated: false, startedAt: START, finishedAt: new Date(NOW).toISOString(), host: 'n1', ...change }));

let at: FakeClusterTest;
let fake: FakeCluster;
let jobId: string;
let directory: string;
let askedCount: number;
beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
  await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: [1] }] } }));
  await fake.dispatch(at.db.database);
  const { rows } = await at.db.pool.query<{ id: string; storage_path: string }>('select id, storage_path from jobs');
  ({ id: jobId, storage_path: directory } = rows[0]!);
  const { observe } = fake.cluster.executor;
  askedCount = 0;
  fake.override({ observe: (attempts) => { askedCount += attempts.length; return observe(attempts); } });
});
afterEach(() => at.close());

const pushed = (...what: ChangeKind[]) => observeChanged(
  { database: at.db.database, cluster: fake.cluster, files: fake.cluster.transport, rests: new ListRests(), logger: silent, now: () => new Date() }, new Map([[jobId, new Set(what)]]), { withAllLogs: false });
const polled = (atSeconds: number) => fake.observe(at.db.database, atSeconds);
const attempt = async () => (await at.db.pool.query<Record<string, unknown>>(
  'select j.state as job, a.state, a.slurm_job_id, a.note, a.reason, a.started_at, a.node_list, a.exit_code, a.elapsed_seconds, a.max_rss_bytes, j.harvested_at is not null as harvested from jobs j join attempts a on a.job_id = j.id')).rows[0];
const resultCount = async () => (await at.db.pool.query('select 1 from results')).rowCount;

describe('a job whose script has begun', () => {
  test('is RUNNING since the time that the script noted, without the scheduler', async () => {
    await putFile(ownerPath(directory, 1), 'slurm 1001\n');
    await putFile(eventsPath(directory), `{"event":"started","time":"${START}","attempt":1,"host":"n1"}\n`);
    await pushed('started');
    expect(await attempt()).toMatchObject({ job: 'RUNNING', state: 'RUNNING', started_at: new Date(START), node_list: 'n1' });
    expect(askedCount).toBe(0);
  });

  test('under another id than ours is a second submission that was the first to run: the attempt follows it to its end', async () => {
    await putFile(ownerPath(directory, 1), 'slurm 999\n');
    await pushed('started');
    expect(await attempt()).toMatchObject({ state: 'RUNNING', slurm_job_id: '999', note: expect.stringContaining('SLURM job 1001: ') });
    await putFile(exitRecordPath(directory, 1), exitRecord({}));
    await pushed('exit');
    expect(await attempt()).toMatchObject({ job: 'COMPLETED', slurm_job_id: '999' });
  });

  test('under another id than ours, of which we hear only at its end, ends the attempt', async () => {
    await putFile(ownerPath(directory, 1), 'slurm 999\n');
    await putFile(exitRecordPath(directory, 1), exitRecord({}));
    await pushed('started', 'exit');
    expect(await attempt()).toMatchObject({ job: 'COMPLETED', slurm_job_id: '999', exit_code: 0 });
  });
});

describe('a job that has ended', () => {
  test('with exit code 0 is COMPLETED with its result at once, and accounting fills in the rest, asked once', async () => {
    await putFile(resultPath(directory), '{"metrics":{"accuracy":0.9}}');
    await putFile(exitRecordPath(directory, 1), exitRecord({}));
    expect(await pushed('started', 'exit')).toEqual({ unfinished: [], ending: [] });
    expect(await attempt()).toMatchObject({ job: 'COMPLETED', exit_code: 0, elapsed_seconds: 4.25, max_rss_bytes: null });
    expect((await at.db.pool.query('select metrics from results')).rows).toEqual([{ metrics: { accuracy: 0.9 } }]);
    fake.says.set(0, { state: 'COMPLETED', exitCode: 0, nodeList: 'n1', elapsedSeconds: 5, maxRssBytes: 4096 });
    await polled(1);
    expect(await attempt()).toMatchObject({ job: 'COMPLETED', elapsed_seconds: 5, max_rss_bytes: '4096', harvested: false });
    await polled(2);
    await polled(40);
    expect(await attempt()).toMatchObject({ job: 'COMPLETED', harvested: true });
    expect(askedCount).toBe(1);
  });

  test('with exit code 0, of which accounting says something else, ends as accounting says and has no result', async () => {
    await putFile(exitRecordPath(directory, 1), exitRecord({}));
    await pushed('exit');
    expect(await resultCount()).toBe(1);
    fake.says.set(0, { state: 'OUT_OF_MEMORY', exitCode: 0, signal: 125, nodeList: 'n1' });
    await polled(1);
    expect(await attempt()).toMatchObject({ job: 'FAILED', state: 'OUT_OF_MEMORY', reason: 'the memory limit of the job was exceeded' });
    expect(await resultCount()).toBe(0);
  });

  test('is asked about again when what accounting said could not be written down', async () => {
    await putFile(exitRecordPath(directory, 1), exitRecord({}));
    await pushed('exit');
    fake.says.set(0, { state: 'OUT_OF_MEMORY', exitCode: 0, signal: 125, nodeList: 'n1' });
    await at.db.pool.query("create function refuse() returns trigger language plpgsql as $$ begin raise exception 'disk full'; end $$");
    await at.db.pool.query('create trigger refuse before update on attempts for each row execute function refuse()');
    await expect(polled(1)).rejects.toThrow();
    await at.db.pool.query('drop trigger refuse on attempts');
    await polled(2);
    expect(await attempt()).toMatchObject({ job: 'FAILED', state: 'OUT_OF_MEMORY' });
  });

  test('is looked at for longer while accounting has not told of its end', async () => {
    await putFile(exitRecordPath(directory, 1), exitRecord({}));
    await pushed('exit');
    fake.says.set(0, { state: 'COMPLETING' });
    await polled(60);
    expect(await attempt()).toMatchObject({ job: 'COMPLETED', harvested: false });
    await polled(130);
    expect(await attempt()).toMatchObject({ job: 'COMPLETED', harvested: true });
  });

  test('in any other way waits for the scheduler, which names it', async () => {
    await putFile(exitRecordPath(directory, 1), exitRecord({ exitCode: 143, signal: 15, terminated: true }));
    expect(await pushed('exit')).toEqual({ unfinished: [], ending: [jobId] });
    expect(await attempt()).toMatchObject({ state: 'PENDING' });
    fake.says.set(0, { state: 'TIMEOUT', nodeList: 'n1', startedAt: new Date(START) });
    await polled(1);
    expect(await attempt()).toMatchObject({ job: 'FAILED', state: 'TIMEOUT', exit_code: 143 });
  });
});
