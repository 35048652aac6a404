import type { UserFault } from './errors.ts';
import type { Resources } from './job-spec.ts';
import { validateSbatchOptions } from './sbatch-options.ts';

/** What a submission says about resources; null and absent both mean "nothing said". */
export type RequestedResources = { [Name in keyof Resources]?: Resources[Name] | null };

const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_.+@-]*$/;
/** SLURM takes several partitions and starts the job where it can start first. */
const PARTITIONS_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_.+@-]*(?:,[A-Za-z0-9][A-Za-z0-9_.+@-]*)*$/;
const MAX_NAME_LENGTH = 128;

/** Far beyond any machine: a number outside is a slip of the unit. */
const RANGES = {
  gpus: { min: 0, max: 64, unit: 'GPUs on each node' },
  cpus: { min: 1, max: 4096, unit: 'CPU cores' },
  memoryMiB: { min: 1, max: 64 * 1024 * 1024, unit: 'MiB of memory on each node' },
  timeLimitMinutes: { min: 1, max: 366 * 24 * 60, unit: 'minutes' },
  nodes: { min: 1, max: 100_000, unit: 'nodes' },
} as const;

const NAMES = ['gpuType', 'partition', 'account', 'qos'] as const;

/** What was asked for, filled up from the cluster's defaults; single sbatch options override single defaults. */
export function mergeResources(requested: RequestedResources, defaults: Partial<Resources>): Resources {
  const gpus = requested.gpus ?? defaults.gpus ?? 0;
  const sbatchOptions = { ...defaults.sbatchOptions, ...requested.sbatchOptions };
  const memoryBySbatchOption = Object.keys(requested.sbatchOptions ?? {}).some(isMemoryOption);
  if (requested.memoryMiB !== undefined && requested.memoryMiB !== null) {
    for (const option of Object.keys(sbatchOptions)) {
      if (isMemoryOption(option) && !Object.hasOwn(requested.sbatchOptions ?? {}, option)) delete sbatchOptions[option];
    }
  }
  return {
    gpus,
    gpuType: requested.gpuType ?? (gpus > 0 ? defaults.gpuType ?? null : null),
    cpus: requested.cpus ?? defaults.cpus ?? 1,
    memoryMiB: requested.memoryMiB ?? (memoryBySbatchOption ? null : defaults.memoryMiB ?? null),
    timeLimitMinutes: requested.timeLimitMinutes ?? defaults.timeLimitMinutes ?? null,
    nodes: requested.nodes ?? defaults.nodes ?? 1,
    partition: requested.partition ?? defaults.partition ?? null,
    account: requested.account ?? defaults.account ?? null,
    qos: requested.qos ?? defaults.qos ?? null,
    sbatchOptions,
  };
}

/** Faults of merged resources (a partition may be several, separated by commas): numbers out of range, names SLURM cannot have, options that do not go together. */
export function validateResources(resources: Resources, field: string[] = ['resources']): UserFault[] {
  const faults: UserFault[] = [];
  const report = (name: string, message: string): void => {
    faults.push({ field: [...field, name], message, code: 'BAD_USER_INPUT' });
  };
  for (const [name, { min, max, unit }] of Object.entries(RANGES) as [keyof typeof RANGES, { min: number; max: number; unit: string }][]) {
    const value = resources[name];
    if (value !== null && !(Number.isInteger(value) && value >= min && value <= max)) {
      report(name, `must be a whole number of ${unit} from ${min} to ${max}, not ${value}`);
    }
  }
  for (const name of NAMES) {
    const value = resources[name];
    if (value !== null && (value.length > MAX_NAME_LENGTH || !(name === 'partition' ? PARTITIONS_PATTERN : NAME_PATTERN).test(value))) {
      report(name, `must be 1 to ${MAX_NAME_LENGTH} letters, digits and _.+@-, starting with a letter or digit, not ${JSON.stringify(value.slice(0, MAX_NAME_LENGTH))}`);
    }
  }
  if (resources.gpuType !== null && resources.gpus === 0) report('gpuType', 'is given, but gpus is 0; say how many');
  const memoryOption = Object.keys(resources.sbatchOptions).find(isMemoryOption);
  if (resources.memoryMiB !== null && memoryOption !== undefined) {
    report('memoryMiB', `does not go with the sbatch option "${memoryOption}"; give one of them`);
  }
  return [...faults, ...validateSbatchOptions(resources.sbatchOptions, [...field, 'sbatchOptions'])];
}

function isMemoryOption(name: string): boolean {
  return name === 'mem-per-cpu' || name === 'mem-per-gpu';
}
