/** Arrow streams that are too large, or that lie about their own lengths: refused with a reason, in bounded memory and time. */
import { Dictionary, Field, Float64, Int32, Int64, makeData, makeVector, RecordBatch, RecordBatchStreamWriter, Schema, Struct, Table, tableToIPC, Uint8, Utf8, vectorFromArray } from 'apache-arrow';
import { expect, test } from 'vitest';
import { UserError } from '../../src/domain/errors.ts';
import { CollectedPoints, type IngestSummary } from '../../src/http/ingest/collected-points.ts';
import { readArrow } from '../../src/http/ingest/read-arrow.ts';

const JOB = '00000000-0000-7000-8000-000000000000';
const MIB = 1024 * 1024;
/** Of a body that is refused: what was sent of it may be held, and no more. */
const MAX_GROWTH_BYTES = 256 * MIB;

/** Reads a stream as the endpoint does, with every point taken. */
async function read(pieces: Iterable<Uint8Array>): Promise<IngestSummary> {
  const points = new CollectedPoints(async (parts) => ({ pointCount: parts.reduce((sum, { series }) => sum + series.reduce((count, { steps }) => count + steps.length, 0), 0), refused: [] }));
  const body = async function* (): AsyncGenerator<Buffer> {
    for (const piece of pieces) yield Buffer.from(piece);
  };
  await readArrow(body(), points);
  return points.finish();
}

const refusal = (pieces: Iterable<Uint8Array>): Promise<UserError> => read(pieces).then(() => Promise.reject(new Error('the stream was taken')), (error: unknown) => error as UserError);

/** Texts plain and by number, in two record batches. */
function smallStream(): Uint8Array {
  const table = (from: number): Table => new Table({
    job_id: vectorFromArray([JOB, JOB, JOB], new Utf8()), key: vectorFromArray(['loss', 'acc', 'loss'], new Dictionary(new Utf8(), new Int32(), 1)),
    step: vectorFromArray([0n, 1n, 2n].map((step) => step + BigInt(from)), new Int64()), value: vectorFromArray([1, 2, 3], new Float64()),
  });
  return tableToIPC(table(0).concat(table(3)), 'stream');
}

/** One record batch with a text as long as is wanted. */
async function streamWith(textBytes: number): Promise<Uint8Array[]> {
  const type = new Struct([new Field('job_id', new Utf8()), new Field('key', new Utf8()), new Field('step', new Int64()), new Field('value', new Float64()), new Field('note', new Utf8())] as Field[]);
  const text = (bytes: Uint8Array) => makeData({ type: new Utf8(), length: 1, valueOffsets: new Int32Array([0, bytes.length]), data: bytes });
  const batch = new RecordBatch(new Schema(type.children), makeData({ type, length: 1, nullCount: 0, children: [
    text(Buffer.from(JOB)), text(Buffer.from('loss')), makeData({ type: new Int64(), length: 1, data: new BigInt64Array([1n]) }), makeData({ type: new Float64(), length: 1, data: new Float64Array([1]) }),
    text(Buffer.alloc(textBytes, 'x')),
  ] }));
  const pieces: Uint8Array[] = [];
  for await (const piece of RecordBatchStreamWriter.writeAll([batch])) pieces.push(piece);
  return pieces;
}

test('a record batch that is too large is refused before its columns are read, and it is said what would be right', async () => {
  expect(await read(await streamWith(60 * MIB))).toMatchObject({ pointCount: 1, rejectedCount: 0 });
  const large = await streamWith(64 * MIB);
  let sentBytes = 0;
  const sent = function* (): Generator<Uint8Array> {
    for (const piece of large) for (let at = 0; at < piece.length; at += 65_536) {
      const part = piece.subarray(at, at + 65_536);
      sentBytes += part.length;
      yield part;
    }
  };
  const error = await refusal(sent());
  expect([error.code, error.message]).toEqual(['LIMIT_EXCEEDED', expect.stringMatching(/^the Arrow stream has a record batch of 6710\d{4} bytes; at most 67108864 are taken at once; write smaller record batches \(pyarrow: .*max_chunksize=100_000\)\)$/)]);
  expect(sentBytes).toBeLessThan(MIB);
});

/** A number at every place of a stream that could be a length. */
const LIES = [0x7fff_ffff, 0x00ff_ffff, 0x0400_0000, -1, 1];

test.each(LIES)('whatever length %i a stream claims anywhere, it is taken or refused as no such stream', async (lie) => {
  const whole = smallStream();
  const before = process.memoryUsage.rss();
  const refused = new Set<string>();
  for (let at = 0; at + 4 <= whole.length; at += 4) {
    const bytes = Buffer.from(whole);
    bytes.writeInt32LE(lie, at);
    const error = await read([bytes]).then(() => null, (reason: unknown) => reason);
    if (error === null) continue;
    expect(error).toBeInstanceOf(UserError);
    refused.add((error as UserError).code);
  }
  expect(refused).toContain('BAD_USER_INPUT');
  expect(process.memoryUsage.rss() - before).toBeLessThan(MAX_GROWTH_BYTES);
});

test('a stream without an end is not read on once it says what cannot be', async () => {
  const endless = function* (beginning: Uint8Array): Generator<Uint8Array> {
    yield beginning;
    for (const zeros = new Uint8Array(65_536); ;) yield zeros;
  };
  const claims = (...words: number[]): Uint8Array => new Uint8Array(new Int32Array(words).buffer);
  expect((await refusal(endless(claims(-1, 0x7fff_fff0)))).message).toContain('2147483632 bytes of metadata; at most 1048576 are taken');
  expect((await refusal(endless(claims(-1, -8)))).code).toBe('BAD_USER_INPUT');
  expect((await refusal(endless(Buffer.from('ARROW1\0\0')))).message).toContain('it is an Arrow file; write it as a stream');
});

test('a few bytes that many rows share as long texts are not read again for each', async () => {
  const rows = 100_000;
  // Every other text is all of them.
  const valueOffsets = Int32Array.from({ length: rows + 1 }, (_, index) => (index % 2 === 0 ? 0 : MIB));
  const type = new Struct([new Field('job_id', new Utf8()), new Field('key', new Utf8()), new Field('step', new Int64()), new Field('value', new Float64())] as Field[]);
  const overlapping = makeData({ type: new Utf8(), length: rows, valueOffsets, data: Buffer.alloc(MIB, 'x') });
  const batch = new RecordBatch(new Schema(type.children), makeData({ type, length: rows, nullCount: 0, children: [
    overlapping, overlapping, makeData({ type: new Int64(), length: rows, data: new BigInt64Array(rows) }), makeData({ type: new Float64(), length: rows, data: new Float64Array(rows) }),
  ] }));
  const pieces: Uint8Array[] = [];
  for await (const piece of RecordBatchStreamWriter.writeAll([batch])) pieces.push(piece);
  expect((await refusal(pieces)).message).toContain('texts of a column overlap');
});

test('dictionaries are held up to a bound, those that take the place of others not counted', async () => {
  // Each of them the same letter, which is quickly made.
  const values = (count: number) => makeVector(makeData({ type: new Utf8(), length: count, valueOffsets: Int32Array.from({ length: count + 1 }, (_, index) => index), data: Buffer.alloc(count, 'x') }));
  const stream = async (count: number, dictionaries: number): Promise<Uint8Array[]> => {
    const type = new Struct([new Field('job_id', new Utf8()), new Field('key', new Dictionary(new Utf8(), new Int32(), 1)), new Field('step', new Uint8()), new Field('value', new Float64())] as Field[]);
    const batches = Array.from({ length: dictionaries }, (_, step) => new RecordBatch(new Schema(type.children), makeData({ type, length: 1, nullCount: 0, children: [
      vectorFromArray([JOB], new Utf8()).data[0]!, makeData({ type: type.children[1]!.type as Dictionary, length: 1, data: new Int32Array([step]), dictionary: values(count + step) }),
      makeData({ type: new Uint8(), length: 1, data: new Uint8Array([step]) }), makeData({ type: new Float64(), length: 1, data: new Float64Array([1]) }),
    ] })));
    const pieces: Uint8Array[] = [];
    for await (const piece of RecordBatchStreamWriter.writeAll(batches)) pieces.push(piece);
    return pieces;
  };
  expect(await read(await stream(400_000, 3))).toMatchObject({ pointCount: 3 });
  const error = await refusal(await stream(1_000_001, 1));
  expect([error.code, error.message]).toEqual(['LIMIT_EXCEEDED', expect.stringContaining('send such columns as plain text')]);
});
