import { afterAll, beforeAll, expect, test } from 'vitest';
import { copyOut } from '../../src/db/copy-out.ts';
import { GrowingPage, type SentPoints } from '../../src/db/read/point-page.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
beforeAll(async () => { db = await testDatabase(); });
afterAll(() => db.drop());

async function rowsOf(query: string): Promise<Buffer[][]> {
  const rows: Buffer[][] = [];
  await copyOut(db.database, query, (row) => { rows.push(row.map((value) => Buffer.from(value))); });
  return rows;
}

test('values arrive as they are, NULL as no bytes, short rows and rows of megabytes', async () => {
  const rows = await rowsOf("select number, null::text, convert_to(repeat('x', case number when 2 then 5000000 else 3 end), 'UTF8') from generate_series(1, 3) as number");
  expect(rows.map(([number, nothing, text]) => [number!.readInt32BE(), nothing!.length, text!.length])).toEqual([[1, 0, 3], [2, 0, 5_000_000], [3, 0, 3]]);
  expect(rows[1]![2]!.every((byte) => byte === 'x'.charCodeAt(0))).toBe(true);
  expect(await rowsOf('select 1 where false')).toEqual([]);
});

test('a query that fails, before its first row or half way, and a reader that fails reject, and the connection is used again', async () => {
  await expect(rowsOf('select nothing from nowhere')).rejects.toThrow('nowhere');
  await expect(rowsOf('select 1 / (3 - number) from generate_series(1, 5) as number')).rejects.toThrow('division by zero');
  await expect(copyOut(db.database, 'select 1', () => { throw new Error('cannot take it'); })).rejects.toThrow('cannot take it');
  expect(await rowsOf('select 7')).toEqual([[Buffer.from([0, 0, 0, 7])]]);
  expect(db.pool.totalCount).toBe(1);
});

test('moments of every year become milliseconds exactly, rounded to the nearest', async () => {
  const moments = ['1901-02-03T04:05:06.789Z', '1969-12-31T23:59:59.999Z', '1970-01-01T00:00:00.000Z', '1999-12-31T23:59:59.999Z', '2026-07-28T12:34:56.789Z', '9999-12-31T23:59:59.999Z', '+275760-09-13T00:00:00.000Z'];
  const page = new GrowingPage(1);
  const milliseconds = moments.map((text) => Date.parse(text));
  const add = async (plusMicroseconds: number): Promise<void> => {
    const sent = milliseconds.map((each) => `(timestamptz 'epoch' + (${Math.floor(each / 1000)} * interval '1 second') + ((${((each % 1000) + 1000) % 1000} * 1000 + ${plusMicroseconds}) * interval '1 microsecond'))`);
    const [row] = await rowsOf(`select string_agg(int8send(number), null), string_agg(float8send(number), null), string_agg(timestamptz_send(time), null), string_agg(int4send(1), null)
      from unnest(array[${sent.join(',')}]) with ordinality as given(time, number)`);
    page.add('job', `plus ${plusMicroseconds}`, row as unknown as SentPoints, 100, false);
  };
  await add(0);
  await add(499);
  await add(-499);
  expect([...page.page().times].map(Number)).toEqual([...milliseconds, ...milliseconds, ...milliseconds]);
  expect(page.page().series.map(({ pointCount }) => pointCount)).toEqual([7, 7, 7]);
});
