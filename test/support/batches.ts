/** Batches for tests of scripts and executors. */
import type { BatchSpec, TaskSpec } from '../../src/domain/batch.ts';
import type { JobIdentity, Resources } from '../../src/domain/job-spec.ts';

export const plainResources: Resources = {
  gpus: 0, gpuType: null, cpus: 1, memoryMiB: null, timeLimitMinutes: null, nodes: 1, partition: null, account: null, qos: null, sbatchOptions: {},
};

export function identityOf(identity: Partial<JobIdentity>): JobIdentity {
  return { command: ['true'], config: {}, environment: {}, workingDirectory: null, codeVersion: null, ...identity };
}

export function taskOf(rootDirectory: string, name: string, task: Partial<TaskSpec> = {}): TaskSpec {
  return {
    jobId: `id-${name}`, attemptNumber: 1, jobName: name, project: 'vision', experiment: 'resnet', jobDirectory: `${rootDirectory}/vision/resnet/id-${name}`,
    identity: identityOf({}), resumeCheckpointPath: null, tags: [], priority: 100, ...task,
  };
}

export function batchOf(rootDirectory: string, tasks: TaskSpec[], batch: Partial<BatchSpec> = {}): BatchSpec {
  return { token: 'eg-0123456789-resnet', rootDirectory, resources: plainResources, setupScript: null, tasks, ...batch };
}
