import { Arg, Ctx, Field, Int, Mutation, ObjectType, Resolver } from 'type-graphql';
import { recordCheckpoint } from '../actions/record-checkpoint.ts';
import { recordMetrics } from '../actions/record-metrics.ts';
import { CheckpointType } from './checkpoint.type.ts';
import type { GraphqlContext } from './context.ts';
import { withUserErrors } from './errors.ts';
import { UserErrorType } from './user-error.type.ts';
import { plainInput } from './input.ts';
import { JobType } from './job.type.ts';
import type { NonFiniteName } from './metric.type.ts';
import { RecordCheckpointInput, RecordMetricsInput } from './record.input.ts';

@ObjectType('RecordMetricsPayload', { description: 'What became of recorded metric values.' })
class RecordMetricsPayload {
  @Field(() => JobType, { nullable: true, description: 'The job; null when there are errors.' })
  job!: object | null;

  @Field(() => Int, { description: 'How many points were taken.' })
  pointCount!: number;

  @Field(() => Int, { description: 'How many points were not taken: of their steps only a roll-up is left (see `metricRetention` of the project), or they are of new metrics and the job has 20,000, the most that it may have. `dropped` of the job counts both by reason.' })
  refusedPointCount!: number;

  @Field(() => [UserErrorType], { description: 'What is wrong with the input; nothing was recorded when there is any.' })
  userErrors!: UserErrorType[];
}

@ObjectType('RecordCheckpointPayload', { description: 'What became of a recorded checkpoint.' })
class RecordCheckpointPayload {
  @Field(() => CheckpointType, { nullable: true, description: 'The checkpoint; null when there are errors.' })
  checkpoint!: object | null;

  @Field(() => [UserErrorType], { description: 'What is wrong with the input; nothing was recorded when there is any.' })
  userErrors!: UserErrorType[];
}

const NON_FINITE = { NAN: 'NaN', POSITIVE_INFINITY: 'Infinity', NEGATIVE_INFINITY: '-Infinity' } as const satisfies Record<NonFiniteName, string>;

@Resolver()
export class RecordResolver {
  @Mutation(() => RecordMetricsPayload, { description: 'Records metric values that the job did not write into its metrics file. Doing it twice is the same as once.' })
  recordMetrics(
    @Ctx() { actions, loaders }: GraphqlContext,
    @Arg('input', () => RecordMetricsInput, { description: 'The values.' }) input: RecordMetricsInput,
  ): Promise<RecordMetricsPayload> {
    return withUserErrors<Omit<RecordMetricsPayload, 'userErrors'>>({ job: null, pointCount: 0, refusedPointCount: 0 }, async () => {
      const { jobId, attempt, series } = plainInput(input);
      const { pointCount, refusedPointCount } = await recordMetrics(actions, {
        jobId, ...(attempt !== undefined && { attempt }),
        series: series.map(({ nonFinite, ...columns }) => ({
          ...columns, ...(nonFinite && { nonFinite: nonFinite.map(({ index, value }) => ({ index, value: NON_FINITE[value] })) }),
        })),
      });
      return { job: await loaders.jobById.load(jobId), pointCount, refusedPointCount };
    });
  }

  @Mutation(() => RecordCheckpointPayload, { description: 'Records a checkpoint that does not lie in the job directory. Doing it twice is the same as once.' })
  recordCheckpoint(
    @Ctx() { actions, loaders }: GraphqlContext,
    @Arg('input', () => RecordCheckpointInput, { description: 'The checkpoint.' }) input: RecordCheckpointInput,
  ): Promise<RecordCheckpointPayload> {
    return withUserErrors<Omit<RecordCheckpointPayload, 'userErrors'>>({ checkpoint: null }, async () => {
      const { checkpointId } = await recordCheckpoint(actions, plainInput(input));
      return { checkpoint: await loaders.checkpointById.load(checkpointId) };
    });
  }
}
