/**
 * `trainer_state.json` of the Hugging Face Trainer: the whole history under `log_history`, written anew with every checkpoint, once in each
 * `checkpoint-<step>` folder. Those of an output folder are read in the order in which they were written. Entries that were taken in before are
 * passed over, unless they have changed, as after going on from an older checkpoint. Keys are written as the Trainer itself hands them to TensorBoard: `eval/loss`,
 * `train/loss`. The file tells no times: an entry has the time of the file in which it was first seen.
 */
import { createHash } from 'node:crypto';
import { isJsonObject } from '../config-values.ts';
import { startOf, type CursorPosition } from '../harvest-plan.ts';
import type { JsonObject } from '../job-spec.ts';
import { parseLenientJson, toNumber } from '../metric-line.ts';
import {
  filesBy, metricKeyProblem, PointCollector, stepProblem, type JobFile, type MetricReader, type ReadOptions, type StreamCursors, type StreamPlan,
} from './reader.ts';

const STATE_FILE = /^((?:.*?\/)??)(?:checkpoint-(\d+)\/)?trainer_state\.json$/;
/** Some 100,000 entries; read whole, so it bounds memory. */
const MAX_STATE_BYTES = 16 * 1024 * 1024;
/** A file that is no JSON for longer than this is not being written: it is broken. */
const BROKEN_AFTER_MS = 60_000;
const PREFIXES = [['eval_', 'eval/'], ['test_', 'test/']] as const;

export const trainerState: MetricReader = {
  name: 'trainer_state.json',
  plan(files, cursors) {
    const byOutput = filesBy(files.filter(({ path }) => STATE_FILE.test(path)), ({ path }) => `${STATE_FILE.exec(path)?.[1] ?? ''}trainer_state.json`);
    return [...byOutput].flatMap(([stream, states]) => planOutput(stream, states, cursors) ?? []);
  },
  read(plan, contents, options) {
    const points = new PointCollector();
    let cursor = plan.from;
    for (const [index, file] of plan.files.entries()) {
      const content = contents[index];
      const next = content ? takeState(content, file, cursor, points, options) : cursor;
      // The later ones build on it.
      if (next === null) break;
      cursor = next;
    }
    return points.result(cursor);
  },
};

/** The states that are new or have changed, the oldest first. What the reader remembers: which ones it has seen, and a digest of the entries taken in. */
function planOutput(stream: string, states: JobFile[], cursors: StreamCursors): StreamPlan | null {
  const stepOf = ({ path }: JobFile): number => Number(STATE_FILE.exec(path)?.[2] ?? Infinity);
  const known = cursors.get(stream);
  const seen = seenIn(known);
  const news = states.filter((file) => file.sizeBytes > 0 && seen[file.path] !== identityOf(file))
    .toSorted((a, b) => a.modifiedAt.getTime() - b.modifiedAt.getTime() || stepOf(a) - stepOf(b));
  if (news.length === 0) return null;
  const files: JobFile[] = [];
  let bytes = 0;
  for (const file of news) {
    bytes += Math.min(file.sizeBytes, MAX_STATE_BYTES);
    if (files.length > 0 && bytes > MAX_STATE_BYTES) break;
    files.push(file);
  }
  const present = new Set(states.map(({ path }) => path));
  const from = {
    ...known ?? { ...startOf(files[0]!), inode: stream },
    memory: { digest: known?.memory?.['digest'] ?? null, seen: Object.fromEntries(Object.entries(seen).filter(([path]) => present.has(path))) },
  };
  const wanted = files.map(({ path, sizeBytes }) => ({ path, offsetBytes: 0, maxBytes: Math.min(sizeBytes, MAX_STATE_BYTES) }));
  return { stream, from, wanted, files, hasMore: files.length < news.length };
}

function seenIn(cursor: CursorPosition | undefined): JsonObject {
  const seen = cursor?.memory?.['seen'];
  return isJsonObject(seen) ? seen : {};
}

/** The cursor behind the file; null when it is just being written. */
function takeState(content: Buffer, file: JobFile, from: CursorPosition, points: PointCollector, { now, atEnd }: ReadOptions): CursorPosition | null {
  const seen = { ...seenIn(from), [file.path]: identityOf(file) };
  const passed = { ...from, memory: { ...from.memory, seen } };
  if (file.sizeBytes > MAX_STATE_BYTES) {
    points.drop(`a trainer_state.json of more than ${MAX_STATE_BYTES} bytes`);
    return passed;
  }
  const state = parseLenientJson(content.toString('utf8'));
  const history = isJsonObject(state) ? state['log_history'] : undefined;
  if (!Array.isArray(history)) {
    if (!atEnd && now.getTime() - file.modifiedAt.getTime() < BROKEN_AFTER_MS) return null;
    points.drop('a trainer_state.json without a readable log_history');
    return passed;
  }
  const isContinued = history.length >= from.nextStep && digestOf(history.slice(0, from.nextStep)) === from.memory?.['digest'];
  for (const entry of isContinued ? history.slice(from.nextStep) : history) takeEntry(entry, file.modifiedAt, points);
  return { ...from, nextStep: history.length, memory: { seen, digest: digestOf(history) } };
}

function identityOf({ inode, sizeBytes, modifiedAt }: JobFile): string {
  return `${inode} ${sizeBytes} ${modifiedAt.getTime()}`;
}

function digestOf(history: unknown[]): string {
  return createHash('sha256').update(JSON.stringify(history)).digest('hex');
}

function takeEntry(entry: unknown, time: Date, points: PointCollector): void {
  if (!isJsonObject(entry)) return points.drop('an entry of a trainer_state.json that is no JSON object');
  const { step, ...values } = entry;
  const problem = stepProblem(step);
  if (problem !== null) return points.drop(`an entry of a trainer_state.json has ${problem}`);
  for (const [name, given] of Object.entries(values)) {
    const value = toNumber(given);
    if (typeof value !== 'number') continue;
    const key = keyOf(name);
    const keyProblem = metricKeyProblem(key);
    if (keyProblem === null) points.add(key, step as number, value, time);
    else points.drop(`a value of a trainer_state.json has ${keyProblem}`);
  }
}

function keyOf(name: string): string {
  const prefix = PREFIXES.find(([start]) => name.startsWith(start));
  return prefix === undefined ? `train/${name}` : prefix[1] + name.slice(prefix[0].length);
}
