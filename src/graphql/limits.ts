/** What an operation may ask for. Checked once, before it runs, for HTTP, WebSocket and Server-Sent Events alike. */
import { getOperationAST, GraphQLError, Kind, TypeInfo, ValidationContext, type DocumentNode, type GraphQLSchema, type OperationDefinitionNode, type SelectionSetNode } from 'graphql';
import { createComplexityRule, type ComplexityEstimatorArgs } from 'graphql-query-complexity';
import type { ErrorCode } from '../domain/errors.ts';
import type { Viewer } from './context.ts';

export interface OperationLimits {
  /** Deepest nesting of fields; introspection, which validation bounds, is not counted. */
  maxDepth: number;
  /** Most objects and values an operation may ask for, counted with the sizes of its lists. */
  maxCost: number;
}

/** Three levels of nested lists with their details; two nested full pages of 100 with ten values each. */
export const DEFAULT_OPERATION_LIMITS: OperationLimits = { maxDepth: 12, maxCost: 500_000 };

/** What an explicit null counts as where a list takes a size: no default is larger. */
const SIZE_OF_NULL = 100;

export interface OperationRequest {
  schema: GraphQLSchema;
  /** Already valid against the schema. */
  document: DocumentNode;
  operationName: string | null | undefined;
  variables: Record<string, unknown> | null | undefined;
  viewer: Viewer | null;
  limits: OperationLimits;
}

/** Why the operation may not run; empty when it may. */
export function checkOperation(request: OperationRequest): GraphQLError[] {
  const operation = getOperationAST(request.document, request.operationName);
  // Which operation is meant is for the executor to complain about.
  if (!operation) return [];
  const refused = accessError(operation, request.viewer) ?? depthError(operation, request) ?? costError(operation, request);
  return refused === null ? [] : [refused];
}

function accessError(operation: OperationDefinitionNode, viewer: Viewer | null): GraphQLError | null {
  if (viewer === null) {
    return coded('UNAUTHENTICATED', 'a valid token is needed: send the header `Authorization: Bearer <token>`, or `token` in the payload of `connection_init`');
  }
  const scope = operation.operation === 'mutation' ? 'write' : 'read';
  return viewer.scopes.includes(scope) ? null
    : coded('FORBIDDEN', `a ${operation.operation} needs the scope "${scope}", which the token "${viewer.tokenName}" does not have`);
}

function depthError(operation: OperationDefinitionNode, { document, limits }: OperationRequest): GraphQLError | null {
  const depth = depthOf(operation.selectionSet, fragmentsOf(document), new Map());
  return depth <= limits.maxDepth ? null : coded('LIMIT_EXCEEDED', `the operation is ${depth} fields deep, over the limit of ${limits.maxDepth}; ask for less at once`);
}

function costError(operation: OperationDefinitionNode, { schema, document, operationName, variables, limits }: OperationRequest): GraphQLError | null {
  const faults: GraphQLError[] = [];
  const context = new ValidationContext(schema, document, new TypeInfo(schema), (fault) => faults.push(fault));
  try {
    const counter = createComplexityRule({
      maximumComplexity: Number.POSITIVE_INFINITY, variables: variables ?? {}, ...(operationName && { operationName }), estimators: [(args) => fieldCost(args, schema)],
    })(context);
    // It follows the fragments by itself; the library's own getComplexity walks the whole document to find this one node.
    counter.onOperationDefinitionEnter(operation);
    const { complexity: cost } = counter;
    const fault = faults.at(-1);
    if (fault) return fault;
    return cost <= limits.maxCost ? null
      : coded('LIMIT_EXCEEDED', `the operation has a cost of ${Math.min(cost, Number.MAX_SAFE_INTEGER)}, over the limit of ${limits.maxCost}; ask for smaller pages or fewer fields`);
  } catch (error) {
    // A variable that does not fit its type: the executor refuses it with the better message.
    return error instanceof GraphQLError ? error : coded('BAD_USER_INPUT', error instanceof Error ? error.message : String(error));
  }
}

/** One for the field and, where it is a list, its fields once for each item. */
function fieldCost({ field, args, childComplexity, type }: ComplexityEstimatorArgs, schema: GraphQLSchema): number {
  if (field.name === '_entities') return 1 + childComplexity * lengthOf(args['representations']);
  if (type.name.startsWith('__')) return 1 + childComplexity * introspectedSize(field.name, schema);
  const listSize = field.astNode ? listSizeOf(field.astNode, args) : 1;
  return 1 + childComplexity * listSize;
}

/** How long the lists of introspection are on average, so that the whole schema once costs about what its answer has. */
function introspectedSize(fieldName: string, schema: GraphQLSchema): number {
  switch (fieldName) {
    case 'types': return Object.keys(schema.getTypeMap()).length;
    case 'directives': return schema.getDirectives().length;
    case 'fields': return 4;
    case 'inputFields': return 2;
    default: return 1;
  }
}

function listSizeOf(node: NonNullable<ComplexityEstimatorArgs['field']['astNode']>, args: Record<string, unknown>): number {
  const directive = node.directives?.find(({ name }) => name.value === 'listSize');
  const argument = (name: string) => directive?.arguments?.find((each) => each.name.value === name)?.value;
  const slicing = argument('slicingArguments');
  if (slicing?.kind === Kind.LIST) {
    const sizes = slicing.values.flatMap((each) => (each.kind === Kind.STRING ? [Number(args[each.value] ?? SIZE_OF_NULL)] : []));
    return Math.max(1, ...sizes);
  }
  const assumed = argument('assumedSize');
  return assumed?.kind === Kind.INT ? Number(assumed.value) : 1;
}

type Fragments = ReadonlyMap<string, SelectionSetNode>;

function fragmentsOf(document: DocumentNode): Fragments {
  return new Map(document.definitions.flatMap((definition) =>
    (definition.kind === Kind.FRAGMENT_DEFINITION ? [[definition.name.value, definition.selectionSet] as const] : [])));
}

/** Depth of a selection. `known` holds the fragments already measured, so that each is walked once. */
function depthOf(selections: SelectionSetNode | undefined, fragments: Fragments, known: Map<string, number>): number {
  if (selections === undefined) return 0;
  const depths = selections.selections.map((selection) => {
    if (selection.kind === Kind.INLINE_FRAGMENT) return depthOf(selection.selectionSet, fragments, known);
    if (selection.kind === Kind.FIELD) {
      return selection.name.value.startsWith('__') ? 0 : 1 + depthOf(selection.selectionSet, fragments, known);
    }
    const name = selection.name.value;
    const measured = known.get(name);
    if (measured !== undefined) return measured;
    // A cycle, which validation refuses, must not hang the one who forgot to validate.
    known.set(name, 0);
    const depth = depthOf(fragments.get(name), fragments, known);
    known.set(name, depth);
    return depth;
  });
  return Math.max(0, ...depths);
}

function lengthOf(value: unknown): number {
  return Array.isArray(value) ? value.length : 1;
}

function coded(code: ErrorCode, message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code } });
}
