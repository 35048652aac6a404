/** The loops of one cluster, run by whichever process holds its lock. */
import type { Logger } from 'pino';
import type { Cluster } from '../cluster/executor.ts';
import { openWatch, type Watch } from '../cluster/watch/open-watch.ts';
import type { Database } from '../db/database.ts';
import { isWish, type LoggedEvent } from '../domain/events.ts';
import { isTerminalJobState } from '../domain/states.ts';
import { CheckpointWork } from './checkpoint-work.ts';
import { ClusterContact } from './cluster-contact.ts';
import { startDispatchLoop } from './dispatch-loop.ts';
import { EndedCheckpoints } from './ended-checkpoints.ts';
import { startLoop, type Loop } from './loop.ts';
import type { Observed } from './observe.ts';
import { OrphanKeeper } from './orphans.ts';
import { retryFailedJobs, type FailurePolicies } from './retry.ts';
import { ClusterRounds } from './rounds.ts';
import { StatusWriter } from './status-writer.ts';
import { SubmitRoom } from './submit-room.ts';

/** How often partitions and counts are asked: what people look at, not what decides anything in a hurry. */
const DESCRIBE_PERIOD_MS = 60_000;
/** Failures wake the loop; this is for those whose last lines come late. */
const RETRY_PERIOD_MS = 15_000;
/** While there are orphans, the database is asked this often what is wished about them; else only a look at the cluster brings some. */
const ORPHAN_WISHES_PERIOD_MS = 2_000;
const NO_ORPHANS_PERIOD_MS = 600_000;
/** While something is asked for on checkpoints; what is asked wakes the loop. */
const CHECKPOINT_WORK_PERIOD_MS = 2_000;
const IDLE_PERIOD_MS = 60_000;

export interface ClusterReconciler {
  /** Told of every event of the log; wakes the loop that has something to do. */
  onEvent(event: LoggedEvent): void;
  stop(): Promise<void>;
}

export function startClusterReconciler(database: Database, cluster: Cluster, policies: FailurePolicies, logger: Logger): ClusterReconciler {
  const { settings, breaker, budget } = cluster;
  const inFlight = new Set<string>();
  const room = new SubmitRoom();
  const contact = new ClusterContact({ database, cluster, room, logger });
  const status = new StatusWriter(database, settings, logger);
  let isStopping = false;
  budget.resume();
  const watch = settings.watch ? openWatch(cluster.transport, logger) : null;
  const keep = startKeeping(database, cluster, contact, logger, () => promptRounds());
  const rounds = new ClusterRounds({
    database, cluster, watch, inFlight, logger, now: () => new Date(), onLook: keep.onLook,
    onQueue(counts, ownTokens) {
      const isFirst = !room.isKnown();
      if (room.noteQueue(counts, new Set([...ownTokens, ...inFlight])) || isFirst) dispatch.wake();
    },
  });

  const describe = startLoop({
    name: `describe ${settings.name}`, logger,
    // It is what tries again when the breaker says so.
    periodMs: () => breaker.untilTryMs('scheduler') || DESCRIBE_PERIOD_MS,
    run: () => contact.within(async () => {
      if (await contact.describe()) dispatch.wake();
    }),
  });
  const queue = { database, cluster, room, inFlight, maxArraySize: () => contact.maxArraySize(), isStopping: () => isStopping, onTaken: () => promptRounds(), logger };
  const dispatch = startDispatchLoop(queue, {
    onFailed: () => promptRounds(),
    mayGo: () => contact.isReachable() && breaker.status().state === 'CLOSED' && (settings.kind === 'LOCAL' || room.isKnown()),
    async onDone({ waits }) {
      await status.waits(waits);
      if (contact.wantsLimits()) describe.wake();
    },
  });
  const { follow, push } = startLanes(rounds, cluster, logger, (run) => contact.within(async () => {
    await run();
    if (!contact.isReachable()) describe.wake();
  }));
  const woken = startWoken(database, cluster, contact, policies, logger);
  const promptRounds = (): void => {
    rounds.prompt();
    for (const loop of [push, follow]) loop.wake();
  };
  const isBack = (): void => {
    for (const loop of [describe, follow, push, dispatch]) loop.retry();
    watch?.retry();
  };
  followWatch(cluster, watch, status, { promptRounds, noteChanges: (changes) => {
    rounds.noteChanges(changes);
    push.wake();
  } });
  const forgetBreaker = followBreaker(cluster, status, logger, { isAway: () => describe.retry(), isBack });

  return {
    onEvent(event) {
      if (isWish(event)) promptRounds();
      if (isQueued(event) || (isEnd(event) && dispatch.mayHaveLeftSome())) dispatch.wake();
      woken.onEvent(event);
    },
    async stop() {
      isStopping = true;
      // Nobody is to wait for a turn that comes after the end.
      budget.suspend();
      await Promise.all([describe.stop(), dispatch.stop(), follow.stop(), push.stop(), woken.stop(), keep.stop(), watch?.close()]);
      forgetBreaker();
      await status.watch({ state: 'POLLING', reason: 'the server that looked after it has stopped' });
    },
  };
}

/** What is done about jobs that have ended: failed ones may be tried again, and there are their checkpoints. */
function startWoken(database: Database, cluster: Cluster, contact: ClusterContact, policies: FailurePolicies, logger: Logger): ClusterReconciler {
  const retry = startRetry(database, cluster, policies, logger);
  const checkpoints = startCheckpointWork(database, cluster, contact, logger);
  const ended = startEndedCheckpoints(database, cluster, contact, logger);
  return {
    onEvent(event) {
      if (event.kind === 'JOB_STATE_CHANGED' && event.payload.to === 'FAILED') retry.wake();
      if (event.kind !== 'CHECKPOINT_REQUEST_CHANGED') return;
      if (event.payload.state === 'PENDING') checkpoints.wake();
      // A failed job may have waited for it.
      else if (event.payload.state !== 'RUNNING') retry.wake();
    },
    async stop() {
      await Promise.all([retry.stop(), checkpoints.stop(), ended.stop()]);
    },
  };
}

function startRetry(database: Database, { settings }: Cluster, policies: FailurePolicies, logger: Logger): Loop {
  return startLoop({
    name: `retry ${settings.name}`, logger,
    periodMs: () => RETRY_PERIOD_MS,
    run: async () => { await retryFailedJobs({ database, logger, now: () => new Date(), settings, policies, random: Math.random }); },
  });
}

/** The lanes of the rounds, each of which may leave the other one something to do. */
function startLanes(rounds: ClusterRounds, { settings: { name }, breaker }: Cluster, logger: Logger, inContact: (run: () => Promise<void>) => Promise<void>): { follow: Loop; push: Loop } {
  const follow: Loop = startLoop({
    name: `follow ${name}`, logger,
    periodMs: () => Math.max(rounds.untilNextMs(), breaker.untilTryMs('machine')),
    run: () => inContact(async () => {
      await rounds.run();
      push.wake();
    }),
  });
  const push: Loop = startLoop({
    name: `push ${name}`, logger,
    periodMs: () => Math.max(rounds.untilPushMs(), breaker.untilTryMs('machine')),
    run: () => inContact(async () => {
      if (await rounds.push()) follow.wake();
    }),
  });
  return { follow, push };
}

/** Keeps the table of orphans in step with what the looks at the cluster show. */
function startKeeping(database: Database, cluster: Cluster, contact: ClusterContact, logger: Logger, onAdopted: () => void): { onLook: (observed: Observed) => void; stop: () => Promise<void> } {
  const keeper = new OrphanKeeper({ database, cluster, logger, now: () => new Date() });
  const loop = startLoop({
    name: `orphans ${cluster.settings.name}`, logger,
    periodMs: () => (keeper.hasOrphans() ? ORPHAN_WISHES_PERIOD_MS : NO_ORPHANS_PERIOD_MS),
    run: () => contact.within(async () => {
      if (await keeper.run()) onAdopted();
    }),
  });
  return {
    onLook(observed) {
      if (keeper.note(observed)) loop.wake();
    },
    stop: () => loop.stop(),
  };
}

/** Carries out what is asked for on checkpoints; a stop does not wait for what runs on the cluster. */
function startCheckpointWork(database: Database, cluster: Cluster, contact: ClusterContact, logger: Logger): Pick<Loop, 'wake' | 'stop'> {
  const stopping = new AbortController();
  const work = new CheckpointWork({ database, cluster, logger, now: () => new Date(), stopped: stopping.signal });
  const loop = startLoop({
    name: `checkpoints ${cluster.settings.name}`, logger,
    periodMs: () => (work.isBusy() ? CHECKPOINT_WORK_PERIOD_MS : IDLE_PERIOD_MS),
    run: () => contact.within(() => work.run()),
  });
  return {
    wake: () => loop.wake(),
    async stop() {
      stopping.abort();
      await loop.stop();
    },
  };
}

function startEndedCheckpoints(database: Database, cluster: Cluster, contact: ClusterContact, logger: Logger): Loop {
  const ended = new EndedCheckpoints({ database, cluster, now: () => new Date() });
  return startLoop({ name: `ended checkpoints ${cluster.settings.name}`, logger, periodMs: () => ended.untilNextMs(), run: () => contact.within(() => ended.run()) });
}

interface WatchListener {
  promptRounds: () => void;
  noteChanges: Parameters<Watch['onChange']>[0];
}

function followWatch({ breaker }: Cluster, watch: Watch | null, status: StatusWriter, { promptRounds, noteChanges }: WatchListener): void {
  void status.watch(watch?.status() ?? { state: 'POLLING', reason: 'the configuration says watch: false' });
  watch?.onChange(noteChanges);
  watch?.onStatus((seen) => {
    void status.watch(seen);
    promptRounds();
    // What is watched live can be reached.
    if (seen.state === 'LIVE') breaker.noteReached();
  });
}

/** Shows what the breaker does and tells when calls get through again; answers the function that ends this. */
function followBreaker({ breaker }: Cluster, status: StatusWriter, logger: Logger, { isAway, isBack }: { isAway: () => void; isBack: () => void }): () => void {
  let shown = breaker.status().state;
  void status.breaker(breaker.status());
  return breaker.onChange((seen, isRecovery) => {
    void status.breaker(seen);
    if (seen.state === 'OPEN' && shown === 'CLOSED') logger.warn({ ...seen }, 'the cluster is left alone for a while: it does not answer');
    if (seen.state === 'CLOSED' && shown !== 'CLOSED') logger.info('the cluster answers again');
    if (seen.state !== 'HALF_OPEN') shown = seen.state;
    if (seen.state === 'OPEN') isAway();
    if (isRecovery) isBack();
  });
}

/** Work for the queue. */
function isQueued(event: LoggedEvent): boolean {
  return event.kind === 'JOB_STATE_CHANGED' && event.payload.to === 'QUEUED';
}

/** Makes room for the next. */
function isEnd(event: LoggedEvent): boolean {
  return event.kind === 'JOB_STATE_CHANGED' && isTerminalJobState(event.payload.to);
}
