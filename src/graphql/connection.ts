/** Relay connections: one shape for every list that is paged. */
import { Directive, Field, Int, ObjectType, type ClassType } from 'type-graphql';
import { UserError } from '../domain/errors.ts';
import type { Page, PageRequest } from '../db/read/page.ts';

/** Most nodes one page may have: enough for a table on a screen, little enough to answer at once. */
const MAX_PAGE_SIZE = 500;
export const DEFAULT_PAGE_SIZE = 50;

/** What the gateway and the cost limit need to know of a field that returns a connection. */
export const LIST_SIZE = '@listSize(slicingArguments: ["first"], sizedFields: ["edges", "nodes"], requireOneSlicingArgument: false)';
export const FIRST_DESCRIPTION = `How many to return, 1 to ${MAX_PAGE_SIZE}.`;
export const AFTER_DESCRIPTION = '`endCursor` of the page before; leave out for the first page. Belongs to one field and one order.';

/** A checked page request; an explicit null means the default. Throws UserError when `first` is out of bounds. */
export function pageRequest(asked: number | null, after: string | null | undefined, defaultSize = DEFAULT_PAGE_SIZE): PageRequest {
  return { first: checkedFirst(asked ?? defaultSize, '; page on with `after`'), after: after ?? null };
}

/** The size of a list that has no further pages. Throws UserError when it is out of bounds; `hint` says what else would do. */
export function checkedFirst(first: number, hint = ''): number {
  if (first < 1 || first > MAX_PAGE_SIZE) {
    throw UserError.of('BAD_USER_INPUT', `must be from 1 to ${MAX_PAGE_SIZE}, not ${first}${hint}`, ['first']);
  }
  return first;
}

@Directive('@shareable')
@ObjectType({ description: 'Where a page lies in its list.' })
class PageInfo {
  @Field(() => Boolean, { description: 'Whether there is more after this page.' })
  hasNextPage!: boolean;

  @Field(() => Boolean, { description: 'Whether this page was reached by a cursor, so that there is something before it.' })
  hasPreviousPage!: boolean;

  @Field(() => String, { nullable: true, description: 'Cursor of the first edge; null on an empty page.' })
  startCursor!: string | null;

  @Field(() => String, { nullable: true, description: 'Cursor of the last edge, to be passed as `after`; null on an empty page.' })
  endCursor!: string | null;
}

/** A page as the connection types present it. */
export interface Connection<Row> {
  edges: { node: Row; cursor: string }[];
  nodes: Row[];
  pageInfo: PageInfo;
  /** Counted only when it is read, and once. */
  readonly totalCount: Promise<number>;
}

/** Makes the `<noun>Connection` and `<noun>Edge` types of a node. */
export function connectionTypeOf<Node extends object>(node: () => ClassType<Node>, noun: string, plural: string): ClassType<object> {
  @ObjectType(`${noun}Edge`, { description: `One place in a list of ${plural}.` })
  class Edge {
    @Field(node, { description: 'What stands at this place.' })
    node!: Node;

    @Field(() => String, { description: 'Opaque position in the list, to be passed as `after`.' })
    cursor!: string;
  }

  @ObjectType(`${noun}Connection`, { description: `A page of a list of ${plural}.` })
  class ConnectionType {
    @Field(() => [Edge], { description: 'The page with a cursor for each node.' })
    edges!: Edge[];

    @Field(() => [node()], { description: 'The page without cursors.' })
    nodes!: Node[];

    @Field(() => PageInfo, { description: 'Where the page lies in the list.' })
    pageInfo!: PageInfo;

    @Field(() => Int, { nullable: true, description: 'How many there are in the whole list; counted only when asked for.' })
    totalCount!: number | null;
  }
  return ConnectionType;
}

/** A page as a connection. */
export function toConnection<Row>(page: Page<Row>, request: PageRequest, countAll: () => Promise<number>): Connection<Row> {
  let totalCount: Promise<number> | undefined;
  const edges = page.rows.map(({ row, cursor }) => ({ node: row, cursor }));
  return {
    edges,
    nodes: edges.map((edge) => edge.node),
    pageInfo: {
      hasNextPage: page.hasNextPage,
      hasPreviousPage: request.after !== null,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
    get totalCount() {
      return (totalCount ??= countAll());
    },
  };
}
