/** From a cluster's section of the configuration file to the settings that the other rooms read. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { resolveSshSettings } from './cluster/transport/ssh-config.ts';
import type { ClusterSettings, SshSettings } from './domain/cluster-settings.ts';
import { UserError } from './domain/errors.ts';
import { mergeResources, validateResources } from './domain/resources.ts';
import type { ReportFault } from './config-fields.ts';
import type { ClusterSection } from './config-file.ts';
import type { Environment } from './environment.ts';

/** Enough to keep a large allocation busy, few enough that one user's backlog stays in our queue, where priorities count. */
const SLURM_MAX_ACTIVE_JOBS = 2000;
/** One a second: what a person at a login node might type in a hurry. */
const DEFAULT_COMMANDS_PER_MINUTE = 60;
const POLL_SECONDS = { slurm: { min: 2, max: 30 }, local: { min: 0.2, max: 2 } };

/** Where clusters are resolved: what they fall back to and where faults go. */
export interface ClusterSurroundings {
  environment: Environment;
  dataDirectory: string;
  /** Makes `~/x` and relative paths absolute. */
  resolvePath: (path: string) => string;
  report: ReportFault;
}

/** The cluster that is there when none is configured: this machine. */
export function defaultLocalCluster(name: string, dataDirectory: string): ClusterSettings {
  return {
    name, kind: 'LOCAL', rootDirectory: join(dataDirectory, 'jobs'), defaultResources: {},
    maxActiveJobs: availableParallelism(), maxCommandsPerMinute: DEFAULT_COMMANDS_PER_MINUTE, setupScript: null,
    pollSecondsMin: POLL_SECONDS.local.min, pollSecondsMax: POLL_SECONDS.local.max,
    watch: true, submitGraceSeconds: 30, ssh: null,
  };
}

function resolveSsh(name: string, section: ClusterSection, { environment, resolvePath, report }: ClusterSurroundings): SshSettings | null {
  if (!section.ssh) return null;
  const { identityFile, knownHostsFile, configFile, ...request } = section.ssh;
  try {
    return resolveSshSettings(
      {
        ...request,
        identityFile: identityFile && resolvePath(identityFile),
        knownHostsFile: knownHostsFile && resolvePath(knownHostsFile),
        configFile: configFile && resolvePath(configFile),
      },
      { home: environment.homeDirectory, userName: environment.userName, agentSocket: environment.sshAgentSocket },
    );
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    for (const fault of error.faults) report(['clusters', name, 'ssh', ...fault.field], fault.message);
    return null;
  }
}

/** The defaults are checked as a submission that names nothing of its own; a GPU type also where the number is left to submissions. */
function reportDefaults(path: string[], { defaults }: ClusterSection, report: ReportFault): void {
  const gpus = defaults.gpus || (defaults.gpuType === undefined ? 0 : 1);
  for (const { field, message } of validateResources(mergeResources({ gpus }, defaults), [...path, 'defaults'])) report(field, message);
}

/** Settings of one cluster; contradictions between its fields are reported. */
export function clusterSettings(name: string, section: ClusterSection, surroundings: ClusterSurroundings): ClusterSettings {
  const { report, dataDirectory } = surroundings;
  const path = ['clusters', name];
  const poll = { ...POLL_SECONDS[section.kind], ...section.pollSeconds };
  if (poll.min > poll.max) report([...path, 'pollSeconds'], `min (${poll.min}) must not be above max (${poll.max})`);
  if (section.kind === 'local' && section.ssh) report([...path, 'ssh'], 'a local cluster is this machine; leave ssh out, or say kind: slurm');
  if (section.kind === 'slurm' && !section.rootDirectory) {
    report([...path, 'rootDirectory'], 'is required: an absolute directory on the cluster\'s shared file system, for example /scratch/you/expgraph');
  }
  reportDefaults(path, section, report);
  return {
    ...defaultLocalCluster(name, dataDirectory),
    kind: section.kind === 'slurm' ? 'SLURM' : 'LOCAL',
    ...(section.rootDirectory && { rootDirectory: section.rootDirectory }),
    defaultResources: section.defaults,
    maxActiveJobs: section.maxActiveJobs ?? (section.kind === 'slurm' ? SLURM_MAX_ACTIVE_JOBS : availableParallelism()),
    maxCommandsPerMinute: section.maxCommandsPerMinute ?? DEFAULT_COMMANDS_PER_MINUTE,
    setupScript: section.setupScript ?? null,
    pollSecondsMin: poll.min, pollSecondsMax: poll.max,
    watch: section.watch,
    submitGraceSeconds: section.submitGraceSeconds,
    ssh: section.kind === 'slurm' ? resolveSsh(name, section, surroundings) : null,
  };
}
