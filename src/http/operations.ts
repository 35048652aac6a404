/** One GraphQL operation, the same for every protocol: checked against the limits, run with a context of its own, counted. */
import { GraphQLError, execute, getOperationAST, parse, subscribe, validate } from 'graphql';
import type { DocumentNode, ExecutionArgs, ExecutionResult, GraphQLFormattedError, GraphQLSchema } from 'graphql';
import { asDatabaseError } from '../db/errors.ts';
import { UserError } from '../domain/errors.ts';
import { formatGraphqlError, isStackOverflow } from '../graphql/errors.ts';
import type { GraphqlContext, Viewer } from '../graphql/context.ts';
import { checkOperation } from '../graphql/limits.ts';
import type { OperationLimits } from '../graphql/limits.ts';
import type { HttpMetrics, Protocol } from './metrics.ts';

/** A larger document takes seconds to validate; values belong into variables, which do not count. */
export const MAX_DOCUMENT_TOKENS = 10_000;

export interface OperationRequest {
  query: string;
  operationName?: string | null;
  variables?: Record<string, unknown> | null;
}

export interface OperationOptions {
  schema: GraphQLSchema;
  limits: OperationLimits;
  /** A context for one operation: its loaders remember what they read. */
  createContext: (viewer: Viewer) => GraphqlContext;
  metrics: HttpMetrics;
  /** Told of every error that is masked before a client sees it. */
  onBug: (error: unknown) => void;
}

type Answer = ExecutionResult | AsyncGenerator<ExecutionResult, void, void>;

export interface Operations {
  schema: GraphQLSchema;
  createContext: OperationOptions['createContext'];
  /** Everything that speaks against running it, or nothing. */
  check(document: DocumentNode, request: OperationRequest, viewer: Viewer | null): GraphQLError[];
  /** The arguments to execute it with, or all that is wrong with it. */
  prepare(request: OperationRequest, viewer: Viewer): ExecutionArgs | GraphQLError[];
  run(protocol: Protocol, args: ExecutionArgs): Promise<Answer>;
  format(error: GraphQLError): GraphQLFormattedError;
  /** The result with its errors as clients may see them. */
  formatResult(result: ExecutionResult): ExecutionResult;
}

function parsed(query: string): DocumentNode | GraphQLError {
  try {
    return parse(query, { maxTokens: MAX_DOCUMENT_TOKENS });
  } catch (error) {
    // Thrown on, it would close the WebSocket with all that is open on it.
    if (isStackOverflow(error)) return new GraphQLError('', { originalError: error });
    if (!(error instanceof GraphQLError)) throw error;
    return withCode(error, 'GRAPHQL_PARSE_FAILED');
  }
}

function withCode(error: GraphQLError, code: string): GraphQLError {
  return new GraphQLError(error.message, { ...error, nodes: error.nodes, source: error.source, positions: error.positions, path: error.path, extensions: { code, ...error.extensions } });
}

/**
 * A result of a subscription that the database was not there for would show things as absent that are there. The client is not told it:
 * the subscription ends with this, so that it is asked for again from the last cursor.
 */
function refuseGaps({ errors }: ExecutionResult, { resumeAfter }: GraphqlContext): void {
  if (errors?.some(isDatabaseAway) !== true) return;
  const how = resumeAfter === null ? '' : ` with after: "${resumeAfter}", and nothing is missed`;
  throw UserError.of('DATABASE_UNAVAILABLE', `the database cannot be reached at the moment; subscribe again${how}`);
}

function isDatabaseAway({ originalError }: GraphQLError): boolean {
  return originalError !== undefined && asDatabaseError(originalError)?.code === 'DATABASE_UNAVAILABLE';
}

/** The subscription, with `onEnd` called once when it is over for whatever reason. */
function watched(results: AsyncGenerator<ExecutionResult, void, void>, context: GraphqlContext, onEnd: () => void): AsyncGenerator<ExecutionResult, void, void> {
  const next = async () => {
    try {
      const step = await results.next();
      if (step.done) onEnd();
      else refuseGaps(step.value, context);
      return step;
    } catch (error) {
      onEnd();
      // Nobody else ends the source: whoever iterates takes a failure for the end.
      void results.return().catch(() => undefined);
      throw error;
    }
  };
  return {
    next,
    return: (value) => { onEnd(); return results.return(value); },
    throw: (error) => { onEnd(); return results.throw(error); },
    [Symbol.asyncIterator]() { return this; },
  };
}

export function createOperations({ schema, limits, createContext, metrics, onBug }: OperationOptions): Operations {
  const check: Operations['check'] = (document, { operationName, variables }, viewer) =>
    checkOperation({ schema, document, operationName, variables: variables ?? {}, viewer, limits });
  const format: Operations['format'] = (error) => formatGraphqlError(error.toJSON(), error, schema, onBug);

  const prepare: Operations['prepare'] = (request, viewer) => {
    const document = parsed(request.query);
    if (document instanceof GraphQLError) return [document];
    const invalid = validate(schema, document).map((error) => withCode(error, 'GRAPHQL_VALIDATION_FAILED'));
    if (invalid.length > 0) return invalid;
    if (!getOperationAST(document, request.operationName)) {
      return [new GraphQLError('operationName must name one of the operations in the document', { extensions: { code: 'OPERATION_RESOLUTION_FAILURE' } })];
    }
    const refused = check(document, request, viewer);
    if (refused.length > 0) return refused;
    return { schema, document, operationName: request.operationName, variableValues: request.variables, contextValue: createContext(viewer) };
  };

  const run: Operations['run'] = async (protocol, args) => {
    const type = getOperationAST(args.document, args.operationName)?.operation ?? 'query';
    const answer = (await (type === 'subscription' ? subscribe(args) : execute(args))) as Answer;
    const streams = Symbol.asyncIterator in answer;
    metrics.operations.inc({ protocol, type, outcome: !streams && answer.errors ? 'errors' : 'ok' });
    if (!streams) return answer;
    let open = true;
    metrics.openSubscriptions.inc({ protocol });
    return watched(answer, args.contextValue as GraphqlContext, () => {
      if (open) metrics.openSubscriptions.dec({ protocol });
      open = false;
    });
  };

  return {
    schema, createContext, check, prepare, run, format,
    formatResult: (result) => (result.errors ? { ...result, errors: result.errors.map(format) as unknown as GraphQLError[] } : result),
  };
}
