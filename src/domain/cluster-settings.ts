/** What the configuration says about one cluster: pure data, read by every room that must know a cluster's rules. */
import type { Resources } from './job-spec.ts';

export type ClusterKind = 'SLURM' | 'LOCAL';

/** One machine to reach over SSH, with `~/.ssh/config` aliases already resolved. */
export interface SshHost {
  host: string;
  port: number;
  user: string;
  /** Private key file, or null to use the agent only. */
  identityFile: string | null;
  /** Socket of the SSH agent, or null. */
  agentSocket: string | null;
  knownHostsFiles: string[];
}

export interface SshSettings extends SshHost {
  /** Hosts to pass through, in order, as ProxyJump does; empty for a direct connection. */
  jumps: SshHost[];
  connectTimeoutSeconds: number;
  /** sshd allows 10 sessions on a connection (MaxSessions); we stay below. */
  maxChannels: number;
}

export interface ClusterSettings {
  name: string;
  kind: ClusterKind;
  /** Absolute directory on the cluster below which every job directory lies. */
  rootDirectory: string;
  /** Used where a job names no value of its own. */
  defaultResources: Partial<Resources>;
  /** Most jobs SUBMITTING, PENDING or RUNNING at once; the rest waits in our queue, highest priority first. */
  maxActiveJobs: number;
  /** Most commands of the scheduler in any minute, of all kinds together; those above wait for their turn. */
  maxCommandsPerMinute: number;
  /** Shell lines run before every command (`module load ...`), written by whoever owns the configuration; or null. */
  setupScript: string | null;
  /** How often the queue is asked, in seconds: at the least while things change, at the most when idle. */
  pollSecondsMin: number;
  pollSecondsMax: number;
  /** Whether a small program may run on the machine for as long as we are connected, to tell at once what jobs write. Else everything is polled. */
  watch: boolean;
  /** How long a just-submitted batch may be invisible before it counts as never submitted. */
  submitGraceSeconds: number;
  /** Null: the SLURM commands run on this machine. */
  ssh: SshSettings | null;
}

/** Bounds on what one request may ask for. */
export interface SubmissionLimits {
  /** Most jobs one sweep may expand to. */
  maxJobsPerSweep: number;
  /** Most bytes of one job's configuration as JSON. */
  maxConfigBytes: number;
}
