/** What resolvers get: made anew for each operation. */
import type { ActionContext } from '../actions/action-context.ts';
import type { Database } from '../db/database.ts';
import type { Feed } from '../db/feed.ts';
import type { JobTables } from '../db/read/job-tables.ts';
import type { TokenScope } from '../db/tables/index.ts';
import type { FailureRule } from '../domain/diagnosis/failure-rule.ts';
import { EventsAhead } from './events-ahead.ts';
import { createLoaders, type Loaders } from './loaders.ts';

/** Who calls. */
export interface Viewer {
  tokenName: string;
  scopes: TokenScope[];
}

export interface GraphqlContext {
  database: Database;
  /** Large experiments, kept from one operation to the next. */
  tables: JobTables;
  feed: Pick<Feed, 'subscribe'>;
  /** Replaced before each event of a subscription, which would else see what the first event saw. */
  loaders: Loaders;
  /** What the events of a subscription to the log refer to. */
  ahead: EventsAhead;
  /** The cursor before the event that a subscription is showing: where to go on when it cannot be shown. Null where there is none. */
  resumeAfter: string | null;
  /** Null: nobody who may read anything; `checkOperation` refuses the operation before a resolver runs. */
  viewer: Viewer | null;
  actions: ActionContext;
  /** How the site recognises failures, beside the built-in rules. */
  failureRules: readonly FailureRule[];
}

/** The context of one operation. */
export function createGraphqlContext(parts: Omit<GraphqlContext, 'loaders' | 'ahead' | 'resumeAfter'>): GraphqlContext {
  return { ...parts, resumeAfter: null, ahead: new EventsAhead(), loaders: createLoaders(parts.database, parts.tables, parts.actions.clusters) };
}

/** Forgets what was read, before the next event of a subscription is resolved. */
export function refreshLoaders(context: GraphqlContext): void {
  context.loaders = createLoaders(context.database, context.tables, context.actions.clusters);
}
