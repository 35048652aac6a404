import { pgTable, primaryKey, text, unique, uuid } from 'drizzle-orm/pg-core';
import type { JsonObject } from '../../domain/job-spec.ts';
import { json, moment } from './columns.ts';

export const TOKEN_SCOPES = ['read', 'write'] as const;
export type TokenScope = (typeof TOKEN_SCOPES)[number];

/** Who may call. The token itself is never stored, only its SHA-256. */
export const tokens = pgTable('tokens', {
  id: uuid('id').primaryKey(),
  name: text('name').notNull(),
  sha256: text('sha256').notNull(),
  scopes: text('scopes').array().$type<TokenScope[]>().notNull(),
  createdAt: moment('created_at').notNull().defaultNow(),
  lastUsedAt: moment('last_used_at'),
  revokedAt: moment('revoked_at'),
}, (table) => [unique('tokens_sha256').on(table.sha256)]);

/** The answer a submitting mutation gave, so that the same call again gives it again instead of submitting twice. */
export const idempotencyKeys = pgTable('idempotency_keys', {
  tokenName: text('token_name').notNull(),
  key: text('key').notNull(),
  mutation: text('mutation').notNull(),
  /** Hash of the input: the same key with another input is an error. */
  inputSha256: text('input_sha256').notNull(),
  /** Ids from which the answer is built again. */
  answer: json<JsonObject>('answer').notNull(),
  createdAt: moment('created_at').notNull().defaultNow(),
}, (table) => [primaryKey({ columns: [table.tokenName, table.key] })]);
