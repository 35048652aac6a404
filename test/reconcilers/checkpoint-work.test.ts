/** What is asked for on checkpoints, carried out on real files by the program as it is sent to a cluster. */
import { execFile } from 'node:child_process';
import { mkdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { requestCheckpoints } from '../../src/actions/request-checkpoints.ts';
import { retryJobs } from '../../src/actions/retry-jobs.ts';
import { TransportError } from '../../src/cluster/transport.ts';
import { checkpointsToResume } from '../../src/db/read/checkpoints.ts';
import * as tables from '../../src/db/tables/index.ts';
import { CheckpointTest, content, writtenAt } from './checkpoint-test.ts';

let on: CheckpointTest;
beforeEach(async () => { on = await CheckpointTest.open(); });
afterEach(() => on.close());

const events = async () => (await on.at.db.database.select().from(tables.events).orderBy(tables.events.seq)).map(({ kind, payload }) => [kind, payload['state']]);

describe('on the login node', () => {
  test('archives what is not kept, and records where it is and what that freed', async () => {
    const job = await on.seed([1, 2, 3]);
    const { requestId, takenCount, bytesToFree, kept } = await requestCheckpoints(on.at.context, { action: 'ARCHIVE', filter: { states: ['COMPLETED'] }, keep: { rule: 'BEST_AND_LAST' } });
    expect([takenCount, bytesToFree, kept.map(({ reason }) => reason)]).toEqual([1, content.length, ['BEST', 'LAST']]);
    await on.work.run();
    expect(await on.files(job)).toEqual(['step=1.ckpt.zst', 'step=2.ckpt', 'step=3.ckpt']);
    const archiveBytes = (await stat(`${job.directory}/checkpoints/step=1.ckpt.zst`)).size;
    expect(await on.checkpoints()).toMatchObject([
      { state: 'ARCHIVED', archivePath: `${job.directory}/checkpoints/step=1.ckpt.zst`, archiveBytes, archivedAt: expect.any(Date), sizeBytes: content.length, contentDigest: expect.stringMatching(/^[0-9a-f]{64}$/) },
      { state: 'COMPLETE', archivePath: null }, { state: 'COMPLETE' },
    ]);
    expect(await on.items()).toMatchObject([{ requestId, state: 'DONE', freedBytes: content.length - archiveBytes, problem: null, tries: 1 }]);
    expect(await events()).toEqual([['CHECKPOINT_REQUEST_CHANGED', 'PENDING'], ['CHECKPOINT_REQUEST_CHANGED', 'RUNNING'], ['CHECKPOINT_CHANGED', 'ARCHIVED'], ['CHECKPOINT_REQUEST_CHANGED', 'DONE']]);
    await on.work.run();
    expect(on.work.isBusy()).toBe(false);
  });

  test('restores, gives digests and deletes', async () => {
    const job = await on.seed([1, 2]);
    await on.ask(job.ids);
    await on.work.run();
    await on.ask([job.ids[0]!], 'RESTORE');
    await on.work.run();
    expect(await on.checkpoints()).toMatchObject([{ state: 'COMPLETE', archivePath: null, archiveBytes: null, archivedAt: null }, { state: 'ARCHIVED' }]);
    expect((await stat(`${job.directory}/checkpoints/step=1.ckpt`)).mtime).toEqual(writtenAt);
    await on.at.db.database.update(tables.checkpoints).set({ contentDigest: null });
    await on.ask([job.ids[0]!], 'DIGEST');
    await on.work.run();
    const { stdout } = await promisify(execFile)('sha256sum', [`${job.directory}/checkpoints/step=1.ckpt`]);
    expect((await on.checkpoints())[0]).toMatchObject({ state: 'COMPLETE', contentDigest: stdout.slice(0, 64) });
    await on.ask([job.ids[0]!], 'DELETE');
    await on.work.run();
    expect(await on.files(job)).toEqual(['step=2.ckpt.zst']);
    expect((await on.items()).map(({ action, state, freedBytes }) => [action, state, Math.sign(freedBytes ?? 0)])).toEqual([
      ['ARCHIVE', 'DONE', 1], ['ARCHIVE', 'DONE', 1], ['RESTORE', 'DONE', -1], ['DIGEST', 'DONE', 0], ['DELETE', 'DONE', 1]]);
  });

  test('leaves alone what has changed since it was asked for; what is gone is DELETED', async () => {
    const job = await on.seed([1, 2]);
    await on.ask(job.ids);
    await writeFile(`${job.directory}/checkpoints/step=1.ckpt`, 'something else');
    await rm(`${job.directory}/checkpoints/step=2.ckpt`);
    await on.work.run();
    expect(await on.files(job)).toEqual(['step=1.ckpt']);
    expect((await on.items()).map(({ state, problem }) => [state, problem]).sort()).toEqual([['FAILED', expect.stringMatching(/^it has changed since it was asked for/)], ['FAILED', 'it is not on disk any more']]);
    expect((await on.checkpoints()).map(({ state }) => state)).toEqual(['COMPLETE', 'DELETED']);
  });

  test('says what lies there instead, but not while the job may be writing it', async () => {
    const job = await on.seed([1, 2], { state: 'FAILED', attempts: [{ state: 'FAILED' }] });
    await on.ask([job.ids[0]!]);
    await writeFile(`${job.directory}/checkpoints/step=1.ckpt`, 'half');
    await retryJobs(on.at.context, { ids: [job.jobId], ignoreArchived: true });
    await on.work.run();
    expect([(await on.items())[0]?.state, (await on.checkpoints())[0]?.sizeBytes]).toEqual(['FAILED', content.length]);
    await on.at.db.database.update(tables.jobs).set({ state: 'FAILED' });
    await on.ask([job.ids[0]!]);
    await on.work.run();
    expect((await on.checkpoints())[0]).toMatchObject({ state: 'COMPLETE', sizeBytes: 4 });
    const events = await on.at.db.database.select().from(tables.events).orderBy(tables.events.seq);
    expect(events.filter(({ kind }) => kind === 'CHECKPOINT_CHANGED')).toMatchObject([{ jobId: job.jobId, payload: { checkpointId: job.ids[0], state: 'COMPLETE' } }]);
  });

  test('leaves alone what was written anew after somebody asked, though that is recorded by now', async () => {
    const job = await on.seed([1]);
    await on.ask(job.ids, 'DELETE');
    await writeFile(`${job.directory}/checkpoints/step=1.ckpt`, content.toUpperCase());
    const { mtimeMs } = await stat(`${job.directory}/checkpoints/step=1.ckpt`);
    await on.at.db.database.update(tables.checkpoints).set({ writtenAt: new Date(Math.floor(mtimeMs)) });
    await on.work.run();
    expect(await on.files(job)).toEqual(['step=1.ckpt']);
    expect(await on.items()).toMatchObject([{ state: 'FAILED', problem: expect.stringMatching(/^it has changed since it was asked for/) }]);
  });

  test('a folder that could not be listed tells nothing of what is in it', async () => {
    const job = await on.seed([1]);
    await on.ask(job.ids);
    vi.spyOn(on.fake.cluster.transport, 'list').mockResolvedValueOnce({ entries: [], truncated: false, unreadable: [] });
    await on.work.run();
    expect([await on.checkpoints(), await on.items()]).toMatchObject([[{ state: 'COMPLETE' }], [{ state: 'FAILED' }]]);
  });

  test('one file that is called like a tar comes back; without its archive nothing is forgotten', async () => {
    const job = await on.seed([1]);
    const path = `${job.directory}/checkpoints/model_best.pth.tar`;
    await rename(`${job.directory}/checkpoints/step=1.ckpt`, path);
    await on.at.db.database.update(tables.checkpoints).set({ path });
    await on.ask(job.ids);
    await on.work.run();
    expect(await on.checkpoints()).toMatchObject([{ state: 'ARCHIVED', archivePath: `${path}.zst` }]);
    await on.ask(job.ids, 'RESTORE');
    await rename(`${path}.zst`, `${job.directory}/away`);
    await on.work.run();
    expect([await on.checkpoints(), await on.items()]).toMatchObject([[{ state: 'ARCHIVED', archivePath: `${path}.zst` }], [{ state: 'DONE' }, { state: 'FAILED' }]]);
    await rename(`${job.directory}/away`, `${path}.zst`);
    await on.ask(job.ids, 'RESTORE');
    await on.work.run();
    expect([await on.checkpoints(), await on.files(job)]).toMatchObject([[{ state: 'COMPLETE', archivePath: null }], ['model_best.pth.tar']]);
  });

  test('leaves the checkpoints alone of a job that was queued again before it was their turn', async () => {
    const job = await on.seed([1, 2], { state: 'FAILED', attempts: [{ state: 'FAILED' }] });
    await on.ask(job.ids, 'DELETE', { includeResumable: true });
    expect((await retryJobs(on.at.context, { ids: [job.jobId] })).unchanged).toMatchObject([{ reason: expect.stringContaining('is about to be deleted') }]);
    await retryJobs(on.at.context, { ids: [job.jobId], ignoreArchived: true });
    await on.work.run();
    expect(await on.files(job)).toEqual(['step=1.ckpt', 'step=2.ckpt']);
    expect((await on.items()).map(({ problem }) => problem)).toEqual(Array.from({ length: 2 }, () => 'its job was queued again before it was its turn'));
  });

  test('a job that is queued again meanwhile does not go on from what is being taken away', async () => {
    const job = await on.seed([1, 2], { state: 'FAILED', attempts: [{ state: 'FAILED' }] });
    await on.ask([job.ids[1]!], 'ARCHIVE', { includeResumable: true });
    const { exec } = on.fake.cluster.transport;
    let resumes: string | undefined;
    on.fake.cluster.transport.exec = async (argv, options) => {
      if (options?.stdin !== undefined) resumes = (await checkpointsToResume(on.at.db.database, [job.jobId])).get(job.jobId);
      return exec(argv, options);
    };
    await on.work.run();
    expect(resumes).toBe(`${job.directory}/checkpoints/step=1.ckpt`);
  });

  test('takes whole files of several shards, and nothing beside them', async () => {
    const job = await on.seed([1]);
    const shards = ['m-00001-of-00002.safetensors', 'm-00002-of-00002.safetensors', 'm.safetensors.index.json'];
    for (const name of shards) {
      await writeFile(`${job.directory}/checkpoints/${name}`, 'shard');
      await utimes(`${job.directory}/checkpoints/${name}`, writtenAt, writtenAt);
    }
    await on.at.db.database.insert(tables.checkpoints).values({
      jobId: job.jobId, id: crypto.randomUUID(), path: `${job.directory}/checkpoints/m.safetensors.index.json`, attemptNumber: 1, state: 'COMPLETE', step: 5, sizeBytes: 15, fileCount: 3, writtenAt });
    await on.ask([(await on.checkpoints())[1]!.id]);
    await on.work.run();
    expect(await on.files(job)).toEqual(['m.safetensors.index.json.tar.zst', 'step=1.ckpt']);
  });
});

describe('what breaks off', () => {
  const failing = (failure: 'unreachable' | 'interrupted', runsFirst: boolean) => {
    const { exec } = on.fake.cluster.transport;
    on.fake.cluster.transport.exec = async (argv, options) => {
      if (options?.stdin === undefined) return exec(argv, options);
      on.fake.cluster.transport.exec = exec;
      if (runsFirst) await exec(argv, options);
      throw new TransportError(failure, 'the line was cut');
    };
  };

  test('is begun with again, also when it had been done and nobody heard of it', async () => {
    const job = await on.seed([1, 2]);
    await on.ask(job.ids);
    failing('interrupted', true);
    await expect(on.work.run()).rejects.toThrow('the line was cut');
    expect((await on.items()).map(({ state, tries }) => [state, tries])).toEqual([['RUNNING', 1], ['RUNNING', 1]]);
    expect(await on.files(job)).toEqual(['step=1.ckpt.zst', 'step=2.ckpt.zst']);
    await on.work.run();
    expect((await on.items()).map(({ state, tries }) => [state, tries])).toEqual([['DONE', 2], ['DONE', 2]]);
    expect((await on.checkpoints()).map(({ state }) => state)).toEqual(['ARCHIVED', 'ARCHIVED']);
  });

  test('waits until others have found that the cluster answers again', async () => {
    const job = await on.seed([1]);
    await on.ask(job.ids);
    const status = vi.spyOn(on.fake.cluster.breaker, 'status').mockReturnValue({ ...on.fake.cluster.breaker.status(), state: 'HALF_OPEN' });
    await on.work.run();
    expect([await on.items(), on.work.isBusy()]).toMatchObject([[{ state: 'PENDING', tries: 0, problem: 'its cluster does not answer' }], true]);
    status.mockRestore();
    await on.work.run();
    expect(await on.items()).toMatchObject([{ state: 'DONE' }]);
  });

  test('is no try when it was not sent', async () => {
    const job = await on.seed([1]);
    await on.ask(job.ids);
    failing('unreachable', false);
    await expect(on.work.run()).rejects.toThrow('the line was cut');
    expect(await on.items()).toMatchObject([{ state: 'PENDING', tries: 0 }]);
    on.clockSeconds += 61;
    await on.work.run();
    expect(await on.items()).toMatchObject([{ state: 'DONE', tries: 1 }]);
  });

  test('is no try when somebody else was at work in that folder all the time', async () => {
    const job = await on.seed([1]);
    await on.ask(job.ids);
    const { exec } = on.fake.cluster.transport;
    on.fake.cluster.transport.exec = async (argv, options) => (options?.stdin === undefined ? exec(argv, options) : { exitCode: 0, signal: null, stdout: Buffer.from(`busy\t${job.ids[0]}\nend\n`), stderr: Buffer.alloc(0) });
    await on.work.run();
    expect(await on.items()).toMatchObject([{ state: 'PENDING', tries: 0, problem: 'another run is at work in its folder' }]);
    // Others are to have their turn, too.
    on.fake.cluster.transport.exec = exec;
    await on.work.run();
    expect([await on.items(), on.work.isBusy()]).toMatchObject([[{ state: 'PENDING' }], true]);
    on.clockSeconds += 61;
    await on.work.run();
    expect(await on.items()).toMatchObject([{ state: 'DONE', tries: 1, problem: null }]);
  });

  test('is finished by the next run when the original was on its way out', async () => {
    const job = await on.seed([1]);
    await on.ask(job.ids);
    failing('interrupted', false);
    await expect(on.work.run()).rejects.toThrow('the line was cut');
    const old = `${job.directory}/checkpoints/.expgraph-${job.ids[0]}.old`;
    await mkdir(old);
    await rename(`${job.directory}/checkpoints/step=1.ckpt`, `${old}/step=1.ckpt`);
    await on.work.run();
    expect(await on.files(job)).toEqual(['step=1.ckpt.zst']);
    expect(await on.items()).toMatchObject([{ state: 'DONE' }]);
  });

  test('is finished also where the try did not count', async () => {
    const job = await on.seed([1]);
    await on.ask(job.ids);
    await on.at.db.database.update(tables.checkpointRequestItems).set({ members: ['step=1.ckpt'], isOneFile: true });
    const old = `${job.directory}/checkpoints/.expgraph-${job.ids[0]}.old`;
    await mkdir(old);
    await rename(`${job.directory}/checkpoints/step=1.ckpt`, `${old}/step=1.ckpt`);
    await on.work.run();
    expect([await on.files(job), await on.items()]).toMatchObject([['step=1.ckpt.zst'], [{ state: 'DONE' }]]);
  });

  test('is not gone on from while it waits for its next try', async () => {
    const job = await on.seed([1, 2]);
    await on.ask([job.ids[1]!]);
    await on.at.db.database.update(tables.checkpointRequestItems).set({ tries: 1 });
    expect((await checkpointsToResume(on.at.db.database, [job.jobId])).get(job.jobId)).toBe(`${job.directory}/checkpoints/step=1.ckpt`);
  });

  test('has failed after five tries', async () => {
    const job = await on.seed([1]);
    await on.ask(job.ids);
    for (let tries = 0; tries < 5; tries += 1) {
      failing('interrupted', false);
      await expect(on.work.run()).rejects.toThrow();
    }
    const old = `${job.directory}/checkpoints/.expgraph-${job.ids[0]}.old`;
    await mkdir(old);
    await rename(`${job.directory}/checkpoints/step=1.ckpt`, `${old}/step=1.ckpt`);
    // Nobody hears of it, though it puts all in order.
    failing('interrupted', true);
    await expect(on.work.run()).rejects.toThrow();
    expect([await on.items(), await on.files(job)]).toMatchObject([[{ state: 'RUNNING' }], ['step=1.ckpt']]);
    await on.work.run();
    expect(await on.items()).toMatchObject([{ state: 'FAILED', problem: expect.stringContaining('5 times') }]);
    expect(await on.files(job)).toEqual(['step=1.ckpt']);
  });

  test('a stop does not wait for what runs on the cluster', async () => {
    const job = await on.seed([1]);
    await on.ask(job.ids);
    const { exec } = on.fake.cluster.transport;
    on.fake.cluster.transport.exec = async (argv, options) => (options?.stdin === undefined ? exec(argv, options) : new Promise(() => on.stopping.abort()));
    await on.work.run();
    expect(await on.items()).toMatchObject([{ state: 'RUNNING' }]);
  });

  test('what takes too long on the login node has failed, and says where it can be done; the others go on', async () => {
    const job = await on.seed([1, 2]);
    await on.ask(job.ids);
    const { exec } = on.fake.cluster.transport;
    on.fake.cluster.transport.exec = async (argv, options) => {
      if (options?.stdin === undefined) return exec(argv, options);
      on.fake.cluster.transport.exec = exec;
      const [first] = /item 'archive' '([0-9a-f-]+)'/.exec(String(options.stdin))!.slice(1);
      const step = job.ids.indexOf(first!) + 1;
      await mkdir(`${job.directory}/checkpoints/.expgraph-${first}.old`);
      await rename(`${job.directory}/checkpoints/step=${step}.ckpt`, `${job.directory}/checkpoints/.expgraph-${first}.old/step=${step}.ckpt`);
      return { exitCode: 124, signal: null, stdout: Buffer.from(`begin\t${first}\n`), stderr: Buffer.alloc(0) };
    };
    await on.work.run();
    on.clockSeconds += 61;
    await on.work.run();
    expect((await on.items()).map(({ state, problem }) => [state, problem]).sort()).toEqual([['DONE', null], ['FAILED', expect.stringMatching(/longer than the 600 s.*SLURM_JOB/)]]);
    expect((await on.files(job)).map((name) => name.replace(/[12]/, 'N')).sort()).toEqual(['step=N.ckpt', 'step=N.ckpt.zst']);
  });
});
