/** What a batch asks of sbatch, as long options: the script's `#SBATCH` lines and sbatch's own arguments say the same. */
import type { BatchSpec } from '../batch.ts';
import { UserError, type UserFault } from '../errors.ts';
import { batchDirectory, batchLogPaths } from '../layout.ts';

/** An sbatch long option without dashes; a null value is a switch. */
export interface SbatchOption {
  name: string;
  value: string | null;
}

/** What of a batch counts here. */
type Asked = Pick<BatchSpec, 'token' | 'rootDirectory' | 'resources'> & { tasks: readonly object[] };

const WORD = /^[A-Za-z0-9][A-Za-z0-9._@+-]*$/;
const PARTITIONS = /^[A-Za-z0-9][A-Za-z0-9._@+,-]*$/;
const OPTION_NAME = /^[a-z][a-z0-9-]*$/;
/** sbatch reads backslashes and quotes in its own way, and ends an option at a line's end. */
const OPTION_VALUE = /^[^\p{Cc}"'\\]*$/u;
const PATH = /^\/[^\p{Cc}"'\\]*$/u;

/** The options of one batch. Throws UserError with every value that sbatch could misread. */
export function sbatchOptions(batch: Asked): SbatchOption[] {
  const faults = new OptionFaults();
  const { resources, rootDirectory, token } = batch;
  const array = batch.tasks.length > 1;
  const logs = batchLogPaths(rootDirectory, token, { array });
  const options: (SbatchOption | null)[] = [
    faults.text('job-name', token, WORD, ['token']),
    faults.text('output', logs.stdout, PATH, ['rootDirectory']),
    faults.text('error', logs.stderr, PATH, ['rootDirectory']),
    { name: 'open-mode', value: 'append' },
    faults.text('chdir', batchDirectory(rootDirectory, token), PATH, ['rootDirectory']),
    array ? { name: 'array', value: `0-${batch.tasks.length - 1}` } : null,
    faults.text('partition', resources.partition, PARTITIONS, ['resources', 'partition']),
    faults.text('account', resources.account, WORD, ['resources', 'account']),
    faults.text('qos', resources.qos, WORD, ['resources', 'qos']),
    faults.count('nodes', resources.nodes, 1, ['resources', 'nodes']),
    faults.count('cpus-per-task', resources.cpus, 1, ['resources', 'cpus']),
    faults.gres(resources.gpus, resources.gpuType),
    faults.count('mem', resources.memoryMiB, 1, ['resources', 'memoryMiB'], 'M'),
    faults.count('time', resources.timeLimitMinutes, 1, ['resources', 'timeLimitMinutes']),
    ...Object.entries(resources.sbatchOptions).map(([name, value]) => faults.further(name, value)),
  ];
  faults.throwIfAny();
  return options.filter((option) => option !== null);
}

/** The options as `#SBATCH` lines. Values are put in double quotes where sbatch would end them at a space or `#`. */
export function sbatchHeader(options: SbatchOption[]): string {
  return options.map(({ name, value }) => {
    if (value === null) return `#SBATCH --${name}\n`;
    return `#SBATCH --${name}=${/[\s#]/.test(value) ? `"${value}"` : value}\n`;
  }).join('');
}

/** The options as arguments of sbatch: those outrank a user's SBATCH_* variables, which outrank the script. */
export function sbatchArguments(batch: Asked): string[] {
  return sbatchOptions(batch).map(({ name, value }) => (value === null ? `--${name}` : `--${name}=${value}`));
}

class OptionFaults {
  readonly #faults: UserFault[] = [];

  text(name: string, value: string | null, pattern: RegExp, field: string[]): SbatchOption | null {
    if (value === null) return null;
    if (!pattern.test(value)) this.#add(field, `${JSON.stringify(value)} cannot be sbatch's --${name}: it must match ${pattern.source}`);
    return { name, value };
  }

  count(name: string, value: number | null, least: number, field: string[], unit = ''): SbatchOption | null {
    if (value === null) return null;
    if (!Number.isSafeInteger(value) || value < least) this.#add(field, `${value} must be a whole number of at least ${least}`);
    return { name, value: `${value}${unit}` };
  }

  gres(gpus: number, gpuType: string | null): SbatchOption | null {
    if (gpus === 0) return null;
    this.count('gres', gpus, 0, ['resources', 'gpus']);
    this.text('gres', gpuType, WORD, ['resources', 'gpuType']);
    return { name: 'gres', value: gpuType === null ? `gpu:${gpus}` : `gpu:${gpuType}:${gpus}` };
  }

  /** An empty value is a switch (`exclusive`). */
  further(name: string, value: string): SbatchOption {
    const field = ['resources', 'sbatchOptions', name];
    if (!OPTION_NAME.test(name)) this.#add(field, `${JSON.stringify(name)} is not the name of an sbatch long option (without dashes)`);
    if (!OPTION_VALUE.test(value)) this.#add(field, 'must have no quotes, backslashes or control characters');
    return { name, value: value === '' ? null : value };
  }

  #add(field: string[], message: string): void {
    this.#faults.push({ field, message, code: 'BAD_USER_INPUT' });
  }

  throwIfAny(): void {
    if (this.#faults.length > 0) throw new UserError(this.#faults);
  }
}
