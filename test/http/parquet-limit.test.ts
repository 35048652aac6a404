import { expect, test } from 'vitest';
import { parquetFormat } from '../../src/http/export/parquet.ts';
import type { Column } from '../../src/http/export/table.ts';

const columns = (count: number) => Array.from({ length: count }, (_, index): Column => ({ name: `c${index}`, type: 'int32' }));
const TOO_LARGE = { code: 'LIMIT_EXCEEDED', message: expect.stringMatching(/\.arrow or \.csv.*`keys`/) };

test('a table with too many groups of too many columns is refused before its first byte, where its size is known', async () => {
  await expect(parquetFormat.open(columns(5_000), 1_000_000)).rejects.toMatchObject(TOO_LARGE);
  await parquetFormat.open(columns(5_000), 10_000);
  await parquetFormat.open(columns(6), 500_000_000);
});

test('one that turns out to be too large ends with an error, before the index that is held until the end has grown without bound', async () => {
  const names = columns(100_000);
  const writer = await parquetFormat.open(names, null);
  const batch = { rowCount: 40, columns: names.map(() => new Int32Array(40)) };
  for (let group = 0; group < 3; group += 1) writer.rows(batch);
  expect(() => writer.rows(batch)).toThrow(expect.objectContaining(TOO_LARGE));
}, 120_000);
