/** Filters and orders of jobs and of everything that is chosen by its jobs. */
import { Field, Float, ID, InputType, Int } from 'type-graphql';
import { badInput, metricKeyFaults } from '../actions/input-faults.ts';
import type { JobOrder } from '../domain/job-order.ts';
import { textProblem, validateJson } from '../domain/config-values.ts';
import { UserError, type UserFault } from '../domain/errors.ts';
import type { ConfigCondition, JobFilter, MetricCondition, SummaryPoint } from '../domain/job-filter.ts';
import type { Json } from '../domain/job-spec.ts';
import type { JobState } from '../domain/states.ts';
import { enumOf } from './enum.ts';
import { JobStateEnum, OrderDirectionEnum, SummaryPointEnum } from './enums.ts';
import { plainInput } from './input.ts';
import { DateTime, JSONValue } from './scalars.ts';
import { registerEnumType } from 'type-graphql';

@InputType('TimeRange', { description: 'A stretch of time. A bound that is left out does not limit.' })
export class TimeRangeInput {
  @Field(() => DateTime, { nullable: true, description: 'At this moment or later.' })
  from?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'Before this moment.' })
  to?: Date | null;
}

@InputType('ConfigCondition', { description: 'A condition on one configuration value. At least one comparison is needed; all that are given must hold.' })
export class ConfigConditionInput {
  @Field(() => String, { description: 'Dotted path of the value, such as `optim.lr`.' })
  key!: string;

  @Field(() => JSONValue, { nullable: true, description: 'Equal to this; null means the JSON null.' })
  eq?: Json;

  @Field(() => JSONValue, { nullable: true, description: 'Different from this, or absent.' })
  ne?: Json;

  @Field(() => [JSONValue], { nullable: true, description: 'Equal to one of these.' })
  in?: Json[] | null;

  @Field(() => Float, { nullable: true, description: 'A number less than this.' })
  lt?: number | null;

  @Field(() => Float, { nullable: true, description: 'A number less than or equal to this.' })
  lte?: number | null;

  @Field(() => Float, { nullable: true, description: 'A number greater than this.' })
  gt?: number | null;

  @Field(() => Float, { nullable: true, description: 'A number greater than or equal to this.' })
  gte?: number | null;

  @Field(() => Boolean, { nullable: true, description: 'Whether the configuration has the key at all.' })
  exists?: boolean | null;
}

@InputType('MetricCondition', { description: "A condition on a metric's summary. All comparisons that are given must hold; with none, the metric only has to be there." })
export class MetricConditionInput {
  @Field(() => String, { description: 'Name of the metric, such as `val/loss`.' })
  key!: string;

  @Field(() => SummaryPointEnum, { defaultValue: 'LAST', description: 'Which value of the history is compared.' })
  at!: SummaryPoint;

  @Field(() => Float, { nullable: true, description: 'Less than this.' })
  lt?: number | null;

  @Field(() => Float, { nullable: true, description: 'Less than or equal to this.' })
  lte?: number | null;

  @Field(() => Float, { nullable: true, description: 'Greater than this.' })
  gt?: number | null;

  @Field(() => Float, { nullable: true, description: 'Greater than or equal to this.' })
  gte?: number | null;
}

@InputType('JobFilter', { description: 'Which jobs are meant. All conditions that are given must hold; an empty list of alternatives matches nothing.' })
export class JobFilterInput {
  @Field(() => [ID], { nullable: true, description: 'One of these jobs.' })
  ids?: string[] | null;

  @Field(() => String, { nullable: true, description: 'In an experiment of this project.' })
  project?: string | null;

  @Field(() => [ID], { nullable: true, description: 'In one of these experiments.' })
  experimentIds?: string[] | null;

  @Field(() => [ID], { nullable: true, description: 'In one of these sweeps.' })
  sweepIds?: string[] | null;

  @Field(() => [JobStateEnum], { nullable: true, description: 'In one of these states.' })
  states?: JobState[] | null;

  @Field(() => [String], { nullable: true, description: 'On one of these clusters.' })
  clusters?: string[] | null;

  @Field(() => [String], { nullable: true, description: 'With every one of these tags.' })
  tagsAll?: string[] | null;

  @Field(() => [String], { nullable: true, description: 'With at least one of these tags.' })
  tagsAny?: string[] | null;

  @Field(() => [String], { nullable: true, description: 'With none of these tags.' })
  tagsNone?: string[] | null;

  @Field(() => String, { nullable: true, description: 'With this text in the name, in whatever case.' })
  nameContains?: string | null;

  @Field(() => String, { nullable: true, description: 'With this fingerprint.' })
  fingerprint?: string | null;

  @Field(() => String, { nullable: true, description: "With an attempt of this id in SLURM: `123` (all tasks, if it is an array) or `123_4`." })
  slurmJobId?: string | null;

  @Field(() => [ConfigConditionInput], { nullable: true, description: 'With a configuration that meets all of these.' })
  config?: ConfigConditionInput[] | null;

  @Field(() => [MetricConditionInput], { nullable: true, description: 'With metrics that meet all of these.' })
  metrics?: MetricConditionInput[] | null;

  @Field(() => Int, { nullable: true, description: 'With this priority or a higher one.' })
  priorityMin?: number | null;

  @Field(() => Int, { nullable: true, description: 'With this priority or a lower one.' })
  priorityMax?: number | null;

  @Field(() => TimeRangeInput, { nullable: true, description: 'Created in this time.' })
  createdAt?: TimeRangeInput | null;

  @Field(() => TimeRangeInput, { nullable: true, description: 'First started in this time.' })
  startedAt?: TimeRangeInput | null;

  @Field(() => TimeRangeInput, { nullable: true, description: 'Finished in this time.' })
  finishedAt?: TimeRangeInput | null;
}

type JobOrderField = JobOrder['field'];
const jobOrderFields = enumOf<JobOrderField>({
  CREATED_AT: 'When the job was created.',
  STARTED_AT: 'When its first attempt started.',
  FINISHED_AT: 'When it ended.',
  PRIORITY: 'Its priority.',
  NAME: 'Its name, by the collation of the database.',
  STATE: 'Its state, in the order in which a job passes through them.',
  CONFIG: 'A configuration value; `key` names it. Numbers sort as numbers.',
  METRIC: 'A metric; `key` names it and `at` says which of its values.',
});
registerEnumType(jobOrderFields.values, { name: 'JobOrderField', description: 'What jobs are sorted by.', valuesConfig: jobOrderFields.descriptions });

@InputType('JobOrder', { description: 'One sort key of jobs.' })
export class JobOrderInput {
  @Field(() => jobOrderFields.values, { description: 'What to sort by.' })
  field!: JobOrderField;

  @Field(() => OrderDirectionEnum, { defaultValue: 'ASC', description: 'Which way.' })
  direction!: 'ASC' | 'DESC';

  @Field(() => String, { nullable: true, description: 'Needed with CONFIG (a dotted path) and METRIC (a metric name).' })
  key?: string | null;

  @Field(() => SummaryPointEnum, { defaultValue: 'LAST', description: 'With METRIC: which of its values.' })
  at!: SummaryPoint;
}

/** Each is a condition of a statement of its own; nobody means more. */
const MAX_CONDITIONS = 100;
const MAX_ORDERS = 10;

/** The filter as reads and actions take it. Throws UserError for a condition that compares nothing, which would match everything, for something that the database cannot hold, and for too many conditions. */
export function toJobFilter(input: JobFilterInput | null | undefined, field: string[] = ['filter']): JobFilter {
  if (input === null || input === undefined) return {};
  const { config, metrics, ...rest } = input;
  const tooMany = [...countFaults(config, [...field, 'config'], MAX_CONDITIONS), ...countFaults(metrics, [...field, 'metrics'], MAX_CONDITIONS)];
  if (tooMany.length > 0) throw new UserError(tooMany);
  const faults = [
    ...(config ?? []).flatMap((condition, index) => conditionFaults(condition, [...field, 'config', String(index)])),
    ...(metrics ?? []).flatMap(({ key }, index) => metricKeyFaults(key, [...field, 'metrics', String(index), 'key'])),
  ];
  if (faults.length > 0) throw new UserError(faults);
  return {
    ...plainInput(Object.assign(new JobFilterInput(), rest)),
    ...(config && { config: config.map(toConfigCondition) }),
    ...(metrics && { metrics: metrics.map((condition): MetricCondition => plainInput(condition)) }),
  } as JobFilter;
}

/** The sort keys as reads take them. Throws UserError when CONFIG or METRIC comes without a possible key, and for too many. */
export function toJobOrder(inputs: JobOrderInput[] | null | undefined): JobOrder[] {
  refuseTooManyOrders(inputs);
  return (inputs ?? []).map((input, index) => {
    const descending = input.direction === 'DESC';
    if (input.field === 'CONFIG') return { field: 'CONFIG', key: orderKey(input, index), descending };
    if (input.field === 'METRIC') return { field: 'METRIC', key: orderKey(input, index), at: input.at, descending };
    return { field: input.field, descending };
  });
}

/** Throws UserError when there are more sort keys than anybody means. */
export function refuseTooManyOrders(inputs: readonly unknown[] | null | undefined): void {
  const faults = countFaults(inputs, ['orderBy'], MAX_ORDERS);
  if (faults.length > 0) throw new UserError(faults);
}

/** The key of a sort key that needs one. Throws UserError when there is none, or nothing can have it. */
export function orderKey(input: { field: string; key?: string | null }, index: number): string {
  const field = ['orderBy', String(index), 'key'];
  if (!input.key) throw UserError.of('BAD_USER_INPUT', `sorting by ${input.field} needs the name of the value to sort by`, field);
  const faults = input.field === 'METRIC' ? metricKeyFaults(input.key, field) : [textProblem(input.key)].flatMap((problem) => problem ?? []).map((problem) => badInput(field, problem));
  if (faults.length > 0) throw new UserError(faults);
  return input.key;
}

function countFaults(given: readonly unknown[] | null | undefined, field: string[], limit: number): UserFault[] {
  return given && given.length > limit ? [badInput(field, `has ${given.length} entries; the limit is ${limit}`)] : [];
}

function toConfigCondition({ eq, ne, ...rest }: ConfigConditionInput): ConfigCondition {
  return {
    ...plainInput(Object.assign(new ConfigConditionInput(), rest)),
    ...(eq !== undefined && { eq }), ...(ne !== undefined && { ne }),
  } as ConfigCondition;
}

function conditionFaults(condition: ConfigConditionInput, field: string[]): UserFault[] {
  const { key, ...comparisons } = toConfigCondition(condition);
  const { eq = null, ne = null, in: anyOf = [] } = comparisons;
  if (Object.keys(comparisons).length > 0) return validateJson({ key, eq, ne, in: anyOf }, field, { maxConfigBytes: Number.POSITIVE_INFINITY });
  return [{ field, code: 'BAD_USER_INPUT', message: `compares nothing; give at least one of eq, ne, in, lt, lte, gt, gte, exists` }];
}
