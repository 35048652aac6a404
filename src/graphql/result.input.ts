import { Field, InputType, registerEnumType } from 'type-graphql';
import type { ResultFilter } from '../db/read/results.ts';
import type { SummaryPoint } from '../domain/job-filter.ts';
import type { ResultOrder } from '../domain/job-order.ts';
import { enumOf } from './enum.ts';
import { OrderDirectionEnum, SummaryPointEnum } from './enums.ts';
import { JobFilterInput, orderKey, refuseTooManyOrders, TimeRangeInput, toJobFilter } from './filter.input.ts';
import { plainInput } from './input.ts';

@InputType('ResultFilter', { description: 'Which results are meant. All conditions that are given must hold.' })
export class ResultFilterInput {
  @Field(() => JobFilterInput, { nullable: true, description: 'Those of these jobs.' })
  jobs?: JobFilterInput | null;

  @Field(() => TimeRangeInput, { nullable: true, description: 'Of jobs that finished in this time.' })
  finishedAt?: TimeRangeInput | null;
}

type ResultOrderField = 'FINISHED_AT' | 'JOB_NAME' | 'CONFIG' | 'METRIC' | 'FINAL_METRIC';
const fields = enumOf<ResultOrderField>({
  FINISHED_AT: 'When the job ended.',
  JOB_NAME: 'The name of the job.',
  CONFIG: 'A configuration value; `key` names it. Numbers sort as numbers.',
  METRIC: 'A metric of the history; `key` names it and `at` says which of its values.',
  FINAL_METRIC: 'A metric of the result; `key` names it.',
});
registerEnumType(fields.values, { name: 'ResultOrderField', description: 'What results are sorted by.', valuesConfig: fields.descriptions });

@InputType('ResultOrder', { description: 'One sort key of results.' })
export class ResultOrderInput {
  @Field(() => fields.values, { description: 'What to sort by.' })
  field!: ResultOrderField;

  @Field(() => OrderDirectionEnum, { defaultValue: 'ASC', description: 'Which way.' })
  direction!: 'ASC' | 'DESC';

  @Field(() => String, { nullable: true, description: 'Needed with CONFIG (a dotted path), METRIC and FINAL_METRIC (a metric name).' })
  key?: string | null;

  @Field(() => SummaryPointEnum, { defaultValue: 'LAST', description: 'With METRIC: which of its values.' })
  at!: SummaryPoint;
}

/** The filter as reads take it. */
export function toResultFilter(input: ResultFilterInput | null | undefined): ResultFilter {
  return {
    jobs: toJobFilter(input?.jobs, ['filter', 'jobs']),
    ...(input?.finishedAt && { finishedAt: plainInput(input.finishedAt) }),
  };
}

/** The sort keys as reads take them. Throws UserError when a key is missing or impossible, and for too many. */
export function toResultOrder(inputs: ResultOrderInput[] | null | undefined): ResultOrder[] {
  refuseTooManyOrders(inputs);
  return (inputs ?? []).map((input, index): ResultOrder => {
    const descending = input.direction === 'DESC';
    switch (input.field) {
      case 'FINISHED_AT': return { field: 'FINISHED_AT', descending };
      case 'JOB_NAME': return { field: 'NAME', descending };
      case 'CONFIG': return { field: 'CONFIG', key: orderKey(input, index), descending };
      case 'METRIC': return { field: 'METRIC', key: orderKey(input, index), at: input.at, descending };
      case 'FINAL_METRIC': return { field: 'RESULT_METRIC', key: orderKey(input, index), descending };
    }
  });
}
