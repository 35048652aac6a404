/** The kinds of failure that are told apart, and what usually helps against each. */
export const FAILURE_CLASSES = [
  'CUDA_OUT_OF_MEMORY', 'HOST_OUT_OF_MEMORY', 'NAN_LOSS', 'TIME_LIMIT', 'NODE_FAILURE', 'PREEMPTED',
  'MODULE_NOT_FOUND', 'COMMAND_NOT_FOUND', 'PERMISSION_DENIED', 'DISK_QUOTA', 'CONTAINER', 'CRASHED',
  'SUBMISSION_REFUSED', 'SITE_RULE', 'CANCELLED', 'LOST', 'UNKNOWN',
] as const;
export type FailureClass = (typeof FAILURE_CLASSES)[number];

/** A rule may know better (see `FailureRule.advice`). */
export const ADVICE: Readonly<Record<FailureClass, string>> = {
  CUDA_OUT_OF_MEMORY: 'Halve the batch size and double the gradient accumulation (the effective batch stays the same), use mixed precision, or share the GPU with fewer processes.',
  HOST_OUT_OF_MEMORY: 'Ask for more memory (memoryMiB), or load less at once: fewer data workers, less prefetching, no data set kept in memory.',
  NAN_LOSS: 'Clip the gradients and halve the learning rate; if it comes back at the same step, look at the data of that step and at the loss scaling.',
  TIME_LIMIT: 'Retry: a job that writes checkpoints goes on from its last complete one. Otherwise raise the time limit, up to that of the partition.',
  NODE_FAILURE: 'Retry, without the node that failed (sbatchOptions.exclude); the fault was not in the job. Tell the site if the same node fails again.',
  PREEMPTED: 'Retry: a job that writes checkpoints goes on from its last complete one. A partition or QOS that is not preemptible avoids it.',
  MODULE_NOT_FOUND: 'Activate the environment that has it. Inside Singularity the usual cause is a forgotten activation of the venv (source /ext3/env.sh) before the command.',
  COMMAND_NOT_FOUND: 'Check the spelling and the PATH of the job. Inside Singularity the usual cause is a forgotten activation of the venv (source /ext3/env.sh); outside, a missing module load (setupScript).',
  PERMISSION_DENIED: 'Check who owns the file that the evidence names and its mode (chmod +x for a script), and write only below the job directory.',
  DISK_QUOTA: 'Free space or inodes where the evidence says (checkpoints, caches in the home directory), or write below a file system with more room such as /scratch.',
  CONTAINER: 'Check that the image and the overlay exist on the compute node and can be read from there.',
  CRASHED: 'A compiled part of the program made a fault, not your Python code. Set PYTHONFAULTHANDLER=1 in the environment to see where; look for libraries that do not fit each other, the driver or the CPU of the node, and for a full /dev/shm after a bus error.',
  SUBMISSION_REFUSED: 'Mend what the cluster complains of (account, partition, QOS, limits), then retry.',
  SITE_RULE: 'Read the evidence; a rule of this site knows it.',
  CANCELLED: 'It was ended from outside by root: an administrator, or a limit that the system enforces. Ask the site why, or retry.',
  LOST: 'Look at the job directory on the cluster for what it left, then retry.',
  UNKNOWN: 'Read the evidence and the log, mend the cause, then retry.',
};
