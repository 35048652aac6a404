/** A job filter that comes as JSON outside of an operation: it is checked and understood by the types that check it inside of one. */
import { coerceInputValue, type GraphQLInputType, type GraphQLSchema } from 'graphql';
import { UserError, type UserFault } from '../domain/errors.ts';
import type { JobFilter } from '../domain/job-filter.ts';
import { JobFilterInput, MetricConditionInput, TimeRangeInput, toJobFilter } from './filter.input.ts';

/** The filter in the form of `JobFilter` of the schema. Throws UserError with every fault, as the query would. */
export function jobFilterOfJson(schema: GraphQLSchema, json: unknown): JobFilter {
  const faults: UserFault[] = [];
  const input = coerceInputValue(json, schema.getType('JobFilter') as GraphQLInputType, (path, _value, { message }) => {
    faults.push({ field: ['filter', ...path.map(String)], message, code: 'BAD_USER_INPUT' });
  }) as JobFilterInput | null;
  if (faults.length > 0) throw new UserError(faults);
  return toJobFilter(input && ofTheirTypes(input));
}

/** Inside an operation type-graphql makes instances of what is nested. */
function ofTheirTypes(input: JobFilterInput): JobFilterInput {
  const range = (given: TimeRangeInput | null | undefined) => given && Object.assign(new TimeRangeInput(), given);
  return Object.assign(new JobFilterInput(), input, {
    createdAt: range(input.createdAt), startedAt: range(input.startedAt), finishedAt: range(input.finishedAt),
    metrics: input.metrics?.map((condition) => Object.assign(new MetricConditionInput(), condition)),
  });
}
