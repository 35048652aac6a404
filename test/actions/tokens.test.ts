import { afterEach, beforeEach, expect, test } from 'vitest';
import { createToken, ensureFirstToken, replaceLostToken, tokenSha256 } from '../../src/actions/create-token.ts';
import { revokeToken } from '../../src/actions/revoke-token.ts';
import { findToken } from '../../src/db/read/tokens.ts';
import { touchToken } from '../../src/db/write/tokens.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
beforeEach(async () => { db = await testDatabase(); });
afterEach(() => db.drop());

const find = (token: string) => findToken(db.database, tokenSha256(token));

test('a token is known by its hash alone until it is revoked', async () => {
  const { token, tokenId } = await createToken(db, { name: 'notebook', scopes: ['read'] });
  expect(token).toMatch(/^eg_[A-Za-z0-9_-]{43}$/);
  expect(await find(token)).toEqual({ id: tokenId, name: 'notebook', scopes: ['read'] });
  expect(await find(`${token}x`)).toBeNull();
  expect(JSON.stringify((await db.pool.query('select * from tokens')).rows)).not.toContain(token);
  await touchToken(db.database, tokenId);
  await revokeToken(db, { name: 'notebook' });
  expect(await find(token)).toBeNull();
  await expect(revokeToken(db, { name: 'notebook' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('two valid tokens cannot share a name, even when made at once; a revoked one gives its name free', async () => {
  await createToken(db, { name: 'other', scopes: ['write'] });
  const made = await Promise.allSettled(Array.from({ length: 4 }, () => createToken(db, { name: 'ci', scopes: ['read', 'write'] })));
  expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  expect(made.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'ALREADY_EXISTS' } });
  await revokeToken(db, { name: 'ci' });
  await createToken(db, { name: 'ci', scopes: ['read'] });
  await expect(createToken(db, { name: '', scopes: [] })).rejects.toMatchObject({ faults: [{ field: ['name'] }, { field: ['scopes'] }] });
});

test('the first token is made once, by whoever starts first', async () => {
  const kept: string[] = [];
  const keep = (token: string): Promise<void> => Promise.resolve(void kept.push(token));
  const made = await Promise.all(Array.from({ length: 4 }, () => ensureFirstToken(db.database, keep)));
  expect(made.filter((token) => token !== null)).toEqual(kept);
  expect(kept).toHaveLength(1);
  expect(await find(kept[0] ?? '')).toMatchObject({ name: 'admin', scopes: ['read', 'write'] });
  await createToken(db, { name: 'other', scopes: ['write'] });
  await revokeToken(db, { name: 'admin' });
  expect(await ensureFirstToken(db.database, keep)).toBeNull();
});

test('the last token that may write is not revoked, and the refusal says how to do it', async () => {
  const { token } = await createToken(db, { name: 'only', scopes: ['read', 'write'] });
  await createToken(db, { name: 'notebook', scopes: ['read'] });
  await expect(revokeToken(db, { name: 'only' })).rejects.toMatchObject({
    code: 'CONFLICT', faults: [{ field: ['name'], message: expect.stringMatching(/"only" is the last token with the scope WRITE.*createToken first/) }],
  });
  expect(await find(token)).not.toBeNull();
  await revokeToken(db, { name: 'notebook' });
  await createToken(db, { name: 'successor', scopes: ['write'] });
  await revokeToken(db, { name: 'only' });
  expect(await find(token)).toBeNull();
});

test('of the two last tokens that may write, revoked at once, one stays', async () => {
  for (let round = 0; round < 10; round += 1) {
    const names = [`left-${round}`, `right-${round}`];
    for (const name of names) await createToken(db, { name, scopes: ['write'] });
    if (round > 0) await Promise.all([`left-${round - 1}`, `right-${round - 1}`].map((name) => revokeToken(db, { name }).catch(() => undefined)));
    const ended = await Promise.allSettled(names.map((name) => revokeToken(db, { name })));
    expect(ended.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(ended.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'CONFLICT' } });
  }
});

test('a lost token is replaced by one more, which is valid once it is kept', async () => {
  let first = '';
  let kept = '';
  await ensureFirstToken(db.database, (token) => Promise.resolve(void (first = token)));
  const token = await replaceLostToken(db.database, new Date('2026-01-02T03:04:05Z'), (made) => Promise.resolve(void (kept = made)));
  expect(kept).toBe(token);
  expect(await find(token)).toMatchObject({ name: 'admin-2026-01-02T03:04:05.000Z', scopes: ['read', 'write'] });
  expect(await find(first)).toMatchObject({ name: 'admin' });
});

test('a first token that could not be kept is not valid', async () => {
  let lost = '';
  await expect(ensureFirstToken(db.database, (token) => {
    lost = token;
    return Promise.reject(new Error('disk full'));
  })).rejects.toThrow('disk full');
  expect(await find(lost)).toBeNull();
  expect(await ensureFirstToken(db.database, () => Promise.resolve())).not.toBeNull();
});
