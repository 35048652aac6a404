/**
 * What failures look like, as data. The first rule that holds wins, so each list goes from the most specific to the most
 * general: SLURM's own state (it measured), then the rules of the site, then the text of the logs, then bare exit codes.
 */
import type { FailureRule } from './failure-rule.ts';

/** What SLURM itself says; the text is then only asked for a line to quote. */
export const STATE_RULES: readonly FailureRule[] = [
  { class: 'HOST_OUT_OF_MEMORY', patterns: [], states: ['OUT_OF_MEMORY'] },
  { class: 'TIME_LIMIT', patterns: [], states: ['TIMEOUT'] },
  { class: 'TIME_LIMIT', patterns: [], states: ['DEADLINE'], advice: 'Submit it earlier, or with a later deadline or a shorter time limit.' },
  { class: 'NODE_FAILURE', patterns: [], states: ['NODE_FAIL', 'BOOT_FAIL'] },
  { class: 'PREEMPTED', patterns: [], states: ['PREEMPTED'] },
  { class: 'LOST', patterns: [], states: ['LOST'] },
];

/** What slurmstepd and srun write into the log: as good as a state, for sites whose accounting does not tell. */
const SLURM_TEXT_RULES: readonly FailureRule[] = [
  { class: 'TIME_LIMIT', patterns: [/\bDUE TO TIME LIMIT\b/, /^(?:exit code \d+|killed by signal \d+|[a-z ]+ \(signal \d+\)) after the warning before its time limit$/] },
  { class: 'PREEMPTED', patterns: [/\bDUE TO PREEMPTION\b/] },
  { class: 'NODE_FAILURE', patterns: [/\bDUE TO NODE FAILURE\b/, /srun: error: Node failure on /] },
  {
    class: 'HOST_OUT_OF_MEMORY',
    patterns: [
      /[Dd]etected \d+ oom[-_]kill event/, /oom[-_]kill(?:er)?\b.*\b(?:task|process|cgroup)/, /srun: error: .*: Out Of Memory/,
      /slurmstepd: error: .*[Ee]xceeded (?:job |step |virtual )?memory limit/, /Memory cgroup out of memory/,
    ],
  },
  {
    class: 'SUBMISSION_REFUSED',
    patterns: [/^sbatch(?: \([^)]*\))?: /, /sbatch: error: Batch job submission failed/],
    states: ['FAILED'],
  },
];

const GPU_RULES: readonly FailureRule[] = [
  {
    class: 'CUDA_OUT_OF_MEMORY',
    patterns: [
      /(?:CUDA|HIP) out of memory/, /torch(?:\.cuda)?\.OutOfMemoryError/, /CUDA error: out of memory/, /CUDA_ERROR_OUT_OF_MEMORY/, /cudaErrorMemoryAllocation/,
      /RESOURCE_EXHAUSTED: (?:Out of memory|.*OOM when allocating)/, /OOM when allocating tensor/, /XlaRuntimeError: RESOURCE_EXHAUSTED/,
      /CU(?:DNN|BLAS)_STATUS_ALLOC_FAILED/,
    ],
  },
  {
    class: 'NODE_FAILURE',
    patterns: [
      /uncorrectable (?:NVLink|ECC) error/i, /CUDA error: .*(?:ECC|hardware stack error|device-side.*hang)/, /GPU is lost/, /fallen off the bus/, /NVRM: Xid/,
      /NCCL (?:error|failure).*(?:unhandled system error|remote process)/i, /ncclSystemError|ncclRemoteError/, /Stale file handle/, /Transport endpoint is not connected/,
    ],
    advice: 'Retry, without the node that it ran on (sbatchOptions.exclude): a GPU, the network or a file system of the node is at fault. If other nodes show the same, look at what all ranks wrote: one that died makes the rest fail so.',
  },
  {
    class: 'UNKNOWN',
    patterns: [/no CUDA-capable device is detected/, /No CUDA GPUs are available/, /Found no NVIDIA driver on your system/, /Torch not compiled with CUDA enabled/],
    advice: 'The job sees no GPU: ask for one (resources.gpus), start Singularity with --nv, and install a build of the framework with CUDA.',
  },
];

const TRAINING_RULES: readonly FailureRule[] = [
  {
    class: 'NAN_LOSS',
    patterns: [
      /\bloss(?:es)? (?:is|are|was|were|became|has become|becomes) (?:infinite or )?(?:nan|inf|infinite|non-?finite)\b/i, /\bnan (?:or inf(?:inite)? )?loss\b/i,
      /(?:NaN|nan|non-?finite) (?:loss|gradient)/i, /Function '\w+' returned nan values/, /Minimum loss scale reached/, /gradient norm is (?:nan|inf)/i, /gradient explo(?:sion|ded)/i,
      /\bloss\b[^\n]{0,40}\bis not finite\b/i, /FloatingPointError: .*(?:nan|infinite)/i,
    ],
  },
  {
    class: 'DISK_QUOTA',
    patterns: [/Disk quota exceeded/i, /\[Errno 122\]/, /No space left on device/, /\[Errno 28\]/, /quota exceeded/i],
  },
];

const ENVIRONMENT_RULES: readonly FailureRule[] = [
  {
    class: 'CONTAINER',
    patterns: [/while loading overlay images?.*(?:in use|lock)/, /overlay.*currently in use by another process/, /while locking ext3 partition/],
    advice: 'The overlay is open for writing elsewhere. Mount it read-only (--overlay env.ext3:ro): several processes can share it only so.',
  },
  {
    class: 'MODULE_NOT_FOUND',
    patterns: [/The following module\(s\) are unknown/],
    quotedLines: 2,
    advice: 'The cluster has no environment module of this name: look it up with `module spider`, and mend the setupScript or the command.',
  },
  {
    class: 'MODULE_NOT_FOUND',
    patterns: [/Unable to locate a modulefile for/],
    advice: 'The cluster has no environment module of this name: look it up with `module avail`, and mend the setupScript or the command.',
  },
  { class: 'MODULE_NOT_FOUND', patterns: [/No module named /] },
  {
    class: 'MODULE_NOT_FOUND',
    patterns: [/error while loading shared libraries: /, /(?:ImportError|OSError): .*cannot open shared object file/],
    advice: 'A library is not on this node: load its module (setupScript), or run in the container or environment that has it.',
  },
  {
    class: 'COMMAND_NOT_FOUND',
    patterns: [/executable file not found in \$PATH/, /: command not found/, /\bnot found: \S+ in PATH/, /^(?:\/usr\/bin\/)?env: .*No such file or directory/, /execve\(\): .*No such file or directory/],
  },
  {
    class: 'COMMAND_NOT_FOUND',
    patterns: [/^\S*python[\d.]*: can't open file /],
    advice: 'The script is not where the command looks for it: set workingDirectory, or give its absolute path.',
  },
  {
    class: 'CONTAINER',
    patterns: [/^FATAL: {2,}/, /slurmstepd: error: pyxis: (?!printing|importing)/, /^\[?(?:ERROR|FATAL)\]? .*enroot/, /singularity: .*(?:could not open image|image .* not found)/i],
  },
];

const HOST_RULES: readonly FailureRule[] = [
  {
    class: 'HOST_OUT_OF_MEMORY',
    patterns: [/insufficient shared memory \(shm\)/, /unable to (?:open|write to) (?:shared memory object|file <\/torch_)/i],
    advice: 'The data workers ran out of shared memory (/dev/shm): use fewer of them (num_workers), or share tensors by file_system.',
  },
  {
    class: 'HOST_OUT_OF_MEMORY',
    patterns: [
      /\b(?:_?Array)?MemoryError\b/, /DefaultCPUAllocator: can't allocate memory/, /DataLoader worker .*is killed by signal: Killed/, /DataLoader worker .*exited unexpectedly/,
      /std::bad_alloc/, /Cannot allocate memory/, /java\.lang\.OutOfMemoryError/, /OutOfMemory.*(?:Ray|worker)/,
    ],
  },
  // Sites without memory cgroups: the kernel killed it, and only the shell was left to say so.
  { class: 'HOST_OUT_OF_MEMORY', patterns: [/^Killed$/, /: line \d+: +\d+ Killed\b/, /\bOut of memory: Kill/], signals: [9] },
  { class: 'HOST_OUT_OF_MEMORY', patterns: [/\bKilled\b/, /\bOut of memory\b/], states: ['CANCELLED'] },
  {
    class: 'PERMISSION_DENIED',
    patterns: [/Read-only file system/],
    advice: 'Write below the job directory or on /scratch: an overlay that is mounted :ro, and the image itself, take no files.',
  },
  { class: 'PERMISSION_DENIED', patterns: [/\bPermissionError\b/, /Permission denied/i] },
];

/** What programs and systems print when a program dies of a fault of its own, the most telling first. */
const CRASH_RULES: readonly FailureRule[] = [
  {
    class: 'CRASHED',
    patterns: [
      /^Fatal Python error: (?:Segmentation fault|Bus error|Aborted|Illegal instruction|Floating.point exception)/, /\bSignal \d+ \(SIG(?:SEGV|BUS|ABRT|ILL|FPE)\) received\b/,
      /^(?:double free|free\(\): invalid|malloc\(\)|corrupted (?:size|double-linked list)|munmap_chunk\(\))/, /\*\*\* stack smashing detected \*\*\*/,
    ],
  },
  { class: 'CRASHED', patterns: [/^terminate called /], quotedLines: 2 },
  { class: 'CRASHED', patterns: [/^(?:Segmentation fault|Bus error|Aborted|Illegal instruction|Floating point exception)(?: \(core dumped\))?$/] },
  // SIGILL, SIGABRT, SIGBUS, SIGFPE and SIGSEGV.
  { class: 'CRASHED', patterns: [], signals: [4, 6, 7, 8, 11] },
];

/** Where no line is known, how it ended; last, the line that tells most. */
const LAST_RULES: readonly FailureRule[] = [
  { class: 'COMMAND_NOT_FOUND', patterns: [], exitCodes: [127] },
  { class: 'PERMISSION_DENIED', patterns: [], exitCodes: [126], advice: 'The command was found but cannot be executed: chmod +x, or name its interpreter.' },
  { class: 'CANCELLED', patterns: [], states: ['CANCELLED'] },
  {
    class: 'UNKNOWN', patterns: [], signals: [9],
    advice: 'It was killed from outside and nothing says by whom. Most often that is a memory limit: compare maxRssBytes with the memory it asked for.',
  },
  { class: 'UNKNOWN', patterns: [/^(?!.*ChildFailedError)(?:\[rank\d+\]: ?)?(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b/] },
  { class: 'UNKNOWN', patterns: [] },
];

/** What the text and the exit say, where SLURM's state and the rules of the site do not. The last one always holds. */
export const TEXT_RULES: readonly FailureRule[] = [
  ...SLURM_TEXT_RULES, ...GPU_RULES, ...TRAINING_RULES, ...ENVIRONMENT_RULES, ...HOST_RULES, ...CRASH_RULES, ...LAST_RULES,
];
