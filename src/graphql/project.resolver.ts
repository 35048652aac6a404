import { Arg, Ctx, Directive, Field, Int, Mutation, ObjectType, Query, Resolver } from 'type-graphql';
import { updateProject } from '../actions/update-project.ts';
import { countProjects, projectByName, projectPage } from '../db/read/projects.ts';
import { DEFAULT_METRIC_RETENTION } from '../domain/metric-retention.ts';
import { AFTER_DESCRIPTION, DEFAULT_PAGE_SIZE, FIRST_DESCRIPTION, LIST_SIZE, pageRequest, toConnection } from './connection.ts';
import type { GraphqlContext } from './context.ts';
import { withUserErrors } from './errors.ts';
import { ProjectConnection, ProjectType, RollUpEstimateType, UpdateProjectInput } from './project.type.ts';
import { UserErrorType } from './user-error.type.ts';

@ObjectType('UpdateProjectPayload', { description: 'What became of the settings of a project.' })
class UpdateProjectPayload {
  @Field(() => ProjectType, { nullable: true, description: 'The project, with its settings as they are now; null when there are errors.' })
  project!: ProjectType | null;

  @Field(() => Boolean, { description: 'Whether nothing was changed because that was asked for.' })
  dryRun!: boolean;

  @Field(() => RollUpEstimateType, { nullable: true, description: 'What is rolled up soon under these settings, because it is old enough already; null when there are errors, and when the project is so large that this cannot be counted in time: the settings hold all the same.' })
  rollUp!: RollUpEstimateType | null;

  @Field(() => [UserErrorType], { description: 'What is wrong with the input; nothing was changed when there is any.' })
  userErrors!: UserErrorType[];
}

@Resolver()
export class ProjectResolver {
  @Query(() => ProjectType, { nullable: true, description: 'A project by its name; null when no experiment names it.' })
  project(@Ctx() { database }: GraphqlContext, @Arg('name', () => String, { description: 'Its name.' }) name: string): Promise<ProjectType | null> {
    return projectByName(database, name);
  }

  @Directive(LIST_SIZE)
  @Query(() => ProjectConnection, { description: 'The projects that experiments name, by name.' })
  async projects(
    @Ctx() { database }: GraphqlContext,
    @Arg('first', () => Int, { nullable: true, defaultValue: DEFAULT_PAGE_SIZE, description: FIRST_DESCRIPTION }) first: number | null,
    @Arg('after', () => String, { nullable: true, description: AFTER_DESCRIPTION }) after: string | null,
  ) {
    const request = pageRequest(first, after);
    return toConnection(await projectPage(database, request), request, () => countProjects(database));
  }

  @Mutation(() => UpdateProjectPayload, { description: 'Sets for how long a project keeps every point of its metrics. Points are deleted little by little, some time after.' })
  updateProject(
    @Ctx() { actions, database }: GraphqlContext,
    @Arg('input', () => UpdateProjectInput, { description: 'The settings.' }) { project, metricRetention, dryRun }: UpdateProjectInput,
  ): Promise<UpdateProjectPayload> {
    const isDryRun = dryRun ?? false;
    return withUserErrors<Omit<UpdateProjectPayload, 'userErrors'>>({ project: null, dryRun: isDryRun, rollUp: null }, async () => {
      const { exactDays = null, pointsPerSeries } = metricRetention;
      const rollUp = await updateProject(actions, {
        project, dryRun: isDryRun, metricRetention: { exactDays, pointsPerSeries: pointsPerSeries ?? DEFAULT_METRIC_RETENTION.pointsPerSeries },
      });
      return { project: await projectByName(database, project), dryRun: isDryRun, rollUp };
    });
  }
}
