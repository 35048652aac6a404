/**
 * trackio's JSONL fragments, which it writes where SQLite is unsafe, as on the file systems of clusters:
 * `<TRACKIO_DIR>/inbox/<writer>/00000000.jsonl`, `00000001.jsonl`, ... A fragment appears whole and never changes; the reader takes the
 * next ones of each writer. trackio's own dashboard removes those it has imported, which takes nothing away here. Alerts and measurements of
 * the machine, which have no step, are passed over.
 */
import { isJsonObject } from '../config-values.ts';
import { READ_CHUNK_BYTES, startOf } from '../harvest-plan.ts';
import { flattenNumbers } from '../metric-line.ts';
import { parseMetricTime } from '../metric-time.ts';
import { filesBy, PointCollector, stepProblem, type JobFile, type MetricReader, type StreamCursors, type StreamPlan } from './reader.ts';
import { completeLines } from './text-lines.ts';

const FRAGMENT = /^(.*(?:^|\/)inbox\/[^/]+)\/(\d{8})\.jsonl$/;
/** A fragment holds what was logged in half a second or so. */
const FRAGMENTS_PER_READ = 200;
const WHAT = 'a line of a trackio fragment';
const VALUE = 'a value in a trackio fragment';
const WORDS: Record<string, number> = { 'NaN': NaN, 'Infinity': Infinity, '-Infinity': -Infinity };

export const trackio: MetricReader = {
  name: 'trackio',
  plan(files, cursors) {
    const byWriter = filesBy(files.filter(({ path }) => FRAGMENT.test(path)), ({ path }) => FRAGMENT.exec(path)?.[1] ?? '');
    return [...byWriter].flatMap(([writer, fragments]) => planWriter(writer, fragments, cursors) ?? []);
  },
  read(plan, contents, options) {
    const points = new PointCollector();
    const cursor = { ...plan.from };
    for (const [index, file] of plan.files.entries()) {
      const content = contents[index];
      // One that was too large, or was removed meanwhile, is passed over: what comes after it can be read all the same.
      if (content) takeFragment(content, file, cursor, points, options.now);
      cursor.offsetBytes = numberOf(file) + 1;
    }
    return points.result(cursor);
  },
};

/** The cursor's offset is the number of the next fragment. */
function planWriter(writer: string, fragments: JobFile[], cursors: StreamCursors): StreamPlan | null {
  const from = cursors.get(writer) ?? { ...startOf(fragments[0]!), inode: writer };
  const news = fragments.filter((file) => numberOf(file) >= from.offsetBytes).toSorted((a, b) => numberOf(a) - numberOf(b));
  if (news.length === 0) return null;
  const files: JobFile[] = [];
  let bytes = 0;
  for (const file of news) {
    if (files.length >= FRAGMENTS_PER_READ || (files.length > 0 && bytes + file.sizeBytes > READ_CHUNK_BYTES)) break;
    files.push(file);
    bytes += file.sizeBytes;
  }
  const wanted = files.map(({ path, sizeBytes }) => ({ path, offsetBytes: 0, maxBytes: Math.min(sizeBytes, READ_CHUNK_BYTES) }));
  return { stream: writer, from, wanted, files, hasMore: files.length < news.length };
}

function takeFragment(content: Buffer, file: JobFile, cursor: { nextStep: number }, points: PointCollector, now: Date): void {
  if (file.sizeBytes > READ_CHUNK_BYTES) points.drop(`the end of a trackio fragment of more than ${READ_CHUNK_BYTES} bytes`);
  const { texts } = completeLines(content, startOf(file), { atEnd: true }, points, WHAT);
  for (const text of texts) takeLine(text, cursor, points, now);
}

function takeLine(text: string, cursor: { nextStep: number }, points: PointCollector, now: Date): void {
  const record = parseObject(text);
  if (record === null) return points.drop(`${WHAT} is not a JSON object`);
  const { kind, metrics, step: stated, timestamp } = record;
  if (kind !== 'metric' || !isJsonObject(metrics)) return;
  const step = stated ?? cursor.nextStep;
  const problem = stepProblem(step);
  if (problem !== null) return points.drop(`${WHAT} has ${problem}`);
  const { numbers, refused } = flattenNumbers(metrics, {
    numberOf: (value) => (typeof value === 'string' ? WORDS[value] ?? value : value), isLeftOut: () => false, keyOf: (path) => path,
  });
  for (const reason of refused) points.drop(`${VALUE} ${reason}`);
  for (const [key, value] of numbers) points.add(key, step as number, value, parseMetricTime(timestamp) ?? now);
  cursor.nextStep = Math.max(cursor.nextStep, (step as number) + 1);
}

function parseObject(text: string) {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : null;
  } catch {
    return null;
  }
}

function numberOf({ path }: JobFile): number {
  return Number(FRAGMENT.exec(path)?.[2]);
}
