/** The server dies at every named point of its work on checkpoints, on each kind of cluster; then it is started again, and finishes. */
import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { beforeAll, describe, test, type expect } from 'vitest';
import { CRASH_POINTS } from '../../src/reconcilers/crash-point.ts';
import { ensureBuilt } from '../cli/built.ts';
import { until } from '../rig/processes.ts';
import { testDatabase } from '../support/database.ts';
import { SITES } from './crash-sites.ts';
import { openVictim } from './victim.ts';

const SUBMIT = 'mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { userErrors { message } } }';
const JOBS = 'query ($filter: JobFilter) { jobs(filter: $filter) { nodes { state storagePath checkpoints { id path state sizeBytes archivePath } } } }';
const ARCHIVE = 'mutation ($input: ArchiveCheckpointsInput!) { archiveCheckpoints(input: $input) { checkpointCount userErrors { message } } }';
const RESTORE = 'mutation ($input: RestoreCheckpointsInput!) { restoreCheckpoints(input: $input) { checkpointCount userErrors { message } } }';
const REQUESTS = 'query { checkpointRequests(first: 500) { nodes { id state action checkpoints(states: [FAILED]) { problem } } } }';
const ORPHANS = 'query { orphans(first: 500) { nodes { token } } }';
const TRAIN = `i=0; while [ $i -lt 2000 ]; do echo "weights $i"; i=$((i+1)); done > "$EXPGRAPH_CHECKPOINTS_DIR/step=1 it's \\"best\\".ckpt"
  mkdir -p "$EXPGRAPH_CHECKPOINTS_DIR/checkpoint-2/déép"; cp "$EXPGRAPH_CHECKPOINTS_DIR/step=1 it's \\"best\\".ckpt" "$EXPGRAPH_CHECKPOINTS_DIR/checkpoint-2/déép/model.bin"`;
const content = Array.from({ length: 2000 }, (_, index) => `weights ${index}\n`).join('');

beforeAll(() => ensureBuilt(), 300_000);

/** On each kind of cluster, and on SLURM in both places where the work may be done. */
const CASES = SITES.flatMap((site) => (site.name === 'SLURM' ? ['LOGIN_NODE', 'SLURM_JOB'] : ['LOGIN_NODE']).map((where) => ({ ...site, where })));

// Beside each other: most of the time they wait for SLURM or for a server to start.
describe.each(CASES)('killed while it works on checkpoints, on $name, $where', { concurrent: true }, ({ open, unavailable, where }) => {
  test.skipIf(unavailable)('everything is archived once, and restored as it was', async ({ expect }) => {
    const site = await openSite((await open()).config);
    try {
      await site.train(expect);
      for (const point of CRASH_POINTS.filter((each) => each.startsWith('checkpoints'))) {
        await site.crash(expect, point, where);
        const archives = ['checkpoint-2.tar', `step=1 it's "best".ckpt`].flatMap((each) => [each, each]);
        expect((await site.files()).map((each) => each.replace(/\.(?:zst|gz)$/, '')), point).toEqual(archives);
        expect((await site.jobs()).flatMap(({ checkpoints }) => checkpoints.map(({ state }: any) => state)), point).toEqual(Array.from({ length: 4 }, () => 'ARCHIVED'));
        expect((await site.victim.request(RESTORE, { input: { filter: { project: site.project } } })).restoreCheckpoints).toEqual({ checkpointCount: 4, userErrors: [] });
        await site.settled(expect);
        for (const { storagePath, checkpoints } of await site.jobs()) {
          expect(checkpoints.map(({ state, archivePath }: any) => [state, archivePath]), point).toEqual([['COMPLETE', null], ['COMPLETE', null]]);
          for (const path of [`step=1 it's "best".ckpt`, 'checkpoint-2/déép/model.bin']) expect(await readFile(`${storagePath}/checkpoints/${path}`, 'utf8'), point).toBe(content);
        }
      }
      expect((await site.victim.request(ORPHANS)).orphans.nodes.filter(({ token }: any) => token.startsWith('expgraph-'))).toEqual([]);
    } finally {
      await site.close();
    }
  }, 900_000);
});

type Expect = typeof expect;

/** A server over a cluster, with jobs that left checkpoints. */
async function openSite(config: object) {
  const db = await testDatabase();
  const victim = await openVictim(db.url, stringify({ clusters: { here: config } }));
  const project = `archives-${randomBytes(4).toString('hex')}`;
  const jobs = async (): Promise<any[]> => (await victim.request(JOBS, { filter: { project } })).jobs.nodes;

  async function settled(expect: Expect): Promise<void> {
    let requests: any[] = [];
    await until('all requests to be done', 300_000, async () => {
      requests = (await victim.request(REQUESTS)).checkpointRequests.nodes;
      return requests.every(({ state }) => state === 'DONE' || state === 'FAILED');
    });
    expect(requests.flatMap(({ checkpoints }) => checkpoints)).toEqual([]);
  }
  return {
    victim, project, jobs, settled,
    async train(expect: Expect): Promise<void> {
      await victim.start();
      const input = { project, experiment: 'crashes', name: 'crashes', command: ['sh', '-c', TRAIN], space: { seeds: { values: [1, 2] } } };
      expect((await victim.request(SUBMIT, { input })).submitSweep.userErrors).toEqual([]);
      // A look that was taken just before the end may have shown less than there is: only the last one counts.
      const isWhole = ({ state, sizeBytes }: any): boolean => state === 'COMPLETE' && sizeBytes === content.length;
      await until('the jobs to have completed with their checkpoints', 180_000, async () => {
        const found = await jobs();
        return found.length === 2 && found.every(({ state, checkpoints }) => state === 'COMPLETED' && checkpoints.filter(isWhole).length === 2);
      });
    },
    files: async (): Promise<string[]> => (await Promise.all((await jobs()).map(({ storagePath }) => readdir(`${storagePath}/checkpoints`)))).flat().filter((name) => name !== '.expgraph-lock').sort(),
    async crash(expect: Expect, point: (typeof CRASH_POINTS)[number], where: string): Promise<void> {
      await victim.kill();
      await victim.start(point);
      const input = { filter: { project }, keep: { rule: 'NONE' }, where, ...(where === 'SLURM_JOB' && { resources: { cpus: 1, memoryMiB: 50, timeLimitMinutes: 5 } }) };
      // The answer may be lost with the server: what was recorded is carried out all the same.
      await victim.request(ARCHIVE, { input }).catch(() => undefined);
      expect(await victim.died(), point).toBe('SIGKILL');
      await victim.start();
      await settled(expect);
    },
    async close(): Promise<void> {
      await victim.remove();
      await db.drop();
    },
  };
}
