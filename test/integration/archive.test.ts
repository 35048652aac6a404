/** Checkpoints of real jobs, archived on a disk that is full at first, and followed by their events. */
import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mountSmallDisk } from '../chaos/faults.ts';
import { until } from '../rig/processes.ts';
import { collectUntil } from '../support/graphql-client.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const SUBMIT = 'mutation ($input: SubmitJobInput!) { submitJob(input: $input) { job { id } userErrors { message } } }';
const JOB = 'query ($id: ID!) { job(id: $id) { state storagePath checkpoints { id state path } } }';
const ARCHIVE = 'mutation ($input: ArchiveCheckpointsInput!) { archiveCheckpoints(input: $input) { bytesToFree request { id } userErrors { message } } }';
const REQUEST = 'query ($id: ID!) { checkpointRequest(id: $id) { state freedBytes totalBytes checkpoints { state problem } } }';
const EVENTS = `subscription ($id: ID!) { jobEvents(filter: { jobIds: [$id], kinds: [CHECKPOINT_REQUEST_CHANGED, CHECKPOINT_CHANGED] }, after: "0") {
  kind requestState reason checkpointRequest { id action } checkpoint { state archivePath } } }`;

describe.skipIf(process.getuid?.() !== 0)('on a small disk (for root, who may mount one)', () => {
  let server: TestServer;
  let disk: string;
  let unmount: () => void;
  beforeAll(async () => {
    disk = await mkdtemp(join(tmpdir(), 'expgraph-disk-'));
    unmount = mountSmallDisk(disk, 8);
    await chmod(disk, 0o755);
    server = await startTestServer({ configText: stringify({ clusters: { here: { kind: 'local', rootDirectory: `${disk}/jobs` } } }) });
  }, 120_000);
  afterAll(async () => {
    await server?.stop();
    unmount?.();
    await rm(disk, { recursive: true, force: true });
  }, 60_000);

  test('what does not fit stays as it was and says so; later it is archived', async () => {
    // Half of it can be compressed.
    const train = `{ head -c 1500000 /dev/urandom; head -c 1500000 /dev/zero; } > "$EXPGRAPH_CHECKPOINTS_DIR/step=1.ckpt"; echo x > "$EXPGRAPH_CHECKPOINTS_DIR/step=2.ckpt"`;
    const { submitJob } = await server.client.request(SUBMIT, { input: { project: 'archive', experiment: 'disk', command: ['sh', '-c', train], config: {} } });
    expect(submitJob.userErrors).toEqual([]);
    const { id } = submitJob.job;
    const job = async (): Promise<any> => (await server.client.request(JOB, { id })).job;
    await until('the job to have completed with its checkpoints', 120_000, async () => {
      const { state, checkpoints } = await job();
      return state === 'COMPLETED' && checkpoints.filter((each: any) => each.state === 'COMPLETE').length === 2;
    });
    const { storagePath, checkpoints } = await job();
    const ask = async (): Promise<any> => (await server.client.request(ARCHIVE, { input: { ids: [checkpoints[0].id] } })).archiveCheckpoints;
    const settled = async (requestId: string): Promise<any> => {
      let request: any;
      await until('the request to be done', 120_000, async () => {
        request = (await server.client.request(REQUEST, { id: requestId })).checkpointRequest;
        return ['DONE', 'FAILED'].includes(request.state);
      });
      return request;
    };

    const filler = `${disk}/filler`;
    await writeFile(filler, '');
    expect(() => execFileSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k'], { stdio: 'ignore' })).toThrow();
    const refused = await ask();
    expect(refused).toMatchObject({ bytesToFree: 3_000_000, userErrors: [] });
    expect(await settled(refused.request.id)).toMatchObject({ state: 'FAILED', freedBytes: 0, checkpoints: [{ state: 'FAILED', problem: expect.stringMatching(/No space left on device|takes no new folder/) }] });
    expect((await readdir(`${storagePath}/checkpoints`)).filter((each) => each !== '.expgraph-lock').sort()).toEqual(['step=1.ckpt', 'step=2.ckpt']);
    expect((await stat(`${storagePath}/checkpoints/step=1.ckpt`)).size).toBe(3_000_000);

    await rm(filler);
    const taken = await ask();
    const request = await settled(taken.request.id);
    const archived = (await job()).checkpoints[0];
    expect(archived.state).toBe('ARCHIVED');
    const [name] = (await readdir(`${storagePath}/checkpoints`)).filter((each) => each !== 'step=2.ckpt' && each !== '.expgraph-lock');
    const { size } = await stat(`${storagePath}/checkpoints/${name}`);
    expect(request).toMatchObject({ state: 'DONE', totalBytes: 3_000_000, freedBytes: 3_000_000 - size });

    const events = await collectUntil<any>(server.client, EVENTS, { id }, (values) => values.filter(({ requestState }) => requestState === 'DONE').length === 1, 60_000);
    expect(events.filter(({ kind }) => kind === 'CHECKPOINT_REQUEST_CHANGED').map(({ requestState, checkpointRequest }) => [requestState, checkpointRequest.id])).toEqual([
      ['PENDING', refused.request.id], ['RUNNING', refused.request.id], ['FAILED', refused.request.id], ['PENDING', taken.request.id], ['RUNNING', taken.request.id], ['DONE', taken.request.id]]);
    expect(events.find(({ requestState }) => requestState === 'FAILED').reason).toBeTruthy();
    expect(events.at(-2)).toMatchObject({ kind: 'CHECKPOINT_CHANGED', checkpoint: { state: 'ARCHIVED', archivePath: `${storagePath}/checkpoints/${name}` } });
  }, 400_000);
});
