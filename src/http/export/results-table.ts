import type { Reader } from '../../db/database.ts';
import type { ExportScope, JobIds } from '../../db/read/export-jobs.ts';
import { resultNames, resultPages, type ExportedResult, type JsonKind, type ResultName } from '../../db/read/export-results.ts';
import { configLeaves } from '../../domain/config-values.ts';
import { UserError } from '../../domain/errors.ts';
import type { Json, Objective } from '../../domain/job-spec.ts';
import { batchOfRows, type Batch, type Cell, type Column, type ColumnType, type ExportTable } from './table.ts';

/** Wider than any table that somebody reads, and narrow enough that a batch of rows fits into memory. */
const MAX_NAMES = 5_000;

/** Where a file on a cluster lies, with the host. */
export type UriOf = (cluster: string, path: string) => string;

const BEFORE: [Column, (result: ExportedResult) => Cell][] = [
  [{ name: 'job_id', type: 'text' }, ({ id }) => id], [{ name: 'name', type: 'text' }, ({ name }) => name],
  [{ name: 'state', type: 'text' }, ({ state }) => state], [{ name: 'tags', type: 'texts' }, ({ tags }) => tags],
];
const AFTER: [Column, (result: ExportedResult, uriOf: UriOf) => Cell][] = [
  [{ name: 'checkpoint.path', type: 'text' }, ({ checkpoint }) => checkpoint?.path ?? null],
  [{ name: 'checkpoint.uri', type: 'text' }, ({ checkpoint, cluster }, uriOf) => (checkpoint === null ? null : uriOf(cluster, checkpoint.path))],
  [{ name: 'checkpoint.state', type: 'text' }, ({ checkpoint }) => checkpoint?.state ?? null],
  [{ name: 'checkpoint.step', type: 'integer' }, ({ checkpoint }) => checkpoint?.step ?? null],
  [{ name: 'checkpoint.epoch', type: 'number' }, ({ checkpoint }) => checkpoint?.epoch ?? null],
  [{ name: 'started_at', type: 'moment' }, ({ startedAt }) => startedAt?.getTime() ?? null], [{ name: 'finished_at', type: 'moment' }, ({ finishedAt }) => finishedAt.getTime()],
  [{ name: 'sweep_id', type: 'text' }, ({ sweepId }) => sweepId], [{ name: 'directory', type: 'text' }, ({ storagePath }) => storagePath],
];

/** A row for each job that yielded a result, with a column for each value of any configuration and each final metric. Throws UserError when these are too many. */
export async function resultsTable(reader: Reader, scope: ExportScope, jobIds: JobIds, objective: Objective | null, uriOf: UriOf): Promise<ExportTable> {
  const names = await resultNames(reader, scope, MAX_NAMES + 1);
  if (names.length > MAX_NAMES) throw UserError.of('LIMIT_EXCEEDED', `the results have more than ${MAX_NAMES} different configuration values and metrics; choose jobs with \`filter\` that have more in common`);
  const columns = [...BEFORE.map(([column]) => column), ...names.map(({ part, name, kinds }): Column => ({ name: `${part}.${name}`, type: typeOf(kinds) })), ...AFTER.map(([column]) => column)];
  return { columns, maxRowCount: jobIds.length, batches: batchesOf(resultPages(reader, jobIds, objective), names, uriOf) };
}

/** Values of several types, and lists, are JSON. */
function typeOf(kinds: readonly JsonKind[]): ColumnType {
  if (kinds.length > 0 && kinds.every((kind) => kind === 'integer' || kind === 'number')) return kinds.includes('number') ? 'number' : 'integer';
  if (kinds.length !== 1) return 'json';
  return kinds[0] === 'boolean' ? 'boolean' : kinds[0] === 'string' ? 'text' : 'json';
}

async function* batchesOf(pages: AsyncGenerator<ExportedResult[]>, names: readonly ResultName[], uriOf: UriOf): AsyncGenerator<Batch> {
  for await (const results of pages) {
    yield batchOfRows(results.map((result) => {
      const config = new Map(configLeaves(result.config).map(({ key, value }) => [key, value]));
      const valueOf = ({ part, name }: ResultName): Json => (part === 'config' ? config.get(name) : result.metrics[name]) ?? null;
      return [...BEFORE.map(([, cell]) => cell(result)), ...names.map(valueOf), ...AFTER.map(([, cell]) => cell(result, uriOf))];
    }));
  }
}
