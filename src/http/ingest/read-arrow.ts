import { setImmediate } from 'node:timers/promises';
import type { RecordBatch } from 'apache-arrow';
import { mayBeJobId } from '../../domain/bulk-metric-line.ts';
import { UserError } from '../../domain/errors.ts';
import { metricKeyProblem, stepProblem } from '../../domain/readers/reader.ts';
import { checkedMessages } from './arrow-messages.ts';
import { TextChecks } from './arrow-texts.ts';
import type { CollectedPoints } from './collected-points.ts';

/** Year 1: the database has no year 0. */
const EARLIEST_TIME_MS = Date.parse('0001-01-01T00:00:00Z');
/** The end of year 9999: later times could be stored, but not be shown again. */
const LATEST_TIME_MS = Date.parse('9999-12-31T23:59:59.999Z');

const REQUIRED = ['job_id', 'key', 'step', 'value'] as const;
const COLUMNS = [...REQUIRED, 'time', 'attempt'];

/** After so many rows others have a turn: rows that are refused wait for nothing. */
const ROWS_PER_TURN = 10_000;

/**
 * Reads an Arrow IPC stream with a row a point: `job_id` and `key` (text, plain or dictionary), `step` (integer), `value` (a number), and where wanted
 * `time` (timestamp) and `attempt` (integer). Other columns are passed over. Throws UserError BAD_USER_INPUT when it is no such stream, and
 * LIMIT_EXCEEDED when a record batch is too large to be held.
 */
export async function readArrow(body: AsyncIterable<Buffer>, points: CollectedPoints): Promise<void> {
  // Loaded by the first one who sends Arrow: no start waits for it.
  const { RecordBatchReader } = await import('apache-arrow');
  const now = Date.now();
  const texts = new TextChecks();
  let rowNumber = 0;
  try {
    for await (const batch of await RecordBatchReader.from(checkedMessages(body))) {
      requireColumns(batch);
      texts.check(batch, COLUMNS);
      rowNumber = await addRows(batch, rowNumber, now, points);
    }
  } catch (error) {
    if (error instanceof UserError || !isAboutTheStream(error)) throw error;
    throw UserError.of('BAD_USER_INPUT', `the body is no Arrow IPC stream (after row ${rowNumber}): ${(error as Error).message}`);
  }
}

/** What the reader itself throws has no code; what the database or the connection throws has one. */
function isAboutTheStream(error: unknown): boolean {
  return error instanceof Error && !('code' in error);
}

function requireColumns({ schema }: RecordBatch): void {
  const names = schema.fields.map(({ name }) => name);
  const missing = REQUIRED.filter((name) => !names.includes(name));
  if (missing.length > 0) throw UserError.of('BAD_USER_INPUT', `the Arrow stream lacks ${missing.join(', ')}; it needs ${REQUIRED.join(', ')}, and may have time and attempt`);
}

async function addRows(batch: RecordBatch, rowsBefore: number, now: number, points: CollectedPoints): Promise<number> {
  const [jobIds, keys, steps, values, times, attempts] = COLUMNS.map((name) => batch.getChild(name));
  for (let row = 0; row < batch.numRows; row += 1) {
    const [jobId, key, stated] = [jobIds?.get(row), keys?.get(row), times?.get(row)] as unknown[];
    const value = asNumber(values?.get(row));
    const step = asNumber(steps?.get(row));
    const attempt = asNumber(attempts?.get(row));
    const time = stated === null || stated === undefined ? now : Math.trunc(asNumber(stated) ?? Number.NaN);
    const problem = rowProblem(jobId, key, step, value) ?? timeProblem(time);
    if (problem !== null) points.reject({ line: rowsBefore + row + 1, message: problem });
    else points.addPoint(jobId as string, attempt, key as string, step as number, value as number, time);
    await points.makeRoom();
    if (row % ROWS_PER_TURN === ROWS_PER_TURN - 1) await setImmediate();
  }
  return rowsBefore + batch.numRows;
}

function rowProblem(jobId: unknown, key: unknown, step: number | null, value: number | null): string | null {
  if (!mayBeJobId(jobId)) return 'names no job: job_id must be the id of one';
  if (typeof key !== 'string') return 'names no metric: key must be text';
  if (value === null) return 'has no value: value must be a number, NaN and infinities included';
  const problem = metricKeyProblem(key) ?? stepProblem(step);
  return problem === null ? null : `has ${problem}`;
}

/** A column of plain numbers may be in any unit. */
function timeProblem(time: number): string | null {
  return time >= EARLIEST_TIME_MS && time <= LATEST_TIME_MS ? null : 'has a time that is no moment of the years 1 to 9999: time must be a timestamp, or unix milliseconds';
}

function asNumber(value: unknown): number | null {
  return typeof value === 'bigint' ? Number(value) : typeof value === 'number' ? value : null;
}
