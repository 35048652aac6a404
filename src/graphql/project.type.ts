import { Field, InputType, Int, ObjectType } from 'type-graphql';
import { DEFAULT_METRIC_RETENTION } from '../domain/metric-retention.ts';
import { connectionTypeOf } from './connection.ts';
import { Long } from './scalars.ts';

const POINTS_DESCRIPTION = 'About how many points of a long history are left after that: the least and the greatest of each stretch of steps, those that checkpoints refer to, and the newest ones. Histories of less than some 4,000 points stay whole.';

@ObjectType('MetricRetention', { description: 'How long a project keeps every point of its metrics. The summaries (last, least and greatest value, number of points) stay exact for ever.' })
class MetricRetentionType {
  @Field(() => Int, { nullable: true, description: 'Days after the end of a job for which every point is kept; null: for ever.' })
  exactDays!: number | null;

  @Field(() => Int, { description: POINTS_DESCRIPTION })
  pointsPerSeries!: number;
}

@ObjectType('Project', { description: 'A collection of experiments; made by naming it in one.' })
export class ProjectType {
  @Field(() => String, { description: 'Its name.' })
  name!: string;

  @Field(() => MetricRetentionType, { description: 'How long every point of its metrics is kept. For ever, unless `updateProject` set something else.' })
  metricRetention!: MetricRetentionType;
}

export const ProjectConnection = connectionTypeOf(() => ProjectType, 'Project', 'projects');

@ObjectType('RollUpEstimate', { description: 'What is rolled up in the next minutes or hours under a retention; jobs that end later come on top.' })
export class RollUpEstimateType {
  @Field(() => Int, { description: 'How many jobs have a history that is rolled up.' })
  jobCount!: number;

  @Field(() => Int, { description: 'How many histories that are.' })
  seriesCount!: number;

  @Field(() => Long, { description: 'About how many points are deleted.' })
  pointCount!: number;

  @Field(() => Long, { description: 'About how many bytes they take in the database. The database uses the room again; it does not give it back to the disk.' })
  bytes!: number;
}

@InputType('MetricRetentionInput', { description: 'How long a project is to keep every point of its metrics.' })
class MetricRetentionInput {
  @Field(() => Int, { nullable: true, description: 'Days after the end of a job for which every point is kept, 1 or more; for ever when left out. What was deleted does not come back.' })
  exactDays?: number | null;

  @Field(() => Int, { nullable: true, description: `${POINTS_DESCRIPTION} From 100 to 100,000; ${DEFAULT_METRIC_RETENTION.pointsPerSeries} when left out. What is rolled up already stays as it is.` })
  pointsPerSeries?: number | null;
}

@InputType('UpdateProjectInput', { description: 'Settings of a project.' })
export class UpdateProjectInput {
  @Field(() => String, { description: 'The project.' })
  project!: string;

  @Field(() => MetricRetentionInput, { description: 'How long it keeps every point of its metrics.' })
  metricRetention!: MetricRetentionInput;

  @Field(() => Boolean, { nullable: true, description: 'Only say what would be rolled up.' })
  dryRun?: boolean | null;
}
