/**
 * `metrics.csv` of Lightning's CSVLogger: a column a metric, an empty cell where it was not logged. The file grows, but is written anew when a
 * column appears; then the header differs from the one that was read before, and reading begins anew. Points that come twice count once.
 */
import { createHash } from 'node:crypto';
import { startOf } from '../harvest-plan.ts';
import { MAX_METRIC_LINE_BYTES } from '../metric-line.ts';
import { metricKeyProblem, PointCollector, stepProblem, type JobFile, type MetricReader, type StreamCursors, type StreamPlan } from './reader.ts';
import { completeLines, planGrowing, readGrowing } from './text-lines.ts';

const CSV_FILE = /(?:^|\/)metrics\.csv$/;
const WHAT = 'a line of metrics.csv';
const VALUE = 'a value in metrics.csv';
const NEWLINE = 0x0a;
const NON_FINITE: Record<string, number> = { 'nan': NaN, 'inf': Infinity, '-inf': -Infinity };

export const metricsCsv: MetricReader = {
  name: 'metrics.csv',
  plan: (files, cursors) => files.filter(({ path }) => CSV_FILE.test(path)).toSorted((a, b) => a.modifiedAt.getTime() - b.modifiedAt.getTime())
    .flatMap((file) => planFile(file, cursors) ?? []),
  read: (plan, [content, head], options) => readGrowing(plan, content, (chunk) => {
    const points = new PointCollector();
    const begins = plan.from.offsetBytes === 0;
    const header = begins ? headerOf(chunk) : head ?? null;
    if (header === null) {
      const isTooLong = chunk.length > MAX_METRIC_LINE_BYTES;
      if (isTooLong) points.drop(`a metrics.csv whose header is longer than ${MAX_METRIC_LINE_BYTES} bytes`);
      return points.result(isTooLong ? { ...plan.from, skipping: true } : plan.from);
    }
    const memory = { headerBytes: header.length, digest: digestOf(header) };
    if (!begins && memory.digest !== plan.from.memory?.['digest']) return points.result(startOf(plan.files[0]!), true);
    const rows = begins ? chunk.subarray(header.length) : chunk;
    const from = { ...plan.from, offsetBytes: begins ? header.length : plan.from.offsetBytes, memory };
    const { texts, cursor } = completeLines(rows, from, options, points, WHAT);
    takeRows(header.toString('utf8'), texts, cursor, points, options.now);
    return points.result(cursor);
  }),
};

/** The rest of the file, and with it the header once more, to see whether the file is still the same. */
function planFile(file: JobFile, cursors: StreamCursors): StreamPlan | null {
  const plan = planGrowing(file, cursors);
  if (plan === null || (plan.from.skipping && plan.from.memory === null)) return null;
  const headerBytes = plan.from.memory?.['headerBytes'];
  if (plan.from.offsetBytes === 0 || typeof headerBytes !== 'number') return plan;
  return { ...plan, wanted: [...plan.wanted, { path: file.path, offsetBytes: 0, maxBytes: headerBytes }], files: [file, file] };
}

function headerOf(chunk: Buffer): Buffer | null {
  const end = chunk.indexOf(NEWLINE);
  return end === -1 || end > MAX_METRIC_LINE_BYTES ? null : chunk.subarray(0, end + 1);
}

function digestOf(header: Buffer): string {
  return createHash('sha256').update(header).digest('hex');
}

function takeRows(header: string, rows: string[], cursor: { nextStep: number }, points: PointCollector, now: Date): void {
  const columns = parseCsvLine(header.trimEnd());
  const stepColumn = columns.includes('step') ? columns.indexOf('step') : columns.indexOf('epoch');
  const problems = columns.map((key) => metricKeyProblem(key));
  for (const text of rows) {
    const cells = parseCsvLine(text);
    const stated = cells[stepColumn]?.trim();
    const step = stepColumn === -1 ? cursor.nextStep : stated === undefined || stated === '' ? NaN : Number(stated);
    const problem = cells.length === columns.length ? stepProblem(step) : 'another number of cells than its header';
    if (problem !== null) {
      points.drop(`${WHAT} has ${problem}`);
      continue;
    }
    cursor.nextStep = Math.max(cursor.nextStep, step + 1);
    for (const [index, padded] of cells.entries()) {
      const cell = padded.trim();
      const value = cell === '' || index === stepColumn ? undefined : NON_FINITE[cell.toLowerCase()] ?? Number(cell);
      // Text is no metric; NaN is, but only where it says so.
      if (value === undefined || (Number.isNaN(value) && cell.toLowerCase() !== 'nan')) continue;
      const keyProblem = problems[index] ?? null;
      if (keyProblem === null) points.add(columns[index]!, step, value, now);
      else points.drop(`${VALUE} has ${keyProblem}`);
    }
  }
}

/** Cells as Python's csv module writes them: in double quotes, with quotes doubled, where a cell holds a comma or a quote. */
function parseCsvLine(line: string): string[] {
  if (!line.includes('"')) return line.split(',');
  const cells: string[] = [];
  const cell = /(?:"((?:[^"]|"")*)"|([^,]*))(,|$)/y;
  for (let match = cell.exec(line); match !== null; match = cell.exec(line)) {
    cells.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '');
    if (match[3] !== ',') break;
  }
  return cells;
}
