import { afterEach, beforeEach, expect, test } from 'vitest';
import { createExperiment } from '../../src/actions/create-experiment.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
beforeEach(async () => { db = await testDatabase(); });
afterEach(() => db.drop());

test('an experiment is made once by project and name, with an event', async () => {
  const input = { project: 'vision', name: 'baseline', description: 'first\nlines', tags: ['a', 'a'], objective: { metric: 'val/acc', goal: 'MAX' as const } };
  const made = await Promise.allSettled([createExperiment(db, input), createExperiment(db, input)]);
  expect(made.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(made.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { faults: [{ field: ['name'], code: 'ALREADY_EXISTS' }] } });
  await createExperiment(db, { project: 'language', name: 'baseline' });
  expect((await db.pool.query('select project, tags, objective_metric, description from experiments order by project desc')).rows).toEqual([
    { project: 'vision', tags: ['a'], objective_metric: 'val/acc', description: 'first\nlines' },
    { project: 'language', tags: [], objective_metric: null, description: null },
  ]);
  expect((await db.pool.query('select kind from events')).rows).toEqual([{ kind: 'EXPERIMENT_CREATED' }, { kind: 'EXPERIMENT_CREATED' }]);
});

test('bad names, tags and objectives are refused together', async () => {
  await expect(createExperiment(db, { project: '', name: 'a\0b', tags: ['ok', 'tab\t'], objective: { metric: 'x'.repeat(257), goal: 'MIN' }, description: 'x'.repeat(10_001) }))
    .rejects.toMatchObject({ faults: [{ field: ['project'] }, { field: ['name'] }, { field: ['description'] }, { field: ['tags', '1'] }, { field: ['objective', 'metric'] }] });
});
