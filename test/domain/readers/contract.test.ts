/** What holds for every reader, on files that the real frameworks wrote. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { METRIC_READERS } from '../../../src/domain/readers/all-readers.ts';
import { READER_NAMES, type MetricReader, type ReaderName } from '../../../src/domain/readers/reader.ts';
import { JobFolder, RECORDED_RUNS } from './job-folder.ts';

interface Recorded {
  /** Folder below `runs`, or the text of the file that our own format is. */
  run: string | { path: string; text: string };
  /** Some series as they must come out. */
  expected: Record<string, [number, number][]>;
  /** What the run holds besides that cannot be taken. */
  dropped?: Record<string, number>;
  /** Files that are rewritten whole are read once they are whole. */
  isRewritten?: boolean;
}

const third = 1 / 3;
const RECORDED: Record<ReaderName, Recorded> = {
  'metrics.jsonl': {
    run: { path: 'metrics.jsonl', text: '{"step":1,"loss":2}\n{"step":2,"loss":NaN,"val":{"größe mit raum":0.5}}\n{"step":3,"loss":1}\n' },
    expected: { 'loss': [[1, 2], [2, NaN], [3, 1]], 'val/größe mit raum': [[2, 0.5]] },
  },
  'trackio': {
    run: 'trackio',
    expected: {
      'loss': [[0, 1], [1, 0.5], [2, third], [3, 0.25], [4, NaN], [5, 1 / 6], [20, 0.01]],
      'val/acc': [[0, 0], [1, 0.1], [2, 0.2], [3, 0.3], [4, 0.4], [5, 0.5]],
    },
    isRewritten: true,
  },
  'trainer_state.json': {
    run: 'transformers',
    expected: { 'train/learning_rate': [5e-5, 4.5e-5, 4e-5, 3.5e-5, 3e-5, 2.5e-5, 2e-5, 1.5e-5, 1e-5, 5e-6].map((rate, index) => [index + 1, rate]), 'train/epoch': expect.arrayContaining([[10, 2.5]]), 'eval/loss': expect.arrayContaining([[10, 2.7905752658843994]]) },
    isRewritten: true,
  },
  'metrics.csv': {
    run: 'lightning',
    expected: { late: [[7, 1], [11, 2]], val_loss: expect.anything(), epoch: [[1, 0], [3, 0], [5, 1], [7, 1], [9, 2], [11, 2]] },
  },
  'TensorBoard': {
    run: 'tensorboardx',
    expected: {
      'val/loss': Array.from({ length: 10 }, (_, step) => [step, Math.fround(1 / (step + 1))]), 'größe_mit_raum': [[6, 7]],
      'both/left/both': [[3, 1]], 'both/right/both': [[3, 2]],
    },
    dropped: { 'a TensorBoard record has a negative step': 1 },
  },
  'MLflow': {
    run: 'mlflow',
    expected: {
      'val/loss': [[0, 1], [1, 0.5], [2, third], [3, 0.25], [4, 0.2]], 'accuracy': [[0, 0], [1, 0.1], [2, 0.2], [3, 0.3], [4, 0.4]],
      'a key': [[0, 0], [1, 1], [2, 2], [3, 3], [4, 4]], 'broken': [[2, NaN]],
    },
  },
};

function folderOf({ run }: Recorded): JobFolder {
  const folder = new JobFolder();
  if (typeof run === 'string') folder.putAll(join(RECORDED_RUNS, run));
  else folder.put(run.path, run.text);
  return folder;
}

/** The files that a reader wants to see. */
function filesOf(reader: MetricReader, folder: JobFolder): Set<string> {
  return new Set(reader.plan(folder.list(), new Map()).flatMap((plan) => plan.wanted.map(({ path }) => path)));
}

it('every reader has a recorded run', () => {
  expect(METRIC_READERS.map(({ name }) => name)).toEqual([...READER_NAMES]);
});

describe.each(METRIC_READERS.map((reader) => ({ name: reader.name, reader, recorded: RECORDED[reader.name] })))('$name', ({ reader, recorded }) => {
  it('is read as the framework wrote it, and the second time there is nothing new', () => {
    const folder = folderOf(recorded);
    folder.read(reader);
    for (const [key, points] of Object.entries(recorded.expected)) expect([key, folder.series(key)]).toEqual([key, points]);
    expect(Object.fromEntries(folder.dropped)).toEqual(recorded.dropped ?? {});
    expect(folder.read(reader)).toEqual([]);
  });

  it('does not touch the files of the others', () => {
    for (const [name, other] of Object.entries(RECORDED)) {
      if (name === reader.name) continue;
      const folder = folderOf(other);
      const mine = [...filesOf(reader, folder)];
      // Some frameworks write for TensorBoard, too.
      expect(mine.filter((path) => !path.includes('tfevents'))).toEqual([]);
    }
  });

  it('comes to the same, cut anywhere: what is half written waits', () => {
    const whole = folderOf(recorded);
    whole.read(reader);
    const paths = filesOf(reader, whole);
    const growing = new JobFolder();
    for (const path of paths) growing.put(path, '');
    const longest = Math.max(...[...paths].map((path) => whole.files.get(path)!.content.length));
    for (let length = 1; length < longest; length += Math.max(1, Math.floor(longest / 97))) {
      growing.now = new Date(growing.now.getTime() + 1000);
      for (const path of paths) {
        const { content } = whole.files.get(path)!;
        // What the framework writes whole and renames is never seen in part.
        growing.change(path, recorded.isRewritten && length < content.length && reader.name === 'trackio' ? '' : content.subarray(0, length));
      }
      growing.read(reader);
      for (const [key, points] of growing.points) for (const [step, { value }] of points) expect(whole.points.get(key)?.get(step)?.value).toBe(value);
    }
    for (const path of paths) growing.change(path, whole.files.get(path)!.content);
    growing.read(reader);
    if (reader.name !== 'trackio') {
      expect(growing.all()).toEqual(whole.all());
      expect(growing.valueCount).toBe(whole.valueCount);
    }
    expect(growing.dropped).toEqual(whole.dropped);
  });

  it('reads a replaced file anew', () => {
    const folder = folderOf(recorded);
    folder.read(reader);
    const before = folder.all();
    folder.points.clear();
    folder.now = new Date(folder.now.getTime() + 1000);
    for (const path of filesOf(reader, folder)) {
      const { content } = folder.files.get(path)!;
      // A trackio fragment never changes: the next one has the next number.
      folder.put(reader.name === 'trackio' ? path.replace('00000000', '00000001') : path, content);
    }
    for (const cursor of folder.cursors.values()) if (reader.name === 'trainer_state.json') cursor.memory = { ...cursor.memory, digest: 'of something else' };
    folder.read(reader);
    expect(folder.all()).toEqual(before);
  });

  it('takes binary garbage as what it is: counted with a reason, bounded, and never an exception', () => {
    const folder = folderOf(recorded);
    for (const path of filesOf(reader, folder)) {
      folder.put(path, Buffer.from(Array.from({ length: 20_000 }, (_, index) => (index * 7919 + (index >> 3)) % 256)));
    }
    folder.now = new Date(folder.now.getTime() + 3_600_000);
    folder.read(reader, { atEnd: true });
    expect(folder.valueCount).toBe(0);
    expect(folder.dropped.size).toBeGreaterThan(0);
    for (const reason of folder.dropped.keys()) expect(reason).toMatch(/^(?:a|an|the) .{10,120}$/);
    expect(folder.read(reader, { atEnd: true })).toEqual([]);
  });

  it('gives times that exist, whatever the clock of the writer said', () => {
    const folder = folderOf(recorded);
    folder.read(reader);
    for (const points of folder.points.values()) for (const { time } of points.values()) expect(time.getUTCFullYear()).toBeGreaterThan(2000);
  });
});
