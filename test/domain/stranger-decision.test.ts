/** Who runs an attempt when the cluster has more than one execution of it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { JobState } from '../../src/domain/states.ts';
import { decideStranger, type StrangersJob, type StrangerSeen } from '../../src/domain/stranger-decision.ts';

const job = (state: JobState, change: Partial<StrangersJob> = {}): StrangersJob => ({ state, cancelRequested: false, attemptCount: 1, ...change });
const late = (change: Partial<StrangerSeen> = {}): StrangerSeen => ({ slurmJobId: '7', state: 'PENDING', submittedAt: new Date(1000), firstAttempt: 1, own: null, ...change });
const ended = (change: Partial<NonNullable<StrangerSeen['own']>> = {}): Partial<StrangerSeen> => (
  { own: { number: 1, state: 'COMPLETED', startedAt: new Date(2000), finishedAt: new Date(3000), ...change } });
const again = new Date(5000);
const guards = (...holders: string[]): Map<number, string> => new Map(holders.map((holder, index) => [index + 1, holder]));
const decide = (seen: StrangerSeen, of: StrangersJob, held = guards()): string => {
  const decision = decideStranger(seen, of, held);
  switch (decision.kind) {
    case 'ADOPT': return `adopt as ${decision.attemptNumber}`;
    case 'CANCEL': return decision.onlyIfWaiting ? 'cancel if it waits' : 'cancel';
    case 'FOLLOW': return 'follow';
    case 'LEAVE': return 'leave';
  }
};

describe('a submission that was given up, or came twice', () => {
  test.each<[string, StrangerSeen, StrangersJob, Map<number, string>, string]>([
    ['waits, its job waits in our queue again', late(), job('QUEUED', { attemptCount: 0 }), guards(), 'adopt as 1'],
    ['has started, its job waits in our queue again', late({ state: 'RUNNING' }), job('QUEUED', { attemptCount: 0 }), guards('7'), 'adopt as 1'],
    ['waits, its job was put on hold', late(), job('HELD', { attemptCount: 0 }), guards(), 'cancel if it waits'],
    ['runs, its job was put on hold', late({ state: 'RUNNING' }), job('HELD', { attemptCount: 0 }), guards('7'), 'adopt as 1'],
    ['waits, its job was cancelled', late(), job('CANCELLED', { attemptCount: 0 }), guards(), 'cancel if it waits'],
    ['runs, its job was cancelled', late({ state: 'RUNNING' }), job('CANCELLED', { attemptCount: 0 }), guards('7'), 'cancel'],
    ['waits, the other waits', late(), job('PENDING'), guards(), 'cancel if it waits'],
    ['waits, the other runs', late(), job('RUNNING'), guards('8'), 'cancel if it waits'],
    ['waits, the other has ended', late(), job('COMPLETED'), guards('8'), 'cancel if it waits'],
    ['is about to start, the other waits', late({ state: 'RUNNING' }), job('PENDING'), guards(), 'leave'],
    ['is about to start, the other is being submitted', late({ state: 'CONFIGURING' }), job('SUBMITTING'), guards(), 'leave'],
    ['runs, the other waits', late({ state: 'RUNNING' }), job('PENDING'), guards('7'), 'adopt as 1'],
    ['runs, the other is about to be refused', late({ state: 'RUNNING' }), job('RUNNING'), guards('7'), 'adopt as 1'],
    ['runs, the other ended without having run', late({ state: 'RUNNING' }), job('FAILED'), guards('7'), 'adopt as 1'],
    ['runs, the other is to be cancelled', late({ state: 'RUNNING' }), job('PENDING', { cancelRequested: true }), guards('7'), 'adopt as 1'],
    ['runs, the job was cancelled', late({ state: 'RUNNING' }), job('CANCELLED', { cancelRequested: true }), guards('7'), 'cancel'],
    ['has lost the guard', late({ state: 'RUNNING' }), job('RUNNING'), guards('8'), 'cancel'],
    ['has lost the guard and ends', late({ state: 'COMPLETING' }), job('RUNNING'), guards('8'), 'leave'],
    ['runs an attempt after which there is another', late({ state: 'RUNNING' }), job('RUNNING', { attemptCount: 2 }), guards('7', '8'), 'cancel'],
    ['runs an attempt that is to be tried again', late({ state: 'RUNNING' }), job('QUEUED', { attemptCount: 1 }), guards('7'), 'cancel'],
    ['was requeued and runs as the attempt of a retry', late({ state: 'RUNNING' }), job('PENDING', { attemptCount: 2 }), guards('7', '7'), 'adopt as 2'],
  ])('%s', (_, seen, of, held, expected) => expect(decide(seen, of, held)).toBe(expected));
});

describe('a job that ended and is in the queue again', () => {
  test.each<[string, StrangerSeen, StrangersJob, Map<number, string>, string]>([
    ['nothing else came of it', late(ended()), job('COMPLETED'), guards('7'), 'follow'],
    ['it runs already', late({ ...ended(), state: 'RUNNING', submittedAt: again }), job('FAILED'), guards('7', '7'), 'follow'],
    ['it never started before', late(ended({ state: 'CANCELLED', startedAt: null })), job('CANCELLED'), guards(), 'follow'],
    ['it is the last trace of the run that ended', late({ ...ended(), state: 'COMPLETING' }), job('COMPLETED'), guards('7'), 'leave'],
    ['its user had cancelled it', late(ended()), job('CANCELLED', { cancelRequested: true }), guards('7'), 'cancel if it waits'],
    ['its user had cancelled it, and it runs', late({ ...ended(), state: 'RUNNING', submittedAt: again }), job('CANCELLED', { cancelRequested: true }), guards('7', '7'), 'cancel'],
    ['it is to be tried again', late(ended()), job('QUEUED'), guards('7'), 'cancel if it waits'],
    ['it is to be tried again, and the requeued one runs', late({ ...ended(), state: 'RUNNING', submittedAt: again }), job('QUEUED'), guards('7', '7'), 'adopt as 2'],
    ['it was tried again, which waits', late(ended()), job('PENDING', { attemptCount: 2 }), guards('7'), 'cancel if it waits'],
    ['it was tried again, and the requeued one runs in its place', late({ ...ended(), state: 'RUNNING', submittedAt: again }), job('PENDING', { attemptCount: 2 }), guards('7', '7'), 'adopt as 2'],
    ['it was tried again, which runs', late({ ...ended(), state: 'RUNNING', submittedAt: again }), job('RUNNING', { attemptCount: 2 }), guards('7', '8'), 'leave'],
    ['it was lost and runs', late({ ...ended({ state: 'LOST', finishedAt: null }), state: 'RUNNING' }), job('LOST'), guards('7'), 'follow'],
    ['it was lost, tried again, and still runs', late({ ...ended({ state: 'LOST', finishedAt: null }), state: 'RUNNING' }), job('RUNNING', { attemptCount: 2 }), guards('7', '8'), 'cancel'],
    ['it ran once more and has ended', late({ ...ended(), state: 'FAILED', submittedAt: again }), job('COMPLETED'), guards('7', '7'), 'follow'],
    ['it ran once more and has ended, which is known', late({ ...ended({ number: 2, startedAt: new Date(6000) }), state: 'FAILED', submittedAt: again }), job('FAILED', { attemptCount: 2 }), guards('7', '7'), 'leave'],
    ['it ran once more and has ended, after its user had cancelled it', late({ ...ended(), state: 'FAILED', submittedAt: again }), job('CANCELLED', { cancelRequested: true }), guards('7', '7'), 'leave'],
    ['it ran once more and has ended, and was tried again', late({ ...ended(), state: 'FAILED', submittedAt: again }), job('PENDING', { attemptCount: 2 }), guards('7', '7'), 'leave'],
    ['it is ours and known to be under way', late(ended({ state: 'RUNNING' })), job('RUNNING'), guards('7'), 'leave'],
  ])('%s', (_, seen, of, held, expected) => expect(decide(seen, of, held)).toBe(expected));
});

/** One execution on the model's cluster. */
interface Execution { id: string; state: 'PENDING' | 'RUNNING' | 'ENDED' | 'REFUSED' | 'CANCELLED'; holds: boolean; isVisible: boolean }

/** A cluster with executions of one attempt, and the database that looks at it now and then. */
class Model {
  readonly executions: Execution[] = [];
  owner: string | null = null;
  ran: string[] = [];
  database: { state: JobState; attemptCount: number; id: string | null } = { state: 'QUEUED', attemptCount: 0, id: null };

  submit(isVisible: boolean): string {
    const id = String(this.executions.length + 1);
    this.executions.push({ id, state: 'PENDING', holds: false, isVisible });
    return id;
  }

  /** The cluster goes on with one of them: shows it, starts it, lets it take the guard or be refused, ends it. */
  step(index: number): void {
    const one = this.executions[index % Math.max(1, this.executions.length)];
    if (one === undefined) return;
    if (!one.isVisible) one.isVisible = true;
    else if (one.state === 'PENDING') one.state = 'RUNNING';
    else if (one.state === 'RUNNING' && one.holds) one.state = 'ENDED';
    else if (one.state === 'RUNNING' && this.owner === null) {
      this.owner = one.id;
      one.holds = true;
      this.ran.push(one.id);
    } else if (one.state === 'RUNNING') one.state = 'REFUSED';
  }

  /** Our queue submits the job; the answer may be lost, and then the batch be given up. */
  dispatch(isLost: boolean): void {
    if (this.database.state !== 'QUEUED') return;
    const id = this.submit(!isLost);
    if (!isLost) this.database = { state: 'PENDING', attemptCount: 1, id };
  }

  /** The cluster goes on between the listing and the decisions, and between those and what is done about them. */
  look(beforeDeciding: () => void, beforeActing: () => void): void {
    const seen = this.executions.filter(({ state, isVisible, id }) => isVisible && (state === 'PENDING' || state === 'RUNNING') && id !== this.database.id).map((one) => ({ ...one }));
    beforeDeciding();
    this.followGuard();
    const decisions = seen.map((one) => {
      const held = new Map(this.owner === null ? [] : [[1, this.owner]]);
      return { one, decision: decideStranger(
        { slurmJobId: one.id, state: one.state as 'PENDING' | 'RUNNING', submittedAt: null, firstAttempt: 1, own: one.id === this.database.id ? { number: 1, state: 'PENDING', startedAt: null, finishedAt: null } : null },
        { state: this.database.state, cancelRequested: false, attemptCount: this.database.attemptCount }, held) };
    });
    beforeActing();
    for (const { one, decision } of decisions) {
      if (decision.kind === 'ADOPT') this.database = { state: 'PENDING', attemptCount: decision.attemptNumber, id: one.id };
      if (decision.kind === 'CANCEL') this.cancel(one.id, decision.onlyIfWaiting);
    }
    this.readOwn();
  }

  /** What is read of the guard of an attempt that is known: it follows its holder. */
  followGuard(): void {
    if (this.database.attemptCount === 1 && this.owner !== null) this.database.id = this.owner;
  }

  readOwn(): void {
    const own = this.executions.find(({ id }) => id === this.database.id);
    if (own === undefined) return;
    this.database.state = own.state === 'ENDED' ? 'COMPLETED' : own.state === 'CANCELLED' ? 'CANCELLED' : own.state === 'REFUSED' ? 'FAILED' : own.state;
  }

  cancel(id: string, onlyIfWaiting: boolean): void {
    const one = this.executions.find((execution) => execution.id === id)!;
    if (one.state === 'PENDING' || (one.state === 'RUNNING' && !onlyIfWaiting)) one.state = 'CANCELLED';
  }
}

test('whatever is submitted twice, comes late or starts in between: one execution runs, the job ends as it did, and nothing is left in the queue', () => {
  const event = fc.oneof(
    fc.record({ kind: fc.constant('dispatch' as const), isLost: fc.boolean() }),
    fc.record({ kind: fc.constant('step' as const), index: fc.nat(5) }),
    fc.record({ kind: fc.constant('look' as const), between: fc.array(fc.nat(5), { maxLength: 4 }), later: fc.array(fc.nat(5), { maxLength: 4 }) }),
  );
  fc.assert(fc.property(fc.array(event, { maxLength: 40 }), (events) => {
    const model = new Model();
    for (const one of events) {
      if (one.kind === 'dispatch' && model.executions.length < 5) model.dispatch(one.isLost);
      if (one.kind === 'step') model.step(one.index);
      if (one.kind === 'look') model.look(() => one.between.forEach((index) => model.step(index)), () => one.later.forEach((index) => model.step(index)));
    }
    model.dispatch(false);
    for (let round = 0; round < 12; round += 1) {
      model.look(() => undefined, () => undefined);
      model.executions.forEach((_, index) => model.step(index));
    }
    model.look(() => undefined, () => undefined);
    expect(model.ran).toHaveLength(1);
    expect(model.database).toEqual({ state: 'COMPLETED', attemptCount: 1, id: model.ran[0] });
    expect(model.executions.filter(({ state }) => state === 'PENDING' || state === 'RUNNING')).toEqual([]);
  }), { numRuns: 2000 });
});
