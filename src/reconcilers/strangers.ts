/**
 * Looks after jobs in the cluster's queue that carry a token of ours but are none of our attempts: decides about each by what the database
 * and the start guards say (see domain/stranger-decision.ts), and carries that out. Tokens that the database does not know are left alone.
 */
import type { Stranger } from '../cluster/executor.ts';
import { TransportError } from '../cluster/transport.ts';
import { readBatchTasks, type BatchTask } from '../db/read/batch-tasks.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import { adoptExecutions, noteSecondExecutions, type SecondExecution } from '../db/write/second-executions.ts';
import { ownerPath } from '../domain/layout.ts';
import { parseGuardOwner } from '../domain/start-guard.ts';
import { decideStranger, type StrangerDecision } from '../domain/stranger-decision.ts';
import { adoptionOf, type GuardDependencies } from './guards.ts';

/** A cancel that has shown no effect is sent again after this. */
const CANCEL_AGAIN_AFTER_MS = 30_000;
/** Start guards looked at for one stranger: those of the newest attempts. */
const MAX_GUARDS = 20;

export interface StrangerMemory {
  /** Jobs whose newest attempt has ended and goes on, to be asked about; and when that was seen. */
  revived: Map<string, number>;
  /** When each stranger was last told to end, by its id on the cluster. */
  cancelledAt: Map<string, number>;
}

export interface StrangerDependencies extends GuardDependencies {
  memory: StrangerMemory;
  now: () => Date;
}

interface Acquaintance {
  task: BatchTask;
  slurmJobId: string;
  state: Stranger['state'];
  submittedAt: Date | null;
  decision: StrangerDecision;
}

/** Answers how many of them something was done about. */
export async function settleStrangers(dependencies: StrangerDependencies, strangers: Stranger[]): Promise<number> {
  const { database, cluster, memory, now } = dependencies;
  if (strangers.length === 0) {
    memory.cancelledAt.clear();
    return 0;
  }
  const tasks = await readBatchTasks(database, cluster.settings.name, [...new Set(strangers.map(({ token }) => token))]);
  const known = recognise(strangers, tasks);
  const guards = await readGuards(dependencies, known);
  const decided = known.map((one, index): Acquaintance => ({ ...one, decision: decide(one, guards[index]!) }));
  const present = new Set(known.map(({ slurmJobId }) => slurmJobId));
  for (const id of memory.cancelledAt.keys()) if (!present.has(id)) memory.cancelledAt.delete(id);
  for (const { decision, task } of decided) if (decision.kind === 'FOLLOW') memory.revived.set(task.jobId, now().getTime());
  const followedCount = decided.filter(({ decision }) => decision.kind === 'FOLLOW').length;
  return followedCount + await adopt(dependencies, decided) + await cancel(dependencies, decided);
}

/** The strangers whose task we know, one by one. A batch whose submission is not resolved yet has none: its answer may be on the way. */
function recognise(strangers: Stranger[], tasks: BatchTask[]): Omit<Acquaintance, 'decision'>[] {
  const byKey = new Map(tasks.filter(({ batchState }) => batchState !== 'SUBMITTING').map((task) => [`${task.token} ${task.taskIndex}`, task]));
  return strangers.flatMap(({ token, slurmJobId, taskIndexes, state, submittedAt }) => (taskIndexes ?? [null]).flatMap((index) => {
    const task = byKey.get(`${token} ${index ?? 0}`);
    return task === undefined ? [] : [{ task, state, submittedAt, slurmJobId: index === null ? slurmJobId : `${slurmJobId}_${index}` }];
  }));
}

function decide({ task, slurmJobId, state, submittedAt }: Omit<Acquaintance, 'decision'>, guards: ReadonlyMap<number, string>): StrangerDecision {
  const own = task.attempts.findLast((attempt) => attempt.slurmJobId === slurmJobId) ?? null;
  return decideStranger(
    { slurmJobId, state, submittedAt, firstAttempt: task.firstAttempt, own },
    { state: task.jobState, cancelRequested: task.cancelRequested, attemptCount: task.attemptCount }, guards);
}

/** Who holds the guards of the attempts that each may run as, by attempt number. */
async function readGuards({ cluster }: GuardDependencies, known: Omit<Acquaintance, 'decision'>[]): Promise<Map<number, string>[]> {
  const wanted = known.map(({ task: { firstAttempt, attemptCount } }) => {
    const last = Math.max(firstAttempt, attemptCount + 1);
    const from = Math.max(firstAttempt, last - MAX_GUARDS + 2);
    return [...new Set([firstAttempt, ...Array.from({ length: last - from + 1 }, (_, index) => from + index)])];
  });
  const contents = await cluster.transport.read(known.flatMap(({ task: { jobDirectory } }, index) => (
    wanted[index]!.map((number) => ({ path: ownerPath(jobDirectory, number), offsetBytes: 0, maxBytes: 200 })))));
  let next = 0;
  return wanted.map((numbers) => new Map(numbers.flatMap((number) => {
    const owner = parseGuardOwner(contents[next++]?.toString('utf8') ?? '');
    return owner?.slurmJobId ? [[number, owner.slurmJobId] as const] : [];
  })));
}

async function adopt({ database, cluster, logger }: StrangerDependencies, decided: Acquaintance[]): Promise<number> {
  const adoptions = decided.flatMap(({ task, slurmJobId, decision }) => {
    if (decision.kind !== 'ADOPT') return [];
    const was = decision.attemptNumber > task.attemptCount || task.newestState === null ? null : { state: task.newestState, slurmJobId: task.newestSlurmJobId };
    return [adoptionOf(cluster, task, slurmJobId, decision.attemptNumber, was, `it is executed by ${slurmJobId}: ${decision.why}`)];
  });
  if (adoptions.length === 0) return 0;
  const overtaken = adoptions.flatMap(({ jobId, attemptNumber, slurmJobId, was }): SecondExecution[] => (
    was?.slurmJobId ? [{ jobId, attemptNumber, slurmJobId: was.slurmJobId, reason: `the attempt is executed by ${slurmJobId}, so it does not run` }] : []));
  await transact(database, async (transaction) => {
    const adopted = await adoptExecutions(transaction, adoptions);
    await appendEvents(transaction, [...adopted, ...await noteSecondExecutions(transaction, overtaken)]);
  });
  for (const { jobId, attemptNumber, slurmJobId, reason } of adoptions) logger.warn({ job: jobId, attempt: attemptNumber, slurmJobId, reason }, 'an attempt follows the execution that runs it');
  return adoptions.length;
}

async function cancel({ database, cluster, memory, logger, now }: StrangerDependencies, decided: Acquaintance[]): Promise<number> {
  const time = now().getTime();
  const unwanted = decided.flatMap(({ task, slurmJobId, decision }) => {
    const isDue = decision.kind === 'CANCEL' && time - (memory.cancelledAt.get(slurmJobId) ?? -Infinity) > CANCEL_AGAIN_AFTER_MS;
    return isDue ? [{ task, slurmJobId, decision }] : [];
  });
  if (unwanted.length === 0) return 0;
  // Written down first: what is cancelled is not seen again.
  const fresh = unwanted.filter(({ slurmJobId }) => !memory.cancelledAt.has(slurmJobId));
  await transact(database, async (transaction) => appendEvents(transaction, await noteSecondExecutions(transaction, fresh.map(({ task, slurmJobId, decision }) => ({
    jobId: task.jobId, attemptNumber: task.attemptCount, slurmJobId, reason: `cancelled, because ${decision.why}` })))));
  for (const { task, slurmJobId, decision } of fresh) logger.warn({ job: task.jobId, slurmJobId, reason: decision.why }, 'a second execution is cancelled');
  try {
    const idsOf = (onlyIfWaiting: boolean): string[] => unwanted.filter(({ decision }) => decision.onlyIfWaiting === onlyIfWaiting).map(({ slurmJobId }) => slurmJobId);
    if (idsOf(true).length > 0) await cluster.executor.cancelWaiting(idsOf(true));
    if (idsOf(false).length > 0) await cluster.executor.cancel(idsOf(false));
    for (const { slurmJobId } of unwanted) memory.cancelledAt.set(slurmJobId, time);
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    logger.warn({ err: error }, 'the cluster did not do what it was asked to');
  }
  return unwanted.length;
}
