/** Which kind of file each metric of a job is read from, so that what two kinds of file tell counts once. */
import { sql } from 'drizzle-orm';
import type { ReaderName } from '../../domain/readers/reader.ts';
import { MAX_SERIES_PER_JOB } from '../../domain/series-limit.ts';
import type { Transaction } from '../database.ts';

/** Keys that a reader has values for. */
export interface KeyClaim {
  reader: ReaderName;
  keys: string[];
}

export interface JobClaims {
  jobId: string;
  claims: readonly KeyClaim[];
}

export interface GrantedKeys {
  /** Those whose values count, for each claim. */
  granted: Set<string>[];
  /** New ones that the job has no room for. */
  refusedCount: number;
}

/**
 * Decides whose values count, in the order of the claims. A key belongs to the kind of file that brought it first. `metrics.jsonl` is the
 * exception: what it logs is its own from then on, as is what came through a call of ours. Answers in the order of the jobs.
 */
export async function claimKeys(transaction: Transaction, jobs: readonly JobClaims[]): Promise<GrantedKeys[]> {
  const wanted = jobs.flatMap(({ jobId, claims }) => [...new Set(claims.flatMap(({ keys }) => keys))].map((key) => ({ jobId, key })));
  if (wanted.length === 0) return jobs.map(({ claims }) => ({ granted: claims.map(() => new Set()), refusedCount: 0 }));
  const { rows } = await transaction.execute<KnownKeyRow>(sql`
    select wanted.job_id, wanted.key, series.key is not null as is_known, owner.reader, counted.series_count
    from unnest(${sql.param(wanted.map(({ jobId }) => jobId))}::uuid[], ${sql.param(wanted.map(({ key }) => key))}::text[]) as wanted(job_id, key)
    left join metric_series series using (job_id, key)
    left join series_readers owner using (job_id, key)
    join (
      select job_id, (select count(*) from metric_series where job_id = job.job_id)::int as series_count
      from unnest(${sql.param(jobs.map(({ jobId }) => jobId))}::uuid[]) as job(job_id)
    ) as counted using (job_id)`);
  const known = new Map(jobs.map(({ jobId }): [string, KnownKeyRow[]] => [jobId, []]));
  for (const row of rows) known.get(row.job_id)?.push(row);
  const granted: GrantedKeys[] = [];
  for (const { jobId, claims } of jobs) granted.push(await claimKeysOfJob(transaction, jobId, claims, known.get(jobId) ?? []));
  return granted;
}

type KnownKeyRow = { job_id: string; key: string; is_known: boolean; reader: ReaderName | null; series_count: number };

async function claimKeysOfJob(transaction: Transaction, jobId: string, claims: readonly KeyClaim[], rows: readonly KnownKeyRow[]): Promise<GrantedKeys> {
  const owners = new Map(rows.map((row): [string, ReaderName | null] => [row.key, row.reader ?? (row.is_known ? 'metrics.jsonl' : null)]));
  let room = MAX_SERIES_PER_JOB - (rows[0]?.series_count ?? 0);
  let refusedCount = 0;
  const news: { key: string; reader: ReaderName }[] = [];
  const granted = claims.map(({ reader, keys }) => new Set(keys.filter((key) => {
    const owner = owners.get(key) ?? null;
    if (owner !== null) return owner === reader || reader === 'metrics.jsonl';
    if (room <= 0) {
      refusedCount += 1;
      return false;
    }
    room -= 1;
    owners.set(key, reader);
    news.push({ key, reader });
    return true;
  })));
  await recordOwners(transaction, jobId, news.filter(({ reader }) => reader !== 'metrics.jsonl'));
  const taken = claims.flatMap(({ reader, keys }) => (reader === 'metrics.jsonl' ? keys : [])).filter((key) => owners.get(key) !== 'metrics.jsonl');
  if (taken.length > 0) await transaction.execute(sql`delete from series_readers where job_id = ${jobId} and key = any(${sql.param(taken)}::text[])`);
  return { granted, refusedCount };
}

async function recordOwners(transaction: Transaction, jobId: string, owners: { key: string; reader: ReaderName }[]): Promise<void> {
  if (owners.length === 0) return;
  await transaction.execute(sql`
    insert into series_readers (job_id, key, reader)
    select ${jobId}, key, reader from unnest(${sql.param(owners.map(({ key }) => key))}::text[], ${sql.param(owners.map(({ reader }) => reader))}::text[]) as t(key, reader)
    on conflict (job_id, key) do nothing`);
}
