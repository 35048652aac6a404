/** What is particular to single formats, beyond the contract. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { READ_CHUNK_BYTES } from '../../../src/domain/harvest-plan.ts';
import { maskedCrc32c } from '../../../src/domain/readers/crc32c.ts';
import { metricsCsv } from '../../../src/domain/readers/metrics-csv.ts';
import { metricsJsonl } from '../../../src/domain/readers/metrics-jsonl.ts';
import { mlflow } from '../../../src/domain/readers/mlflow.ts';
import type { JobFile, MetricReader } from '../../../src/domain/readers/reader.ts';
import { tensorboard } from '../../../src/domain/readers/tensorboard.ts';
import { trackio } from '../../../src/domain/readers/trackio.ts';
import { trainerState } from '../../../src/domain/readers/trainer-state.ts';
import { JobFolder, RECORDED_RUNS } from './job-folder.ts';

const recorded = (...parts: string[]) => readFileSync(join(RECORDED_RUNS, ...parts));

/** A record as TensorBoard frames it. */
const record = (content: Buffer, { checksum = maskedCrc32c(content) } = {}): Buffer => {
  const length = Buffer.alloc(12);
  length.writeBigUInt64LE(BigInt(content.length));
  length.writeUInt32LE(maskedCrc32c(length.subarray(0, 8)), 8);
  const end = Buffer.alloc(4);
  end.writeUInt32LE(checksum);
  return Buffer.concat([length, content, end]);
};
/** An event with one simple value of tag `a`; the step as a varint. */
const event = (step: Buffer, value = 1): Buffer => {
  const inner = Buffer.concat([Buffer.from([0x0a, 1, 0x61, 0x15]), Buffer.from(new Float32Array([value]).buffer)]);
  return Buffer.concat([Buffer.from([0x10]), step, Buffer.from([0x2a, inner.length + 2, 0x0a, inner.length]), inner]);
};

describe('a file that was emptied and, between two looks, written longer than it was', () => {
  const lines = (steps: number[], line: (step: number) => string): Buffer => Buffer.from(steps.map((step) => `${line(step)}\n`).join(''));
  const range = (from: number, end: number): number[] => Array.from({ length: end - from }, (_, index) => from + index);

  it.each<[string, MetricReader, string, (steps: number[], value: number) => Buffer]>([
    ['metrics.jsonl', metricsJsonl, 'a', (steps, value) => lines(steps, (step) => `{"step":${step},"a":${value}}`)],
    ['metrics.csv', metricsCsv, 'a', (steps, value) => Buffer.concat([Buffer.from('step,a\n'), lines(steps, (step) => `${step},${value}`)])],
    ['mlruns/0/run/metrics/a', mlflow, 'a', (steps, value) => lines(steps, (step) => `1700000000000 ${value} ${step}`)],
    ['events.out.tfevents.1.host', tensorboard, 'a', (steps, value) => Buffer.concat(steps.map((step) => record(event(Buffer.from([step]), value))))],
  ])('%s is read from its start', (path, reader, key, contentOf) => {
    const folder = new JobFolder();
    folder.put(path, contentOf(range(100, 120), 1));
    folder.read(reader);
    folder.change(path, contentOf(range(0, 90), 2));
    expect(folder.read(reader)).toEqual([path, path]);
    expect(folder.series(key)).toEqual([...range(0, 90).map((step) => [step, 2]), ...range(100, 120).map((step) => [step, 1])]);
    expect(folder.dropped.size).toBe(0);
    folder.change(path, contentOf(range(0, 91), 2));
    expect(folder.read(reader)).toEqual([path]);
    expect(folder.valueCount).toBe(20 + 90 + 1);
    expect(folder.read(reader)).toEqual([]);
  });
});

describe('metrics.csv', () => {
  const path = 'lightning_logs/version_0/metrics.csv';

  it('that is rewritten in place because a column appeared is read anew, and nothing counts twice', () => {
    const folder = new JobFolder();
    folder.put(path, recorded('lightning', 'snapshots', 'metrics.csv'));
    folder.read(metricsCsv);
    expect(folder.points.has('late')).toBe(false);
    folder.change(path, recorded('lightning', 'lightning_logs', 'version_0', 'metrics.csv'));
    folder.read(metricsCsv);
    const fresh = new JobFolder();
    fresh.put(path, recorded('lightning', 'lightning_logs', 'version_0', 'metrics.csv'));
    fresh.read(metricsCsv);
    expect(folder.all()).toEqual(fresh.all());
    expect(folder.dropped.size).toBe(0);
  });

  it('may have 10,000 columns with commas, quotes, slashes and unicode in their names', () => {
    const keys = Array.from({ length: 10_000 }, (_, index) => `"a, ""b""/größe ${index}"`);
    const folder = new JobFolder();
    folder.put(path, `step,${keys.join(',')}\r\n3,${keys.map((_, index) => index).join(',')}\r\n`);
    folder.read(metricsCsv);
    expect(folder.points.size).toBe(10_000);
    expect(folder.series('a, "b"/größe 7')).toEqual([[3, 7]]);
  });

  it('loses only the values under a name that no metric can have, counted; a blank cell is no zero', () => {
    const folder = new JobFolder();
    folder.put(path, `step,loss,${'k'.repeat(500)},,note\n1,1,5,5,text\n2, 2 ,5, ,\n3, ,,,\n`);
    folder.read(metricsCsv);
    expect(folder.all()).toEqual({ loss: [[1, 1], [2, 2]] });
    expect(Object.fromEntries(folder.dropped)).toEqual({ 'a value in metrics.csv has a key of more than 256 characters': 2, 'a value in metrics.csv has an empty key': 1 });
  });

  it.each(['-1', '9223372036854775807', '1.5', ''])('drops a row with step "%s" and keeps the others', (step) => {
    const folder = new JobFolder();
    folder.put(path, `loss,step\n1,${step}\n2,2\n`);
    folder.read(metricsCsv);
    expect(folder.all()).toEqual({ loss: [[2, 2]] });
    expect([...folder.dropped.values()]).toEqual([1]);
  });
});

describe('a line of 200 MB', () => {
  /** A file of that size of which only the asked bytes are ever made. */
  function readHuge(path: string, head: string, tail: string, reader: typeof metricsJsonl) {
    const fill = 200 * 1024 * 1024;
    const size = head.length + fill + tail.length;
    const file: JobFile = { path, sizeBytes: size, inode: '1', modifiedAt: new Date() };
    const bytes = (offset: number, count: number): Buffer => {
      const content = Buffer.alloc(Math.min(count, size - offset), 'x');
      content.write(head.slice(Math.min(offset, head.length)));
      const tailAt = head.length + fill - offset;
      if (tailAt < content.length) content.write(tail.slice(Math.max(0, -tailAt)), Math.max(0, tailAt));
      return content;
    };
    const cursors = new Map();
    const values: number[] = [];
    let dropped = 0;
    for (let round = 0; round < 100; round += 1) {
      const [plan] = reader.plan([file], cursors);
      if (plan === undefined) break;
      for (const { maxBytes } of plan.wanted) expect(maxBytes).toBeLessThanOrEqual(READ_CHUNK_BYTES);
      const read = reader.read(plan, plan.wanted.map(({ offsetBytes, maxBytes }) => bytes(offsetBytes, maxBytes)), { now: new Date(), atEnd: false });
      cursors.set(plan.stream, read.cursor);
      values.push(...read.series.flatMap((series) => series.values));
      dropped += read.dropped.reduce((sum, { count }) => sum + count, 0);
    }
    return { values, dropped };
  }

  it.each([
    ['metrics.jsonl', '{"loss":1,"step":1}\n', '\n{"loss":2,"step":2}\n', metricsJsonl],
    ['metrics.csv', 'step,loss\n1,1\n', '\n2,2\n', metricsCsv],
    ['mlruns/0/a/metrics/loss', '1700000000000 1 1\n', '\n1700000000000 2 2\n', mlflow],
  ] as const)('in %s is passed over in bounded pieces and counted once', (path, head, tail, reader) => {
    expect(readHuge(path, head, tail, reader)).toEqual({ values: [1, 2], dropped: 1 });
  });
});

describe('trainer_state.json', () => {
  const state = (...entries: object[]) => JSON.stringify({ global_step: 1, log_history: entries });
  const at = (step: number, loss: number) => ({ step, loss });

  it('of the newest checkpoint is read, and of it only what is new', () => {
    const folder = new JobFolder();
    folder.put('out/checkpoint-2/trainer_state.json', state(at(1, 5), at(2, 4)));
    expect(folder.read(trainerState)).toEqual(['out/trainer_state.json']);
    folder.now = new Date(folder.now.getTime() + 60_000);
    folder.put('out/checkpoint-4/trainer_state.json', state(at(1, 5), at(2, 4), at(3, 3)));
    folder.read(trainerState);
    expect(folder.series('train/loss')).toEqual([[1, 5], [2, 4], [3, 3]]);
    expect(folder.valueCount).toBe(3);
    // The older one is rotated away: no news.
    folder.files.delete('out/checkpoint-2/trainer_state.json');
    expect(folder.read(trainerState)).toEqual([]);
  });

  it('of a run that went on from an older checkpoint overwrites the steps since', () => {
    const folder = new JobFolder();
    folder.put('checkpoint-3/trainer_state.json', state(at(1, 5), at(2, 4), at(3, 3)));
    folder.read(trainerState);
    folder.now = new Date(folder.now.getTime() + 60_000);
    folder.put('checkpoint-4/trainer_state.json', state(at(1, 5), at(2, 2), at(3, 1), at(4, 0.5)));
    folder.read(trainerState);
    expect(folder.series('train/loss')).toEqual([[1, 5], [2, 2], [3, 1], [4, 0.5]]);
  });

  it('that takes more than 16 MiB is left out, with a reason', () => {
    const folder = new JobFolder();
    folder.put('trainer_state.json', Buffer.alloc(17 * 1024 * 1024, ' '));
    folder.read(trainerState);
    expect([...folder.dropped.keys()]).toEqual(['a trainer_state.json of more than 16777216 bytes']);
    expect(folder.read(trainerState)).toEqual([]);
  });
});

describe('TensorBoard', () => {
  it('in its tensor form, in folders named by phases, and NaN', () => {
    const folder = new JobFolder();
    folder.putAll(join(RECORDED_RUNS, 'tensorboard'));
    folder.read(tensorboard);
    const losses = (offset: number) => [0, 1, 2, 3, 4].map((step) => [step, Math.fround(offset + 1 / (step + 1))]);
    expect(folder.all()).toEqual({
      'train/epoch_loss': losses(0), 'validation/epoch_loss': losses(0.5), 'loss': [[0, 0], [1, 0.5], [2, 1], [3, NaN], [4, 2]],
    });
    expect(folder.points.get('loss')?.get(2)?.time.toISOString()).toBe('2023-11-14T22:13:22.000Z');
  });

  const step = (number: number) => Buffer.from([number]);
  const readFile = (...records: Buffer[]) => {
    const folder = new JobFolder();
    folder.put('events.out.tfevents.1.host', Buffer.concat(records));
    folder.read(tensorboard);
    return folder;
  };

  it('checksums are those of the TFRecord format', () => {
    expect(maskedCrc32c(Buffer.from('123456789'))).toBe((((0xe3069283 >>> 15) | (0xe3069283 << 17)) + 0xa282ead8) >>> 0);
  });

  it('a record with a wrong checksum is left out alone', () => {
    const folder = readFile(record(event(step(1))), record(event(step(2)), { checksum: 7 }), record(event(step(3))));
    expect(folder.series('a')).toEqual([[1, 1], [3, 1]]);
    expect(Object.fromEntries(folder.dropped)).toEqual({ 'a TensorBoard record has a wrong checksum': 1 });
  });

  it('behind a damaged length nothing more is read, once said, until the file is replaced', () => {
    const damaged = record(event(step(2)));
    damaged[0] = 99;
    const folder = readFile(record(event(step(1))), damaged, record(event(step(3))));
    expect(folder.series('a')).toEqual([[1, 1]]);
    expect(Object.fromEntries(folder.dropped)).toEqual({ 'the rest of a TensorBoard file behind a damaged record': 1 });
    expect(folder.read(tensorboard)).toEqual([]);
    folder.put('events.out.tfevents.1.host', record(event(step(4))));
    folder.read(tensorboard);
    expect(folder.series('a')).toEqual([[1, 1], [4, 1]]);
  });

  it('a picture of megabytes is stepped over without being read, and waited for while it is written', () => {
    const picture = record(Buffer.alloc(9 * 1024 * 1024));
    const folder = readFile(record(event(step(1))), picture.subarray(0, 5_000_000));
    expect(folder.series('a')).toEqual([[1, 1]]);
    folder.change('events.out.tfevents.1.host', Buffer.concat([record(event(step(1))), picture, record(event(step(2)))]));
    folder.read(tensorboard);
    expect(folder.series('a')).toEqual([[1, 1], [2, 1]]);
    expect(folder.dropped.size).toBe(0);
  });

  it('steps of 2^63 - 1 and -1 are dropped, with a reason each', () => {
    const greatest = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    const minusOne = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    const folder = readFile(record(event(greatest)), record(event(minusOne)), record(event(step(1))));
    expect(folder.series('a')).toEqual([[1, 1]]);
    expect([...folder.dropped.values()]).toEqual([1, 1]);
  });

  it('a record that is no event is dropped', () => {
    const folder = readFile(record(Buffer.from([0xff, 0xff, 0xff])), record(event(step(1))));
    expect(folder.series('a')).toEqual([[1, 1]]);
    expect(Object.fromEntries(folder.dropped)).toEqual({ 'a TensorBoard record is no event': 1 });
  });
});

describe('trackio', () => {
  const line = (content: object) => `${JSON.stringify({ v: 1, kind: 'metric', ...content })}\n`;

  it('takes the fragments of each writer in their order, passes over alerts, and counts on where no step is named', () => {
    const folder = new JobFolder();
    folder.put('t/inbox/a/00000000.jsonl', line({ metrics: { loss: 3 } }) + line({ kind: 'alert', title: 'x' }) + line({ metrics: { loss: 2 } }));
    folder.read(trackio);
    folder.put('t/inbox/a/00000001.jsonl', line({ metrics: { loss: 1 }, step: 7 }));
    folder.put('t/inbox/b/00000000.jsonl', `${line({ metrics: { acc: 'Infinity' }, step: 1 })}half a li`);
    // Its dashboard has imported the first and removed it.
    folder.files.delete('t/inbox/a/00000000.jsonl');
    folder.read(trackio);
    expect(folder.all()).toEqual({ loss: [[0, 3], [1, 2], [7, 1]], acc: [[1, Infinity]] });
    expect(Object.fromEntries(folder.dropped)).toEqual({ 'a line of a trackio fragment is not a JSON object': 1 });
  });

  it('of 1,000 fragments reads 200 at a time', () => {
    const folder = new JobFolder();
    for (let index = 0; index < 1000; index += 1) folder.put(`inbox/a/${String(index).padStart(8, '0')}.jsonl`, line({ metrics: { loss: index }, step: index }));
    expect(folder.read(trackio)).toHaveLength(5);
    expect(folder.series('loss')).toHaveLength(1000);
  });
});

it('a metric of MLflow whose folders make a key that is too long is counted, line by line, and keeps out no other', () => {
  const folder = new JobFolder();
  folder.put(`mlruns/0/r/metrics/${'a'.repeat(200)}/${'b'.repeat(200)}`, '1700000000000 1 1\n1700000000000 2 2\n');
  folder.put('mlruns/0/r/metrics/loss', '1700000000000 1 1\n');
  folder.read(mlflow);
  expect(folder.all()).toEqual({ loss: [[1, 1]] });
  expect(Object.fromEntries(folder.dropped)).toEqual({ 'a line of an MLflow metric has a key of more than 256 characters': 2 });
  expect(folder.read(mlflow)).toEqual([]);
});

it('a value of trackio under a key that is too long is left out alone', () => {
  const folder = new JobFolder();
  folder.put('inbox/a/00000000.jsonl', `${JSON.stringify({ kind: 'metric', step: 1, metrics: { loss: 1, ['k'.repeat(500)]: 2 } })}\n`);
  folder.read(trackio);
  expect(folder.all()).toEqual({ loss: [[1, 1]] });
  expect(Object.fromEntries(folder.dropped)).toEqual({ 'a value in a trackio fragment has a key of more than 256 characters': 1 });
});

it('clock jumps and times that are none move no step', () => {
  const folder = new JobFolder();
  folder.put('mlruns/0/r/metrics/loss', '1700000000000 1 1\n5 2 2\n99999999999999999999 3 3\n1600000000000 4 4\n');
  folder.read(mlflow);
  expect(folder.series('loss')).toEqual([[1, 1], [2, 2], [3, 3], [4, 4]]);
  expect([...folder.points.get('loss')!.values()].map(({ time }) => time.getUTCFullYear())).toEqual([2023, 2026, 2026, 2020]);
});
