/** What the clusters look like, and the text of their slurm.conf, gres.conf and cgroup.conf. */

/** One cluster's shape: everything about it that is chosen, not found out. */
export interface ClusterShape {
  name: string;
  nodes: string[];
  /** GPUs of one type on each of the named nodes. */
  gpus: { type: string; perNode: number; nodes: string[] };
  /** `slurm.conf` partition lines without the word PartitionName. */
  partitions: string[];
  defaultPartition: string;
  maxArraySize: number;
  /** ALL refuses a job that asks for more than the partition allows; NO leaves it pending with a reason. */
  enforcePartitionLimits: 'ALL' | 'NO';
  /** Real memory limits, hence real OUT_OF_MEMORY, where this machine has version 1 control groups. */
  wantsControlGroups: boolean;
  /** Time zone of logins: clusters do not print times in ours. */
  timeZone: string;
  /** False: no slurmdbd, so that sacct knows nothing. */
  keepsAccounts: boolean;
  /** Whether jobs of a partition with a higher PriorityTier push out those of a lower one, as each partition says. */
  preempts: boolean;
  /** A partition whose jobs fail in the prolog, if there is one. */
  brokenPartition?: string;
}

export const CLUSTER_SHAPES: readonly ClusterShape[] = [
  {
    name: 'alpha',
    nodes: ['a1', 'a2', 'a3', 'a4'],
    gpus: { type: 'rtx8000', perNode: 2, nodes: ['a1', 'a2', 'a3', 'a4'] },
    partitions: [
      'gpu Nodes=a[1-4] Default=YES DefaultTime=10 MaxTime=2-00:00:00 State=UP',
      'short Nodes=a[1-4] DefaultTime=1 MaxTime=2 State=UP',
    ],
    defaultPartition: 'gpu',
    maxArraySize: 1001,
    enforcePartitionLimits: 'ALL',
    wantsControlGroups: false,
    timeZone: 'UTC0',
    keepsAccounts: true,
    preempts: false,
  },
  {
    name: 'beta',
    nodes: ['b1', 'b2', 'b3'],
    gpus: { type: 'a100', perNode: 4, nodes: ['b1', 'b2'] },
    partitions: [
      'gpu Nodes=b[1-2] Default=YES DefaultTime=10 MaxTime=1-00:00:00 State=UP',
      'cpu Nodes=b3 DefaultTime=10 MaxTime=4:00:00 State=UP',
    ],
    defaultPartition: 'gpu',
    maxArraySize: 21,
    enforcePartitionLimits: 'NO',
    wantsControlGroups: true,
    timeZone: 'EST5',
    keepsAccounts: true,
    preempts: false,
  },
];

/** For tests of how jobs end: nodes to kill, partitions that push each other's jobs out, a prolog that fails; and a site without accounting. */
export const ENDS_SHAPES: readonly ClusterShape[] = [
  {
    name: 'delta',
    nodes: ['d1', 'd2', 'd3', 'd4', 'd5'],
    gpus: { type: 'rtx8000', perNode: 1, nodes: ['d1'] },
    partitions: [
      'gpu Nodes=d1 Default=YES DefaultTime=10 MaxTime=1-00:00:00 State=UP PreemptMode=OFF',
      'dying Nodes=d[2-3] DefaultTime=10 MaxTime=1-00:00:00 State=UP PreemptMode=OFF',
      'low Nodes=d4 DefaultTime=10 MaxTime=1-00:00:00 State=UP PriorityTier=1 PreemptMode=REQUEUE',
      'scavenge Nodes=d4 DefaultTime=10 MaxTime=1-00:00:00 State=UP PriorityTier=1 PreemptMode=CANCEL',
      'urgent Nodes=d4 DefaultTime=10 MaxTime=1-00:00:00 State=UP PriorityTier=10 PreemptMode=OFF',
      'broken Nodes=d5 DefaultTime=10 MaxTime=1-00:00:00 State=UP PreemptMode=OFF',
    ],
    defaultPartition: 'gpu',
    maxArraySize: 1001,
    enforcePartitionLimits: 'NO',
    wantsControlGroups: true,
    timeZone: 'UTC0',
    keepsAccounts: true,
    preempts: true,
    brokenPartition: 'broken',
  },
  {
    name: 'gamma',
    nodes: ['g1', 'g2'],
    gpus: { type: 'a100', perNode: 1, nodes: ['g1'] },
    partitions: ['gpu Nodes=g[1-2] Default=YES DefaultTime=10 MaxTime=1-00:00:00 State=UP'],
    defaultPartition: 'gpu',
    maxArraySize: 1001,
    enforcePartitionLimits: 'ALL',
    wantsControlGroups: false,
    timeZone: 'UTC0',
    keepsAccounts: false,
    preempts: false,
  },
];

/** Every cluster that a rig may have. */
export const ALL_SHAPES: readonly ClusterShape[] = [...CLUSTER_SHAPES, ...ENDS_SHAPES];

/** Where one cluster's files and ports are on this machine. */
export interface ClusterPlace {
  folder: string;
  hostname: string;
  mungeSocket: string;
  slurmdbdPort: number;
  controllerPort: number;
  /** A port for each node, in the shape's order. */
  nodePorts: number[];
  usesControlGroups: boolean;
  firstJobId: number;
}

/** Promised CPUs: many more than the machine has, so that dozens of one-CPU jobs run at once. */
const CPUS_PER_NODE = 64;
const MEMORY_MIB_PER_NODE = 65_536;
/** A node counts as down after this long without an answer: short for tests, long enough for a busy machine. */
const NODE_TIMEOUT_SECONDS = 15;

export function slurmConf(shape: ClusterShape, place: ClusterPlace): string {
  const nodeLines = shape.nodes.map((node, index) => {
    const gres = shape.gpus.nodes.includes(node) ? ` Gres=gpu:${shape.gpus.type}:${shape.gpus.perNode}` : '';
    return `NodeName=${node} NodeAddr=127.0.0.1 NodeHostname=${place.hostname} Port=${place.nodePorts[index]} CPUs=${CPUS_PER_NODE} Boards=1 SocketsPerBoard=1`
      + ` CoresPerSocket=${CPUS_PER_NODE} ThreadsPerCore=1 RealMemory=${MEMORY_MIB_PER_NODE}${gres} State=UNKNOWN`;
  });
  return [
    `ClusterName=${shape.name}`,
    `SlurmctldHost=${place.hostname}(127.0.0.1)`,
    'SlurmUser=root',
    `SlurmctldPort=${place.controllerPort}`,
    `AuthInfo=socket=${place.mungeSocket}`,
    'CommunicationParameters=NoCtldInAddrAny,NoInAddrAny',
    `StateSaveLocation=${place.folder}/state`,
    `SlurmdSpoolDir=${place.folder}/spool/%n`,
    `SlurmctldPidFile=${place.folder}/slurmctld.pid`,
    `SlurmdPidFile=${place.folder}/slurmd.%n.pid`,
    `SlurmctldLogFile=${place.folder}/slurmctld.log`,
    `SlurmdLogFile=${place.folder}/slurmd.%n.log`,
    'MailProg=/bin/true',
    'MpiDefault=none',
    'GresTypes=gpu',
    'SelectType=select/cons_tres',
    'SelectTypeParameters=CR_Core_Memory',
    'DefMemPerCPU=100',
    'SlurmdParameters=config_overrides',
    'SchedulerType=sched/backfill',
    'SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,bf_interval=2',
    ...(shape.preempts ? ['PreemptType=preempt/partition_prio', 'PreemptMode=REQUEUE'] : ['PreemptMode=OFF']),
    ...(shape.brokenPartition === undefined ? [] : [`Prolog=${place.folder}/prolog`]),
    'JobRequeue=1',
    'ReturnToService=2',
    'KillWait=5',
    'OverTimeLimit=0',
    `FirstJobId=${place.firstJobId}`,
    'MinJobAge=300',
    // Ended jobs count for MinJobAge: the bench of the poll leaves 10,000 behind.
    'MaxJobCount=60000',
    `MaxArraySize=${shape.maxArraySize}`,
    `EnforcePartLimits=${shape.enforcePartitionLimits}`,
    `SlurmdTimeout=${NODE_TIMEOUT_SECONDS}`,
    'SlurmctldTimeout=30',
    'MessageTimeout=30',
    `ProctrackType=proctrack/${place.usesControlGroups ? 'cgroup' : 'linuxproc'}`,
    `TaskPlugin=task/${place.usesControlGroups ? 'cgroup' : 'none'}`,
    'JobAcctGatherType=jobacct_gather/linux',
    'JobAcctGatherFrequency=task=5',
    ...(shape.keepsAccounts ? accountingLines(shape, place) : ['AccountingStorageType=accounting_storage/none']),
    ...nodeLines,
    ...shape.partitions.map((line) => `PartitionName=${line}`),
    '',
  ].join('\n');
}

function accountingLines(shape: ClusterShape, place: ClusterPlace): string[] {
  return [
    'AccountingStorageType=accounting_storage/slurmdbd',
    'AccountingStorageHost=127.0.0.1',
    `AccountingStoragePort=${place.slurmdbdPort}`,
    `AccountingStoragePass=${place.mungeSocket}`,
    'AccountingStorageEnforce=associations,limits,qos',
    `AccountingStorageTRES=gres/gpu,gres/gpu:${shape.gpus.type}`,
  ];
}

/** Runs on the node before each job. */
export function prolog(brokenPartition: string): string {
  return `#!/bin/sh\n[ "$SLURM_JOB_PARTITION" != ${brokenPartition} ]\n`;
}

export function gresConf(shape: ClusterShape, deviceFolder: string): string {
  const { nodes, type, perNode } = shape.gpus;
  return nodes.map((node) => `NodeName=${node} Name=gpu Type=${type} File=${deviceFolder}/gpu[0-${perNode - 1}]\n`).join('');
}

/** Memory is constrained for real; the swap limit is not in every kernel and not needed. */
export const CGROUP_CONF = [
  'CgroupPlugin=cgroup/v1',
  'CgroupMountpoint=/sys/fs/cgroup',
  'CgroupAutomount=no',
  'ConstrainRAMSpace=yes',
  'ConstrainSwapSpace=no',
  '',
].join('\n');
