/** The last words of jobs that failed, as the programs and systems print them. */
import type { FailureEvidence } from '../../../src/domain/diagnosis/diagnose.ts';
import type { FailureClass } from '../../../src/domain/diagnosis/failure-class.ts';

export interface Sample {
  name: string;
  class: FailureClass;
  /** The line that must be quoted. */
  line: string;
  left: Partial<FailureEvidence>;
}

const pytorch = `Epoch 0:  12%|#2        | 120/1000 [00:41<05:02,  2.91it/s]\r
Traceback (most recent call last):
  File "/scratch/ada/repos/vision/train.py", line 214, in <module>
    main(cfg)
  File "/ext3/miniconda3/lib/python3.11/site-packages/torch/nn/functional.py", line 1858, in softmax
    ret = input.softmax(dim)
torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.25 GiB (GPU 0; 47.45 GiB total capacity; 44.12 GiB already allocated; 1.03 GiB free; 45.60 GiB reserved in total by PyTorch) If reserved memory is >> allocated memory try setting max_split_size_mb to avoid fragmentation.
srun: error: gr031: task 0: Exited with exit code 1
`;

export const SAMPLES: readonly Sample[] = [
  { name: 'PyTorch, CUDA', class: 'CUDA_OUT_OF_MEMORY', line: 'torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.25 GiB', left: { stderrTail: pytorch } },
  {
    name: 'PyTorch 2.6, one rank of several', class: 'CUDA_OUT_OF_MEMORY', line: '[rank3]: torch.OutOfMemoryError: CUDA out of memory.',
    left: { stderrTail: '[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 3 has a total capacity of 79.15 GiB\n[rank0]:[E1014 ProcessGroupNCCL.cpp:616] ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.\n' },
  },
  {
    name: 'JAX', class: 'CUDA_OUT_OF_MEMORY', line: 'jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes.',
    left: { stderrTail: '2024-03-01 10:11:12.345: W external/xla/xla/tsl/framework/bfc_allocator.cc:482] ****____\njaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes.\n' },
  },
  {
    name: 'TensorFlow', class: 'CUDA_OUT_OF_MEMORY', line: 'tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor with shape[256,512,56,56]',
    left: { stderrTail: 'tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor with shape[256,512,56,56] and type float on /job:localhost/replica:0/task:0/device:GPU:0\n' },
  },
  {
    name: 'slurmstepd, cgroup', class: 'HOST_OUT_OF_MEMORY', line: 'slurmstepd: error: Detected 1 oom_kill event in StepId=48213.batch. Some of the step tasks have been OOM Killed.',
    left: { exitCode: 137, signal: 9, stderrTail: '/var/spool/slurmd/job48213/slurm_script: line 31: 77120 Killed                  python train.py\nslurmstepd: error: Detected 1 oom_kill event in StepId=48213.batch. Some of the step tasks have been OOM Killed.\n' },
  },
  {
    name: 'older slurmstepd', class: 'HOST_OUT_OF_MEMORY', line: 'slurmstepd: error: Detected 1 oom-kill event(s) in step 1234.batch cgroup.',
    left: { stderrTail: 'slurmstepd: error: Detected 1 oom-kill event(s) in step 1234.batch cgroup. Some of your processes may have been killed by the cgroup out-of-memory handler.\n' },
  },
  {
    name: 'slurmstepd without cgroups', class: 'HOST_OUT_OF_MEMORY', line: 'slurmstepd: error: Job 99 exceeded memory limit (8391234 > 8388608), being killed',
    left: { state: 'CANCELLED', reason: 'cancelled: by user id 0', stderrTail: 'slurmstepd: error: Job 99 exceeded memory limit (8391234 > 8388608), being killed\nslurmstepd: error: *** JOB 99 ON n1 CANCELLED AT 2024-02-03T04:05:06 ***\n' },
  },
  {
    name: 'the kernel, and only the shell to say so', class: 'HOST_OUT_OF_MEMORY', line: 'run.sh: line 12: 31337 Killed                  python train.py',
    left: { exitCode: 137, signal: 9, stderrTail: 'loading data\nrun.sh: line 12: 31337 Killed                  python train.py\n' },
  },
  { name: 'NumPy', class: 'HOST_OUT_OF_MEMORY', line: 'numpy.core._exceptions._ArrayMemoryError: Unable to allocate 37.3 GiB', left: { stderrTail: 'numpy.core._exceptions._ArrayMemoryError: Unable to allocate 37.3 GiB for an array with shape (100000, 50000) and data type float64\n' } },
  { name: 'a data worker', class: 'HOST_OUT_OF_MEMORY', line: 'RuntimeError: DataLoader worker (pid 5471) is killed by signal: Killed.', left: { stderrTail: 'RuntimeError: DataLoader worker (pid 5471) is killed by signal: Killed. \n' } },
  {
    name: 'a bus error in shared memory', class: 'HOST_OUT_OF_MEMORY', line: 'ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).',
    left: { stderrTail: 'ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).\nRuntimeError: DataLoader worker (pid 5471) is killed by signal: Bus error.\n' },
  },
  { name: 'a loss printed', class: 'NAN_LOSS', line: 'Loss is nan, stopping training', left: { stdoutTail: 'Epoch: [3]  [ 40/625]  lr: 0.003  loss: 2.1\nLoss is nan, stopping training\n{}\n' } },
  { name: 'anomaly detection', class: 'NAN_LOSS', line: "RuntimeError: Function 'LogBackward0' returned nan values in its 0th output.", left: { stderrTail: "RuntimeError: Function 'LogBackward0' returned nan values in its 0th output.\n" } },
  { name: 'detectron2', class: 'NAN_LOSS', line: 'FloatingPointError: Loss became infinite or NaN at iteration=412!', left: { stderrTail: 'FloatingPointError: Loss became infinite or NaN at iteration=412!\n' } },
  { name: 'fairseq', class: 'NAN_LOSS', line: 'FloatingPointError: Minimum loss scale reached (0.0001). Your loss is probably exploding.', left: { stderrTail: 'FloatingPointError: Minimum loss scale reached (0.0001). Your loss is probably exploding. Try lowering the learning rate, using gradient clipping or increasing the batch size.\n' } },
  {
    name: 'the time limit, without accounting', class: 'TIME_LIMIT', line: 'slurmstepd: error: *** JOB 4711 ON gr012 CANCELLED AT 2024-05-06T07:08:09 DUE TO TIME LIMIT ***',
    left: { exitCode: 143, signal: 15, stderrTail: 'step 51000 loss 0.71\nslurmstepd: error: *** JOB 4711 ON gr012 CANCELLED AT 2024-05-06T07:08:09 DUE TO TIME LIMIT ***\n' },
  },
  { name: 'preemption, without accounting', class: 'PREEMPTED', line: 'slurmstepd: error: *** JOB 4711 ON gr012 CANCELLED AT 2024-05-06T07:08:09 DUE TO PREEMPTION ***', left: { stderrTail: 'slurmstepd: error: *** JOB 4711 ON gr012 CANCELLED AT 2024-05-06T07:08:09 DUE TO PREEMPTION ***\n' } },
  { name: 'srun on a dead node', class: 'NODE_FAILURE', line: 'srun: error: Node failure on gr012', left: { stderrTail: 'srun: error: Node failure on gr012\nsrun: Job step aborted: Waiting up to 32 seconds for job step to finish.\n' } },
  {
    name: 'NCCL', class: 'NODE_FAILURE', line: 'ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error.',
    left: { stderrTail: 'torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:1691, unhandled system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.19.3\nncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error. \n' },
  },
  { name: 'a broken GPU', class: 'NODE_FAILURE', line: 'RuntimeError: CUDA error: uncorrectable ECC error encountered', left: { stderrTail: 'RuntimeError: CUDA error: uncorrectable ECC error encountered\n' } },
  {
    name: 'Python', class: 'MODULE_NOT_FOUND', line: "ModuleNotFoundError: No module named 'hydra'",
    left: { stderrTail: "Traceback (most recent call last):\n  File \"train.py\", line 3, in <module>\n    import hydra\nModuleNotFoundError: No module named 'hydra'\n" },
  },
  { name: 'python -m', class: 'MODULE_NOT_FOUND', line: '/usr/bin/python3: No module named vision.train', left: { stderrTail: '/usr/bin/python3: No module named vision.train\n' } },
  {
    name: 'Lmod', class: 'MODULE_NOT_FOUND', line: 'Lmod has detected the following error:  The following module(s) are unknown:\n"cuda/99.9"',
    left: { stderrTail: 'Lmod has detected the following error:  The following module(s) are unknown:\n"cuda/99.9"\n\nPlease check the spelling or version number. Also try "module spider ..."\nIt is also possible your cache file is out-of-date; it may help to try:\n  $ module --ignore_cache load "cuda/99.9"\n' },
  },
  { name: 'Environment Modules', class: 'MODULE_NOT_FOUND', line: "ERROR: Unable to locate a modulefile for 'cuda/99'", left: { stderrTail: "ERROR: Unable to locate a modulefile for 'cuda/99'\n" } },
  { name: 'the loader', class: 'MODULE_NOT_FOUND', line: './train: error while loading shared libraries: libcudart.so.11.0:', left: { exitCode: 127, stderrTail: './train: error while loading shared libraries: libcudart.so.11.0: cannot open shared object file: No such file or directory\n' } },
  { name: 'bash', class: 'COMMAND_NOT_FOUND', line: 'bash: line 1: uv: command not found', left: { exitCode: 127, stderrTail: 'bash: line 1: uv: command not found\n' } },
  { name: 'env', class: 'COMMAND_NOT_FOUND', line: "env: 'pyhton': No such file or directory", left: { exitCode: 127, stderrTail: "env: 'pyhton': No such file or directory\n" } },
  { name: 'a container without the command', class: 'COMMAND_NOT_FOUND', line: 'FATAL:   "uv": executable file not found in $PATH', left: { exitCode: 255, stderrTail: 'FATAL:   "uv": executable file not found in $PATH\n' } },
  { name: 'a script that is not there', class: 'COMMAND_NOT_FOUND', line: "python3: can't open file '/scratch/ada/train.py': [Errno 2] No such file or directory", left: { exitCode: 2, stderrTail: "python3: can't open file '/scratch/ada/train.py': [Errno 2] No such file or directory\n" } },
  { name: 'Python, a file', class: 'PERMISSION_DENIED', line: "PermissionError: [Errno 13] Permission denied: '/scratch/bob/data.h5'", left: { stderrTail: "PermissionError: [Errno 13] Permission denied: '/scratch/bob/data.h5'\n" } },
  { name: 'bash, a script', class: 'PERMISSION_DENIED', line: '/bin/bash: ./run.sh: Permission denied', left: { exitCode: 126, stderrTail: '/bin/bash: ./run.sh: Permission denied\n' } },
  { name: 'writing into the overlay', class: 'PERMISSION_DENIED', line: "OSError: [Errno 30] Read-only file system: '/ext3/cache'", left: { stderrTail: "OSError: [Errno 30] Read-only file system: '/ext3/cache'\n" } },
  { name: 'a quota', class: 'DISK_QUOTA', line: "OSError: [Errno 122] Disk quota exceeded: '/home/ada/.cache/torch/x'", left: { stderrTail: "OSError: [Errno 122] Disk quota exceeded: '/home/ada/.cache/torch/x'\n" } },
  { name: 'a full disk', class: 'DISK_QUOTA', line: 'RuntimeError: [enforce fail at inline_container.cc:424] . PytorchStreamWriter failed writing file data/12: No space left on device', left: { stderrTail: 'RuntimeError: [enforce fail at inline_container.cc:424] . PytorchStreamWriter failed writing file data/12: No space left on device\n' } },
  {
    name: 'a shared overlay', class: 'CONTAINER', line: 'FATAL:   while loading overlay images: failed to open overlay image /scratch/ada/env.ext3: while locking ext3 partition from /scratch/ada/env.ext3: can\'t open /scratch/ada/env.ext3 for writing, currently in use by another process',
    left: { exitCode: 255, stderrTail: "FATAL:   while loading overlay images: failed to open overlay image /scratch/ada/env.ext3: while locking ext3 partition from /scratch/ada/env.ext3: can't open /scratch/ada/env.ext3 for writing, currently in use by another process\n" },
  },
  { name: 'a missing image', class: 'CONTAINER', line: 'FATAL:   could not open image /scratch/work/public/singularity/none.sif:', left: { exitCode: 255, stderrTail: 'FATAL:   could not open image /scratch/work/public/singularity/none.sif: failed to retrieve path for /scratch/work/public/singularity/none.sif: lstat /scratch/work/public/singularity/none.sif: no such file or directory\n' } },
  { name: 'pyxis', class: 'CONTAINER', line: 'slurmstepd: error: pyxis: failed to import docker image', left: { stderrTail: 'slurmstepd: error: pyxis: failed to import docker image\nslurmstepd: error: pyxis: printing enroot log file:\n' } },
  { name: 'sbatch', class: 'SUBMISSION_REFUSED', line: 'sbatch (exit code 1): error: Batch job submission failed: Invalid account or account/partition combination specified', left: { exitCode: null, reason: 'sbatch (exit code 1): error: Batch job submission failed: Invalid account or account/partition combination specified' } },
  { name: 'no GPU in sight', class: 'UNKNOWN', line: 'RuntimeError: No CUDA GPUs are available', left: { stderrTail: 'RuntimeError: No CUDA GPUs are available\n' } },
  {
    name: 'a fault of the program, under torchrun', class: 'UNKNOWN', line: "KeyError: 'label'",
    left: { stderrTail: "Traceback (most recent call last):\n  File \"train.py\", line 8, in <module>\nKeyError: 'label'\nERROR:torch.distributed.elastic.multiprocessing.api:failed (exitcode: 1) local_rank: 0 (pid: 91) of binary: /usr/bin/python\ntorch.distributed.elastic.multiprocessing.errors.ChildFailedError:\n============\ntrain.py FAILED\n" },
  },
  { name: 'nothing but an exit code', class: 'UNKNOWN', line: 'exit code 3', left: { exitCode: 3, reason: 'exit code 3' } },
  {
    name: 'a segmentation fault, of which only our own script tells', class: 'CRASHED', line: 'Segmentation fault',
    left: {
      exitCode: 139, signal: 11, reason: 'segmentation fault (signal 11)',
      errorText: 'The command was ended by signal 11.\n/scratch/ada/expgraph/batches/eg-1/script.sh: line 233: 4280 Segmentation fault      (core dumped) env "${expgraph_variables[@]}" "${expgraph_command[@]}"\n',
      stderrTail: '/scratch/ada/expgraph/batches/eg-1/script.sh: line 233: 4280 Segmentation fault      (core dumped) env "${expgraph_variables[@]}" "${expgraph_command[@]}"\n',
    },
  },
  {
    name: "Python's fault handler", class: 'CRASHED', line: 'Fatal Python error: Segmentation fault',
    left: {
      exitCode: 139, signal: 11, stderrTail: 'Fatal Python error: Segmentation fault\n\nCurrent thread 0x00007f (most recent call first):\n  File "/x/train.py", line 3 in step\n'
        + '/var/spool/slurmd/job48213/slurm_script: line 31: 77120 Segmentation fault env "${expgraph_variables[@]}" "${expgraph_command[@]}"\n',
    },
  },
  {
    name: 'a C++ exception', class: 'CRASHED', line: "terminate called after throwing an instance of 'std::runtime_error'\nwhat():  bad shard",
    left: { exitCode: 134, signal: 6, stderrTail: "terminate called after throwing an instance of 'std::runtime_error'\n  what():  bad shard\n" },
  },
  {
    name: 'torchrun, one rank', class: 'CRASHED', line: 'traceback : Signal 11 (SIGSEGV) received by PID 4711',
    left: { stderrTail: '  exitcode  : -11 (pid: 4711)\n  traceback : Signal 11 (SIGSEGV) received by PID 4711\n============\n' },
  },
  { name: 'an illegal instruction without a word', class: 'CRASHED', line: 'illegal instruction (signal 4)', left: { exitCode: 132, signal: 4, reason: 'illegal instruction (signal 4)' } },
  {
    name: 'memory, where only our own script tells', class: 'HOST_OUT_OF_MEMORY', line: 'Killed',
    left: { exitCode: 137, signal: 9, stderrTail: '/var/spool/slurmd/job48213/slurm_script: line 31: 77120 Killed                  env "${expgraph_variables[@]}" "${expgraph_command[@]}"\n' },
  },
];
