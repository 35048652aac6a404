import { Arg, Ctx, Directive, FieldResolver, Int, Query, Resolver, Root } from 'type-graphql';
import { allClusters, type ClusterState } from '../db/read/clusters.ts';
import { ClusterType } from './cluster.type.ts';
import type { GraphqlContext } from './context.ts';

@Resolver(() => ClusterType)
export class ClusterResolver {
  @Directive('@listSize(assumedSize: 5)')
  @Query(() => [ClusterType], { description: 'Every cluster that is configured or that jobs ran on, by name.' })
  clusters(@Ctx() { database, actions }: GraphqlContext) {
    return allClusters(database, actions.clusters);
  }

  @Query(() => ClusterType, { nullable: true, description: 'A cluster by its name; null when there is none.' })
  cluster(@Ctx() { loaders }: GraphqlContext, @Arg('name', () => String, { description: 'Its name in the configuration.' }) name: string) {
    return loaders.clusterByName.load(name);
  }

  @FieldResolver(() => Int, { nullable: true, description: "Jobs of anybody in its queue; null while it has not told." })
  pendingJobs(@Root() cluster: ClusterState) {
    return cluster.pendingJobCount;
  }

  @FieldResolver(() => Int, { nullable: true, description: 'Jobs of anybody that run; null while it has not told.' })
  runningJobs(@Root() cluster: ClusterState) {
    return cluster.runningJobCount;
  }
}
