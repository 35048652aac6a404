import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { drizzle } from 'drizzle-orm/node-postgres';
import { openFeed, type Feed } from '../../src/db/feed.ts';
import * as tables from '../../src/db/tables/index.ts';
import { appendEvents } from '../../src/db/write/events.ts';
import type { LoggedEvent } from '../../src/domain/events.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';
import { note, numberOf, take } from '../support/events.ts';

const experimentId = randomUUID();
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const everything = (): boolean => true;

let db: TestDatabase;
let feed: Feed;

beforeEach(async () => {
  db = await testDatabase();
  feed = await openFeed(db, silent);
});
afterEach(async () => {
  await feed.close();
  await db.drop();
});

async function append(from: number, count: number): Promise<void> {
  await db.database.transaction((transaction) =>
    appendEvents(transaction, Array.from({ length: count }, (_, index) => note(from + index, experimentId))));
}

function range(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => from + index);
}

describe('subscribe', () => {
  test('without a cursor: only what happens from now on', async () => {
    await append(0, 3);
    // "Now" is what the feed has read: it may still be reading the first events.
    const caughtUp = new Promise<void>((resolve) => feed.onEvents((page) => { if (page.map(numberOf).includes(3)) resolve(); }));
    await append(3, 1);
    await caughtUp;
    const events = feed.subscribe({ filter: everything });
    const taken = take(events, 2);
    await append(4, 2);
    expect((await taken).map(numberOf)).toEqual([4, 5]);
  });

  test('with a cursor: replays what was missed over many pages, then goes live, in order, nothing missed, nothing twice', async () => {
    await append(0, 2_500);
    const [first] = await take(feed.subscribe({ after: 0, filter: everything }), 1);
    const events = feed.subscribe({ after: first?.seq, filter: everything });
    const reading = take(events, 3_999);
    for (let round = 0; round < 15; round += 1) await append(2_500 + round * 100, 100);
    const taken = await reading;
    expect(taken.map(numberOf)).toEqual(range(1, 3_999));
    expect(taken.every((event, index) => index === 0 || event.seq > (taken[index - 1]?.seq ?? 0))).toBe(true);
  });

  test('with a cursor and a condition: every event that meets it, once and in order, while others are written in between', async () => {
    const jobId = randomUUID();
    const mixed = (from: number, count: number): Promise<void> => db.database.transaction((transaction) => appendEvents(transaction,
      range(from, count).map((number) => ({ ...note(number, experimentId), jobId: number % 3 === 0 ? jobId : randomUUID() }))));
    await mixed(0, 3_600);
    const readings = range(0, 3).map(() => take(feed.subscribe({ after: 0, filter: (event) => event.jobId === jobId, condition: { jobIds: [jobId] } }), 2_200));
    for (let round = 0; round < 30; round += 1) await mixed(3_600 + round * 100, 100);
    for (const taken of await Promise.all(readings)) expect(taken.map(numberOf)).toEqual(range(0, 2_200).map((index) => index * 3));
  });

  test('with many writers at once: every reader sees every event once, in cursor order', async () => {
    const readers = range(0, 3).map(() => take(feed.subscribe({ after: 0, filter: everything }), 400));
    await Promise.all(range(0, 40).map((writer) => append(writer * 10, 10)));
    for (const taken of await Promise.all(readers)) {
      expect(taken.map(numberOf).sort((a, b) => a - b)).toEqual(range(0, 400));
      expect(taken.map((event) => event.seq)).toEqual(taken.map((event) => event.seq).sort((a, b) => a - b));
    }
  });

  test('only gives what passes the filter', async () => {
    const even = (event: LoggedEvent): boolean => numberOf(event) % 2 === 0;
    await append(0, 10);
    const events = feed.subscribe({ after: 0, filter: even });
    const reading = take(events, 10);
    await append(10, 10);
    expect((await reading).map(numberOf)).toEqual(range(0, 10).map((number) => number * 2));
  });

  test('refuses cursors that were never given out', async () => {
    await append(0, 1);
    await expect(feed.subscribe({ after: 1_000, filter: everything }).next()).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    expect(() => feed.subscribe({ after: Number.NaN, filter: everything })).toThrow(/not a cursor/);
    expect(() => feed.subscribe({ after: -1, filter: everything })).toThrow(/not a cursor/);
    expect(() => feed.subscribe({ after: 1.5, filter: everything })).toThrow(/not a cursor/);
  });

  test('return() ends a waiting next() at once', async () => {
    const live = feed.subscribe({ filter: everything });
    const waiting = live.next();
    await live.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(await live.next()).toEqual({ done: true, value: undefined });
  });

  test('return() ends a next() that waits for a page of the log', async () => {
    await append(0, 10);
    const replay = feed.subscribe({ after: 0, filter: () => false });
    const waiting = replay.next();
    await replay.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
  });

  test('a consumer that does not keep up is ended with the cursor to go on from, and can go on from there', async () => {
    const slow = feed.subscribe({ filter: everything, maxBacklog: 50 });
    const [first] = await Promise.all([take(slow, 1), append(0, 1)]);
    const witness = take(feed.subscribe({ after: first[0]?.seq, filter: everything }), 100);
    await append(1, 100);
    await witness;
    const failure = await slow.next().catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'LIMIT_EXCEEDED' });
    const cursor = Number(/after: "(\d+)"/.exec(String(failure))?.[1]);
    expect((await take(feed.subscribe({ after: cursor, filter: everything }), 100)).map(numberOf)).toEqual(range(1, 100));
    expect(await slow.next()).toMatchObject({ done: true });
  });

  test('closing the feed ends its subscriptions', async () => {
    const waiting = feed.subscribe({ filter: everything }).next();
    await feed.close();
    expect(await waiting).toMatchObject({ done: true });
    expect(await feed.subscribe({ filter: everything }).next()).toMatchObject({ done: true });
  });
});

test('two interleaved transactions cannot make a reader skip an event', async () => {
  const events = feed.subscribe({ after: 0, filter: everything });
  const [early, late] = [new pg.Client(db.url), new pg.Client(db.url)];
  await Promise.all([early.connect(), late.connect()]);
  let reachAppended = (): void => undefined;
  const appended = new Promise<void>((resolve) => { reachAppended = resolve; });
  let commitEarly = (): void => undefined;
  const mayCommit = new Promise<void>((resolve) => { commitEarly = resolve; });
  const first = drizzle(early, { schema: tables }).transaction(async (transaction) => {
    await appendEvents(transaction, [note(1, experimentId)]);
    reachAppended();
    await mayCommit;
  });
  await appended;
  // Number 1 has its place in the log and is not committed; number 2 must not become visible before it.
  const second = drizzle(late, { schema: tables }).transaction((transaction) => appendEvents(transaction, [note(2, experimentId)]));
  await waitUntil(async () => (await db.pool.query("select 1 from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())")).rowCount === 1);
  expect((await db.pool.query('select 1 from events')).rowCount).toBe(0);
  commitEarly();
  await Promise.all([first, second]);
  expect((await take(events, 2)).map(numberOf)).toEqual([1, 2]);
  await Promise.all([early.end(), late.end()]);
});

test('after the listening connection is cut, events written meanwhile arrive, once', async () => {
  const events = feed.subscribe({ filter: everything });
  const reading = take(events, 20);
  await append(0, 10);
  const cut = await db.pool.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query ilike 'listen%'");
  expect(cut.rowCount).toBe(1);
  await append(10, 10);
  expect((await reading).map(numberOf)).toEqual(range(0, 20));
});

async function waitUntil(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!await condition()) {
    if (Date.now() > deadline) throw new Error('the condition did not come true in 30 s');
  }
}
