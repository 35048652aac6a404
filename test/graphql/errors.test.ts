import { GraphQLError } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UserError } from '../../src/domain/errors.ts';
import { formatGraphqlError, withUserErrors } from '../../src/graphql/errors.ts';
import { openFixture, schema, shownErrors, type Fixture } from './fixture.ts';

let fixture: Fixture;
beforeAll(async () => { fixture = await openFixture(); });
afterAll(() => fixture?.close());

function format(original: Error) {
  const bugs: unknown[] = [];
  const error = new GraphQLError(original.message, { originalError: original, path: ['jobs'] });
  return { formatted: formatGraphqlError(error.toJSON(), error, schema, (bug) => bugs.push(bug)), bugs };
}

describe('an error', () => {
  it('that the caller can act on keeps its words, code and faults', () => {
    const { formatted, bugs } = format(UserError.of('LIMIT_EXCEEDED', 'too much', ['first']));
    expect(formatted).toEqual({
      message: 'first: too much', path: ['jobs'],
      extensions: { code: 'LIMIT_EXCEEDED', faults: [{ field: ['first'], message: 'too much', code: 'LIMIT_EXCEEDED' }] },
    });
    expect(bugs).toEqual([]);
  });

  it('that is a bug is masked and handed over', () => {
    const bug = new Error('select secret from /etc/passwd');
    const { formatted, bugs } = format(bug);
    expect(formatted).toEqual({ message: 'Internal server error', path: ['jobs'], extensions: { code: 'INTERNAL_SERVER_ERROR' } });
    expect(bugs).toEqual([bug]);
  });

  it('of the database never shows SQL', async () => {
    try {
      await fixture.db.pool.query('alter table jobs rename column name to other_name');
      const result = await fixture.run('{ jobs { nodes { id } } }');
      expect(shownErrors(result)).toEqual([{ message: 'Internal server error', code: 'INTERNAL_SERVER_ERROR' }]);
    } finally {
      await fixture.db.pool.query('alter table jobs rename column other_name to name');
    }
  });

  it('says what is wrong with a text that cannot be stored', async () => {
    const result = await fixture.run('query ($name: String) { jobs(filter: {nameContains: $name}) { totalCount } }', { name: 'a\0b' });
    expect(shownErrors(result)).toEqual([{ message: expect.stringContaining('NUL'), code: 'BAD_USER_INPUT' }]);
  });

  it('of the request keeps the message of GraphQL, and the code that it came with', () => {
    const error = new GraphQLError('Cannot query field "x"', { extensions: { code: 'GRAPHQL_VALIDATION_FAILED', stacktrace: ['at /srv/app'] } });
    expect(formatGraphqlError(error.toJSON(), error, schema, () => undefined)).toEqual({ message: 'Cannot query field "x"', extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } });
  });
});

describe('a value that does not fit its type', () => {
  const refused = async (query: string, variables: object): Promise<string> => (shownErrors(await fixture.run(query, { ...variables })))[0]!.message;

  it('is answered with the values of the enum', async () => {
    const JOBS = 'query ($filter: JobFilter) { jobs(filter: $filter) { totalCount } }';
    expect(await refused(JOBS, { filter: { states: ['DONE'] } })).toMatch(/Value "DONE" does not exist in "JobState" enum\. Values of JobState: CANCELLED, COMPLETED, .*, SUBMITTING\.$/);
    expect(await refused(JOBS, { filter: { states: ['FAILD'] } })).toMatch(/Did you mean the enum value "FAILED".*\? Values of JobState: CANCELLED,/);
    expect(await refused(JOBS, { filter: { states: [5] } })).toMatch(/Values of JobState: CANCELLED,/);
    // What stands in the value is not taken for the complaint.
    expect(await refused(JOBS, { filter: { states: ['" does not exist in "Goal" enum.'] } })).toMatch(/Values of JobState: CANCELLED,/);
  });

  it('is answered with the fields of the input, or with the one that is near', async () => {
    const JOBS = 'query ($filter: JobFilter) { jobs(filter: $filter) { totalCount } }';
    expect(await refused(JOBS, { filter: { 'optim.lr': 0.1 } })).toMatch(/Field "optim\.lr" is not defined by type "JobFilter"\. Fields of JobFilter: clusters, config, .*, metrics,/);
    expect(await refused(JOBS, { filter: { state: ['DONE'] } })).toMatch(/Did you mean "states".*\?$/);
  });
});

describe('a mutation', () => {
  it('answers faults of the input beside empty fields', async () => {
    expect(await withUserErrors({ job: null }, () => Promise.reject(UserError.of('NOT_FOUND', 'no such job', ['jobId'])))).toEqual({
      job: null, userErrors: [{ field: ['jobId'], message: 'no such job', code: 'NOT_FOUND' }],
    });
  });

  it.each(['UNAUTHENTICATED', 'FORBIDDEN', 'DATABASE_UNAVAILABLE'] as const)('fails with %s, which no other input would mend', async (code) => {
    await expect(withUserErrors({}, () => Promise.reject(UserError.of(code, 'no')))).rejects.toMatchObject({ code });
  });

  it('fails with what is a bug', async () => {
    await expect(withUserErrors({}, () => Promise.reject(new Error('bug')))).rejects.toThrow('bug');
  });
});
