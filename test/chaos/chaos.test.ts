/** The short form of `npm run bench -- chaos`: what needs no rig of its own. */
import { beforeAll, describe, expect, test } from 'vitest';
import { ensureBuilt } from '../cli/built.ts';
import { ensureRig, rigUnavailableReason } from '../rig/rig.ts';
import { testDatabase } from '../support/database.ts';
import { runChaos } from './chaos.ts';
import { breakSbatch, killServer, restartSshd } from './faults.ts';

describe.skipIf(rigUnavailableReason() !== null)('chaos, the short form', () => {
  beforeAll(ensureBuilt, 60_000);

  test('three rounds: nothing is lost, doubled or wrong, and no event is missed', async () => {
    const rig = await ensureRig();
    const db = await testDatabase();
    try {
      const seen = await runChaos({
        rig, databaseUrl: db.url, query: db.pool.query.bind(db.pool) as typeof db.pool.query, report: () => undefined,
        faults: [killServer, breakSbatch('submits, then times out'), restartSshd],
      });
      expect(seen).toMatchObject({ jobs: 18, executions: 18, states: { COMPLETED: 18 }, lost: [], doubled: [], wrong: [], missedEvents: [] });
    } finally {
      await db.drop();
    }
  }, 180_000);
});
