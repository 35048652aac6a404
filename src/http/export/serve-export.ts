/**
 * `GET /export/{experiment|sweep|job}/{id}/{table}.{format}`: whole tables as a stream, in constant memory. What goes wrong before the first
 * byte is answered in words; what goes wrong later breaks the connection, so that a short file is never taken for a whole one.
 */
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { GraphQLSchema } from 'graphql';
import type { Logger } from 'pino';
import type { ActionContext } from '../../actions/action-context.ts';
import { refuseUnknownConditions, refuseUnknownMetrics } from '../../actions/unknown-names.ts';
import type { Database } from '../../db/database.ts';
import { experimentsById, experimentsByName, sweepsById, type ExperimentName } from '../../db/read/experiments.ts';
import { jobsToExport, type ExportScope, type JobIds } from '../../db/read/export-jobs.ts';
import type { PointSelection } from '../../db/read/export-metrics.ts';
import { jobsById } from '../../db/read/jobs.ts';
import { rolledUpJobs } from '../../db/read/roll-ups.ts';
import { isUuid } from '../../db/read/uuid.ts';
import { UserError } from '../../domain/errors.ts';
import { chosenObjective } from '../../domain/objective.ts';
import { slug } from '../../domain/slug.ts';
import { objectiveOf } from '../../graphql/leaderboard.ts';
import { fileUri } from '../../graphql/uri.ts';
import { errorBody } from '../answers.ts';
import type { Caller } from '../authentication.ts';
import { readAsked, type AskedExport } from './asked.ts';
import { checkpointsTable } from './checkpoints-table.ts';
import { metricsTable } from './metrics-table.ts';
import { resultsTable, type UriOf } from './results-table.ts';
import type { Batch, ExportTable, FormatWriter } from './table.ts';

/** Each holds some megabytes, and one connection to the database at a time; two while most of them are idle. */
const MAX_EXPORTS_AT_ONCE = 8;
/** A reader that takes nothing for so long has gone without a word. */
const STALLED_MS = 5 * 60_000;
/** Written ahead of the reader. */
const BUFFER_BYTES = 256 * 1024;
/** Of those that an export refuses. */
const MAX_NAMED_JOBS = 10;

/** What the handler needs of the server. */
export interface ExportOptions {
  database: Database;
  schema: GraphQLSchema;
  logger: Logger;
  actionContext(tokenName: string): Pick<ActionContext, 'clusters'>;
}

/** What results need besides. */
interface ResultSource {
  experimentId: string;
  uriOf: UriOf;
}

interface Request {
  Params: { parent: string; id: string; file: string };
  Querystring: Record<string, unknown>;
}

/** Serves the endpoint. */
export function serveExport(server: FastifyInstance, { database, schema, logger, actionContext }: ExportOptions): void {
  let openCount = 0;
  server.route<Request>({ method: ['GET', 'HEAD'], url: '/export/:parent/:id/:file', handler: async (request, reply) => {
    const { tokenName, scopes } = request.caller as Caller;
    if (!scopes.includes('read')) throw UserError.of('FORBIDDEN', `the token "${tokenName}" may not read`);
    const named = readAsked(request.params, request.query, schema);
    const { id, name, experimentId } = await parentOf(database, named.scope);
    const asked = { ...named, scope: { ...named.scope, id } };
    const headers = {
      'content-type': asked.format.contentType, 'cache-control': 'no-store', 'accept-ranges': 'none', 'content-disposition': `attachment; filename="${slug(name)}-${asked.fileName}"`,
    };
    if (request.method === 'HEAD') return reply.headers(headers).send();
    if (openCount >= MAX_EXPORTS_AT_ONCE) return refuse(reply);
    openCount += 1;
    const { clusters } = actionContext(tokenName);
    const uriOf: UriOf = (cluster, path) => fileUri(clusters.get(cluster), path);
    const body = await openBody(database, asked, { experimentId, uriOf }, logger).catch((error: unknown) => { openCount -= 1; throw error; });
    body.once('close', () => { openCount -= 1; });
    reply.raw.setTimeout(STALLED_MS, () => reply.raw.destroy());
    return reply.headers(headers).send(body);
  } });
}

function refuse(reply: FastifyReply): FastifyReply {
  return reply.code(503).header('retry-after', '5').send(errorBody('LIMIT_EXCEEDED', `${MAX_EXPORTS_AT_ONCE} exports are under way; try again when one has ended`));
}

/** What is exported, and its experiment. Throws UserError NOT_FOUND when there is none. */
async function parentOf(database: Database, { parent, id }: ExportScope): Promise<{ id: string; name: string; experimentId: string }> {
  const isNamed = parent === 'EXPERIMENT' && !isUuid(id);
  const read = { EXPERIMENT: experimentsById, SWEEP: sweepsById, JOB: jobsById }[parent];
  const [found] = isNamed ? (await experimentsByName(database, namesIn(id))).filter((each) => each !== null) : await read(database, [id]);
  if (!found) throw UserError.of('NOT_FOUND', `there is no ${parent.toLowerCase()} ${id.slice(0, 200)}${isNamed ? '; an experiment goes by its id, or by its project and name with %2F between them, as demo%2Fthree-rings' : ''}`);
  return { id: found.id, name: found.name, experimentId: 'experimentId' in found ? found.experimentId : found.id };
}

/** The project and the name that a text with a slash between them may mean: both may have slashes of their own. */
function namesIn(text: string): ExperimentName[] {
  const parts = text.split('/');
  return parts.slice(1).map((_, index) => ({ project: parts.slice(0, index + 1).join('/'), name: parts.slice(index + 1).join('/') }));
}

async function openTable(database: Database, { scope, table }: AskedExport, { experimentId, uriOf }: ResultSource): Promise<ExportTable> {
  const jobIds = await jobsToExport(database, scope, table.name === 'results');
  if (jobIds.length === 0) await refuseUnknownConditions(database, { ...scope.filter, experimentIds: [experimentId] }, ['filter']);
  const keys = table.name === 'results' ? null : table.name === 'metrics' ? table.selection.keys : table.keys;
  if (keys !== null) await refuseUnknownMetrics(database, [experimentId], keys, ['keys']);
  switch (table.name) {
    case 'metrics': {
      const all = metricsTable(database, jobIds, table.selection, table.after);
      if (table.includesRolledUp) return all;
      const refuse = (): Promise<void> => refuseRolledUp(database, jobIds, table.selection);
      await refuse();
      return { ...all, batches: endedBy(all.batches, refuse) };
    }
    case 'checkpoints': return checkpointsTable(database, scope, jobIds, table.keys, table.after);
    case 'results': {
      const [experiment] = await experimentsById(database, [experimentId]);
      const objective = chosenObjective(table.objective, objectiveOf(experiment ?? null));
      if (table.objective.metric) await refuseUnknownMetrics(database, [experimentId], [table.objective.metric], ['metric']);
      return resultsTable(database, scope, table.after === null ? jobIds : jobIds.from(table.after.jobId, false), objective, uriOf);
    }
  }
}

/** An export is exact: where points are gone, whoever asks must know. Throws UserError CONFLICT. */
async function refuseRolledUp(database: Database, jobIds: JobIds, { keys, fromStep }: PointSelection): Promise<void> {
  const rolledUp = await rolledUpJobs(database, jobIds, keys, fromStep);
  if (rolledUp.length === 0) return;
  const named = rolledUp.slice(0, MAX_NAMED_JOBS).join(', ');
  throw UserError.of('CONFLICT', `of ${rolledUp.length} of the jobs only a roll-up is left (metricRetention of the project): ${named}${rolledUp.length > MAX_NAMED_JOBS ? ', ...' : ''}; `
    + 'take what is left with rolled_up=include (MetricSeries.rolledUpBelowStep says from which step on a history is whole), or leave them out with filter, keys or from_step', ['rolled_up']);
}

/** What was rolled up meanwhile breaks the file off at its end, as whatever else goes wrong half way. */
async function* endedBy(batches: AsyncGenerator<Batch>, check: () => Promise<void>): AsyncGenerator<Batch> {
  yield* batches;
  await check();
}

/** The file as a stream; its first rows are read already. */
async function openBody(database: Database, asked: AskedExport, source: ResultSource, logger: Logger): Promise<Readable> {
  const table = await openTable(database, asked, source);
  const writer = await asked.format.open(table.columns, table.maxRowCount);
  const first = await table.batches.next();
  return Readable.from(piecesOf(table.batches, first, writer, logger), { objectMode: false, highWaterMark: BUFFER_BYTES });
}

/** While one batch goes out, the next one is read. */
async function* piecesOf(batches: AsyncGenerator<Batch>, first: IteratorResult<Batch>, writer: FormatWriter, logger: Logger): AsyncGenerator<Uint8Array | string> {
  try {
    yield* writer.begin();
    for (let current = first; !current.done;) {
      const next = batches.next();
      // Awaited after the rows have gone; until then a failure is nobody's.
      next.catch(() => undefined);
      yield* writer.rows(current.value);
      current = await next;
    }
    yield* writer.end();
  } catch (error) {
    logger.error({ err: error }, 'an export failed half way; its connection is broken off');
    throw error;
  } finally {
    await batches.return(undefined);
  }
}
