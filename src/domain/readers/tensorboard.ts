/**
 * TensorBoard event files (`events.out.tfevents.*`): records of TensorFlow's framing (length, checksum of the length, content, checksum of the
 * content), only ever added to. A record that is not all there waits. One with a wrong checksum is left out; where the length itself is damaged
 * nobody can tell where the next one begins, and the rest of the file is left out.
 *
 * The key is the tag. A folder of its own goes in front of it where a folder above holds event files, too (`add_scalars` writes so), or where
 * it is called by a phase (`train/`, `validation/`): those are the places where one tag stands for two metrics.
 */
import { maskedCrc32c } from './crc32c.ts';
import { metricKeyProblem, PointCollector, stepProblem, type JobFile, type MetricReader, type StreamPlan } from './reader.ts';
import { decodeEvent } from './tensorboard-event.ts';
import { planGrowing, readGrowing } from './text-lines.ts';

const EVENT_FILE = /(?:^|\/)[^/]*events\.out\.tfevents\.[^/]+$/;
const PHASES = /^(?:train|training|val|valid|validation|eval|evaluation|test|testing)$/;
const WHAT = 'a TensorBoard record';
const HEADER_BYTES = 12;
const FRAME_BYTES = 16;
/** Scalars are far smaller; pictures and the like are stepped over without being read. */
const MAX_RECORD_BYTES = 1024 * 1024;
const EARLIEST_UNIX_SECONDS = 0;
const LATEST_UNIX_SECONDS = 1e11;

export const tensorboard: MetricReader = {
  name: 'TensorBoard',
  plan(files, cursors) {
    const events = files.filter(({ path }) => EVENT_FILE.test(path));
    const folders = new Set(events.map(({ path }) => folderOf(path)));
    return events.toSorted((a, b) => a.modifiedAt.getTime() - b.modifiedAt.getTime()).flatMap((file): StreamPlan[] => {
      const plan = planGrowing(file, cursors);
      if (plan === null || plan.from.skipping) return [];
      return [{ ...plan, from: { ...plan.from, memory: { prefix: prefixOf(folderOf(file.path), folders) } } }];
    });
  },
  read: (plan, [content], { now }) => readGrowing(plan, content, (appended) => {
    const points = new PointCollector();
    const prefix = String(plan.from.memory?.['prefix'] ?? '');
    const { offsetBytes, isDamaged } = readRecords(appended, plan.files[0]!, plan.from.offsetBytes, points, (record) => {
      const event = decodeEvent(record);
      const problem = event.scalars.length === 0 ? null : stepProblem(event.step);
      if (problem !== null) return points.drop(`${WHAT} has ${problem}`);
      const isTime = event.wallTime > EARLIEST_UNIX_SECONDS && event.wallTime < LATEST_UNIX_SECONDS;
      const time = isTime ? new Date(event.wallTime * 1000) : now;
      for (const { tag, value } of event.scalars) takeScalar(prefix + tag, event.step, value, time, points);
    });
    return points.result({ ...plan.from, offsetBytes, skipping: isDamaged });
  }),
};

/** Hands on each complete record; answers how far it came. */
function readRecords(
  content: Buffer, file: JobFile, startBytes: number, points: PointCollector, take: (record: Buffer) => void,
): { offsetBytes: number; isDamaged: boolean } {
  let at = 0;
  while (at + HEADER_BYTES <= content.length) {
    const length = Number(content.readBigUInt64LE(at));
    if (maskedCrc32c(content.subarray(at, at + 8)) !== content.readUInt32LE(at + 8)) {
      points.drop('the rest of a TensorBoard file behind a damaged record');
      return { offsetBytes: file.sizeBytes, isDamaged: true };
    }
    const end = at + FRAME_BYTES + length;
    const isTooLong = length > MAX_RECORD_BYTES;
    if (isTooLong ? startBytes + end > file.sizeBytes : end > content.length) break;
    if (!isTooLong) takeRecord(content.subarray(at + HEADER_BYTES, end - 4), content.readUInt32LE(end - 4), points, take);
    at = end;
  }
  return { offsetBytes: startBytes + at, isDamaged: false };
}

function takeRecord(record: Buffer, checksum: number, points: PointCollector, take: (record: Buffer) => void): void {
  if (maskedCrc32c(record) !== checksum) return points.drop(`${WHAT} has a wrong checksum`);
  try {
    take(record);
  } catch {
    points.drop(`${WHAT} is no event`);
  }
}

function takeScalar(key: string, step: number, value: number, time: Date, points: PointCollector): void {
  const problem = metricKeyProblem(key);
  if (problem === null) points.add(key, step, value, time);
  else points.drop(`${WHAT} has ${problem}`);
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function prefixOf(folder: string, folders: ReadonlySet<string>): string {
  const parts = folder.split('/');
  for (let length = parts.length - 1; length >= 1; length -= 1) {
    if (folders.has(parts.slice(0, length).join('/'))) return `${parts.slice(length).join('/')}/`;
  }
  const last = parts.at(-1) ?? '';
  return PHASES.test(last) ? `${last}/` : '';
}
