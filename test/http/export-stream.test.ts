import { finished } from 'node:stream/promises';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createToken } from '../../src/actions/create-token.ts';
import { withCountedStatements } from '../support/statements.ts';
import { exportTest, longSeries, type ExportTest, type QueryParameters } from './export-support.ts';

let fixture: ExportTest;
let experimentId: string;
let jobIds: string[];
beforeAll(async () => {
  fixture = await exportTest();
  ({ experimentId, jobIds } = fixture);
});
afterAll(() => fixture.http.stop());

describe('the stream', () => {
  const withCountedPages = <Answer>(use: (count: () => number) => Promise<Answer>): Promise<Answer> => withCountedStatements(fixture.http.database.$client, 'copy', use);

  const status = async (path: string): Promise<number> => {
    const response = await fixture.get(path);
    await response.body?.cancel();
    return response.status;
  };

  /** Returns when nothing was read for as long as fifty other requests take. */
  async function settled(count: () => number): Promise<void> {
    for (let seen = -1; seen !== count();) {
      seen = count();
      for (let request = 0; request < 50; request += 1) await status('refused/before/reading');
    }
  }

  test('waits for a slow reader, and reads nothing more for one who has gone', async () => {
    const needed = await withCountedPages(async (count) => { await fixture.read(`experiment/${experimentId}/metrics.csv`); return count(); });
    await withCountedPages(async (count) => {
      const response = await fixture.begin(`experiment/${experimentId}/metrics.csv`);
      await settled(count);
      response.destroy();
      await settled(count);
      expect(count()).toBeLessThan(needed);
    });
  });

  test('a fault half way breaks the connection, so that the file is not taken for a whole one', async () => {
    const response = await fixture.begin(`experiment/${experimentId}/metrics.csv`);
    await fixture.http.database.execute(sql`alter table metric_points rename to metric_points_away`);
    try {
      await expect(finished(response.resume())).rejects.toThrow('aborted');
      expect(response.complete).toBe(false);
      expect(fixture.http.log).toContainEqual(expect.objectContaining({ level: 'error', msg: 'an export failed half way; its connection is broken off' }));
    } finally {
      await fixture.http.database.execute(sql`alter table metric_points_away rename to metric_points`);
    }
  });

  test('a few at once are served; one more is told to come later, and served when one has ended', async () => {
    const path = `experiment/${experimentId}/metrics.csv`;
    const open = await Promise.all(Array.from({ length: 8 }, () => fixture.begin(path)));
    const refused = await fixture.get(path);
    expect([refused.status, refused.headers.get('retry-after'), await refused.json()]).toEqual([503, '5', { errors: [{ message: '8 exports are under way; try again when one has ended', extensions: { code: 'LIMIT_EXCEEDED' } }] }]);
    for (const response of open) response.destroy();
    const end = Date.now() + 20_000;
    while (await status(path) !== 200) expect(Date.now()).toBeLessThan(end);
  });

  test('memory does not grow with the length of the history', async () => {
    await longSeries(fixture.http.database, jobIds[4]!, 1, 'longer', 1_000_000);
    const peakMiB = async (path: string): Promise<number> => {
      const response = await fixture.get(path);
      let peak = 0;
      for await (const piece of response.body!) peak = Math.max(peak, process.memoryUsage.rss() - piece.length);
      return peak / 2 ** 20;
    };
    for (const format of ['arrow', 'parquet', 'csv', 'jsonl']) {
      await peakMiB(`job/${jobIds[2]}/metrics.${format}`);
      const [short, long] = [await peakMiB(`job/${jobIds[2]}/metrics.${format}`), await peakMiB(`job/${jobIds[4]}/metrics.${format}`)];
      expect(long - short).toBeLessThan(64);
    }
  }, 240_000);
});

describe('an export', () => {
  test('of an experiment goes by its project and name, too, whatever slashes they hold', async () => {
    const name = async (): Promise<string> => {
      const { rows: [row] } = await fixture.http.database.execute<{ project: string; name: string }>(sql`select project, name from experiments where id = ${fixture.experimentId}`);
      return encodeURIComponent(`${row!.project}/${row!.name}`);
    };
    const whole = await fixture.read(`experiment/${fixture.experimentId}/metrics.csv`, { keys: 'loss' });
    expect(await fixture.read(`experiment/${await name()}/metrics.csv`, { keys: 'loss' })).toEqual(whole);
    await fixture.http.database.execute(sql`update experiments set name = 'a/b/' || name where id = ${fixture.experimentId}`);
    expect(await fixture.read(`experiment/${await name()}/metrics.csv`, { keys: 'loss' })).toEqual(whole);
  });

  test('answers HEAD as GET, without the rows', async () => {
    const head = (path: string) => fetch(`${fixture.http.url}/export/${path}`, { method: 'HEAD', headers: { authorization: `Bearer ${fixture.http.tokens.reader}` } });
    const response = await head(`experiment/${fixture.experimentId}/metrics.csv`);
    expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([200, expect.stringMatching(/^text\/csv/), '']);
    expect((await head(`job/00000000-0000-7000-8000-000000000000/metrics.csv`)).status).toBe(404);
  });
});

describe('what cannot be had is said', () => {
  const refusal = async (path: string, parameters: QueryParameters = {}, token?: string): Promise<[number, string, string]> => {
    const response = await fixture.get(path, parameters, token);
    const { errors: [error] } = await response.json() as { errors: { message: string; extensions: { code: string } }[] };
    return [response.status, error!.extensions.code, error!.message];
  };

  test('unknown ids, tables, formats and parameters', async () => {
    const job = `job/${jobIds[0]}`;
    expect(await refusal('job/00000000-0000-7000-8000-000000000000/metrics.csv')).toEqual([404, 'NOT_FOUND', 'there is no job 00000000-0000-7000-8000-000000000000']);
    expect(await refusal(`sweep/${jobIds[0]}/metrics.csv`)).toEqual([404, 'NOT_FOUND', `there is no sweep ${jobIds[0]}`]);
    for (const name of ['none', 'no%2Fne']) {
      expect(await refusal(`experiment/${name}/metrics.csv`)).toEqual([404, 'NOT_FOUND', `there is no experiment ${decodeURIComponent(name)}; an experiment goes by its id, or by its project and name with %2F between them, as demo%2Fthree-rings`]);
    }
    expect(await refusal(`project/${jobIds[0]}/metrics.csv`)).toEqual([400, 'BAD_USER_INPUT', 'what is exported cannot be "project"; it is one of experiment, sweep, job']);
    expect(await refusal(`${job}/metrics.xlsx`)).toEqual([400, 'BAD_USER_INPUT', 'the format cannot be "xlsx"; it is one of arrow, parquet, csv, jsonl']);
    expect((await refusal(`${job}/logs.csv`))[2]).toContain('there is no table "logs"; there are metrics');
    expect(await refusal(`${job}/metrics.csv`, { key: 'loss' })).toEqual([400, 'BAD_USER_INPUT', 'key: there is no parameter "key"; metrics take keys, filter, from_step, to_step, attempts, rolled_up, after']);
    expect(await refusal(`${job}/metrics.csv`, { from_step: '-1' })).toEqual([400, 'BAD_USER_INPUT', 'from_step: must be a whole number from 0 to 9007199254740991']);
    expect(await refusal(`${job}/metrics.csv`, { attempts: ['all', 'all'] })).toEqual([400, 'BAD_USER_INPUT', 'attempts: may be given once']);
    expect(await refusal(`${job}/metrics.csv`, { attempts: 'both' })).toEqual([400, 'BAD_USER_INPUT', 'attempts: cannot be "both"; it is one of effective, all']);
    expect((await refusal(`${job}/metrics.csv`, { after: '{"job_id": "x"}' }))[2]).toBe('after: must be the last row that arrived, as a JSON object; its "job_id" is missing or cannot be right');
    expect((await refusal(`${job}/metrics.csv`, { after: '{' }))[2]).toMatch(/^after: is not valid JSON/);
  });

  test('faults of a filter are those of the query', async () => {
    const fault = async (filter: unknown) => (await refusal(`job/${jobIds[0]}/metrics.csv`, { filter: JSON.stringify(filter) }))[2];
    expect(await fault({ states: ['DONE'] })).toContain('Value "DONE" does not exist in "JobState" enum');
    expect(await fault({ state: 'FAILED' })).toContain('Field "state" is not defined by type "JobFilter". Did you mean "states"?');
    expect(await fault({ config: [{ key: 'lr' }] })).toContain('filter.config.0: compares nothing; give at least one of eq, ne, in');
    expect(await fault({ createdAt: { from: 'yesterday' } })).toContain('filter.createdAt.from: ');
  });

  test('only a token that may read is let in', async () => {
    const { token } = await createToken({ database: fixture.http.database }, { name: 'only-writer', scopes: ['write'] });
    expect((await refusal(`job/${jobIds[0]}/metrics.csv`, {}, token)).slice(0, 2)).toEqual([403, 'FORBIDDEN']);
    expect((await refusal(`job/${jobIds[0]}/metrics.csv`, {}, 'eg_wrong')).slice(0, 2)).toEqual([401, 'UNAUTHENTICATED']);
  });
});
