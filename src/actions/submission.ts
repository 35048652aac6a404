/** What a submission is asked with and answered with. */
import type { JsonObject, Objective } from '../domain/job-spec.ts';
import type { PriorityRule } from '../domain/priority-rule.ts';
import type { RetryRuleInput } from '../domain/retry-policy.ts';
import type { RequestedResources } from '../domain/resources.ts';
import type { JobState } from '../domain/states.ts';
import type { SweepSpace } from '../domain/sweep.ts';

/** SKIP: known jobs are only reported. ERROR: one known job refuses the whole submission. RUN_AGAIN: they run once more. */
export type OnDuplicate = 'SKIP' | 'ERROR' | 'RUN_AGAIN';

/** What all jobs of a submission share. Null means the same as absent. */
export interface JobTemplateInput {
  project: string;
  /** Made when the project has none of this name. */
  experiment: string;
  /** Absent: the default cluster. */
  cluster?: string | null;
  /** argv template; see JobIdentity. */
  command: string[];
  environment?: Record<string, string> | null;
  workingDirectory?: string | null;
  codeVersion?: string | null;
  resources?: RequestedResources | null;
  tags?: string[] | null;
  /** 0-1000, higher first; 100 when absent. */
  priority?: number | null;
  /** True: the jobs wait until they are released. */
  held?: boolean | null;
  /** SKIP when absent. */
  onDuplicate?: OnDuplicate | null;
  /** True: answers what would happen and touches nothing. */
  dryRun?: boolean | null;
  /** The same input under the same key is done once and answered as often as it is asked. */
  idempotencyKey?: string | null;
  /** Set on the experiment when it has none. */
  objective?: Objective | null;
  /** Which failures are tried again by themselves. Absent: the policy of the site; empty: none. */
  retryPolicy?: RetryRuleInput[] | null;
}

export interface SubmitJobInput extends JobTemplateInput {
  /** Absent: made of the configuration. */
  name?: string | null;
  config: JsonObject;
}

export interface SubmitSweepInput extends JobTemplateInput {
  name: string;
  space: SweepSpace;
  /** The first rule that matches a job's configuration gives its priority. */
  priorityRules?: PriorityRule[] | null;
  /** Config keys; each adds the tag `key=value` to the jobs that have the key. */
  tagKeys?: string[] | null;
}

export interface PlannedJob {
  /** Null in a dry run. */
  jobId: string | null;
  name: string;
  config: JsonObject;
  tags: string[];
  priority: number;
  fingerprint: string;
  /** The job directory on the cluster. In a dry run it ends in a placeholder. */
  storagePath: string;
}

export interface DuplicateJob {
  name: string;
  config: JsonObject;
  fingerprint: string;
  /** Null when the job stands twice in this same submission. */
  existingJobId: string | null;
  existingState: JobState | null;
}

export interface RenderedScript {
  cluster: string;
  script: string;
  taskCount: number;
}

export interface SubmissionAnswer {
  /** Null in a dry run of an experiment that does not exist yet. */
  experimentId: string | null;
  /** Null for a single job, in a dry run, and where a sweep came to no new jobs and the known ones are not all of one sweep. */
  sweepId: string | null;
  /** New jobs, in the order of the space. */
  jobs: PlannedJob[];
  duplicates: DuplicateJob[];
  /** In a dry run the scripts that would be submitted, with placeholders for ids; else empty. */
  scripts: RenderedScript[];
  dryRun: boolean;
}
