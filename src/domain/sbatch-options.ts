/**
 * The sbatch long options a job may add, each with what its value may look like. A value stands in a `#SBATCH` line, so no
 * pattern admits quotes, `#`, backslashes or line ends. An empty value means the option without one, where that is allowed.
 */
import type { UserFault } from './errors.ts';
import { nearestWords } from './nearest-words.ts';

interface OptionRule {
  pattern: RegExp;
  /** What a value looks like, for the message. */
  expects: string;
}

/** Bounds what the patterns below are matched against. */
const MAX_VALUE_LENGTH = 1024;

const COUNT: OptionRule = { pattern: /^[1-9]\d{0,6}$/, expects: 'a whole number of 1 or more' };
const FLAG: OptionRule = { pattern: /^$/, expects: 'an empty value, because it is a flag' };
const SIZE: OptionRule = { pattern: /^\d{1,12}[KMGT]?$/, expects: 'a size such as 4000M or 16G' };
const NAMES: OptionRule = { pattern: /^[A-Za-z0-9_.+@:-]+(?:,[A-Za-z0-9_.+@:-]+)*$/, expects: 'names separated by commas' };
const NODES: OptionRule = { pattern: /^[A-Za-z0-9_][A-Za-z0-9_.,[\]-]*$/, expects: 'node names such as n1,n2 or n[1-4]' };
const FEATURES: OptionRule = { pattern: /^[A-Za-z0-9_.,&|*()[\]:!=-]+$/, expects: 'features such as rtx8000|a100 or gpu&nvme' };
const PLAIN_TEXT: OptionRule = { pattern: /^[A-Za-z0-9 _.,:=+@%/()-]+$/, expects: 'letters, digits, spaces and _.,:=+@%/()-' };
const MOMENT: OptionRule = {
  pattern: /^(?:now(?:\+\d{1,9}(?:seconds?|minutes?|hours?|days?|weeks?)?)?|today|tomorrow|midnight|noon|\d{2}:\d{2}(?::\d{2})?|\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2})?)?)$/,
  expects: 'a time such as 2026-01-31T18:00:00, 18:00 or now+2hours',
};
const MAIL_EVENTS = [
  'NONE', 'BEGIN', 'END', 'FAIL', 'REQUEUE', 'ALL', 'INVALID_DEPEND', 'STAGE_OUT', 'TIME_LIMIT', 'TIME_LIMIT_90', 'TIME_LIMIT_80', 'TIME_LIMIT_50', 'ARRAY_TASKS',
];

const ALLOWED: Readonly<Record<string, OptionRule>> = {
  'begin': MOMENT,
  'cluster-constraint': FEATURES,
  'comment': PLAIN_TEXT,
  'constraint': FEATURES,
  'contiguous': FLAG,
  'cores-per-socket': COUNT,
  'deadline': MOMENT,
  'dependency': {
    pattern: /^(?:(?:after|afterany|aftercorr|afternotok|afterok)(?::\d+(?:_\d+)?(?:\+\d+)?)+|singleton)(?:[,?](?:(?:after|afterany|aftercorr|afternotok|afterok)(?::\d+(?:_\d+)?(?:\+\d+)?)+|singleton))*$/,
    expects: 'a dependency such as afterok:123:124 or singleton',
  },
  'distribution': { pattern: /^[A-Za-z*=\d]+(?:[:,][A-Za-z*=\d]+){0,3}$/, expects: 'a distribution such as block:cyclic' },
  'exclude': NODES,
  'exclusive': { pattern: /^(?:user|mcs|topo)?$/, expects: 'an empty value, user, mcs or topo' },
  'hint': { pattern: /^(?:compute_bound|memory_bound|multithread|nomultithread)$/, expects: 'compute_bound, memory_bound, multithread or nomultithread' },
  'kill-on-invalid-dep': { pattern: /^(?:yes|no)$/, expects: 'yes or no' },
  'licenses': { pattern: /^[A-Za-z0-9_.,:@|-]+$/, expects: 'licenses such as matlab:2' },
  'mail-type': { pattern: new RegExp(`^(?:${MAIL_EVENTS.join('|')})(?:,(?:${MAIL_EVENTS.join('|')}))*$`), expects: `${MAIL_EVENTS.join(', ')}, separated by commas` },
  'mail-user': { pattern: /^[A-Za-z0-9_.+%@-]+$/, expects: 'a user or mail address' },
  'mem-per-cpu': SIZE,
  'mem-per-gpu': SIZE,
  'mincpus': COUNT,
  'nice': { pattern: /^(?:-?\d{1,10})?$/, expects: 'a whole number such as 100, or an empty value' },
  'no-requeue': FLAG,
  'nodelist': NODES,
  'ntasks': COUNT,
  'ntasks-per-node': COUNT,
  'oversubscribe': FLAG,
  'prefer': FEATURES,
  'requeue': FLAG,
  'reservation': NAMES,
  // The script passes on those that it catches; without B: only the steps that the command starts with srun get the signal.
  'signal': {
    pattern: /^(?:(?:R:)?[A-Z0-9+]{1,12}|(?:B|BR|RB):(?:(?:SIG)?(?:TERM|INT|HUP|USR1|USR2)|1|2|10|12|15))(?:@\d{1,5})?$/,
    expects: 'B: with TERM, INT, HUP, USR1 or USR2 and the seconds before the time limit, such as B:USR1@120',
  },
  'sockets-per-node': COUNT,
  'switches': { pattern: /^\d{1,4}(?:@[\d:-]{1,12})?$/, expects: 'a count such as 1 or 1@12:00:00' },
  'threads-per-core': COUNT,
  'time-min': { pattern: /^(?:\d{1,3}-)?\d{1,6}(?::\d{2}){0,2}$/, expects: 'a time such as 90, 01:30:00 or 1-12:00:00' },
  'tmp': SIZE,
  'wckey': NAMES,
};

const BY_RESOURCE = 'has a field of its own:';
const SET_HERE = 'is set by the server:';

/** Options that people try and that cannot be allowed, with the reason and what to do instead. */
const REFUSED: Readonly<Record<string, string>> = {
  'account': `${BY_RESOURCE} resources.account`,
  'array': `${SET_HERE} jobs are cut into arrays of the size the cluster allows`,
  'chdir': `${BY_RESOURCE} workingDirectory`,
  'cpus-per-gpu': 'does not go with a number of CPUs for the task; use resources.cpus',
  'cpus-per-task': `${BY_RESOURCE} resources.cpus`,
  'error': `${SET_HERE} logs go to the job directory`,
  'export': 'does not carry values reliably on many clusters; put them into environment, they are written into the script',
  'export-file': 'does not carry values reliably on many clusters; put them into environment, they are written into the script',
  'get-user-env': 'makes the job depend on a login shell; put what it needs into environment',
  'gpus': `${BY_RESOURCE} resources.gpus and resources.gpuType`,
  'gpus-per-node': `${BY_RESOURCE} resources.gpus and resources.gpuType`,
  'gpus-per-task': `${BY_RESOURCE} resources.gpus and resources.gpuType`,
  'gres': `would replace the GPUs asked for; use resources.gpus and resources.gpuType`,
  'hold': 'is a state of the job here; use held: true',
  'input': 'is not available; the command reads files by path',
  'job-name': `${SET_HERE} submissions are found again by it; use the name of the job`,
  'mem': `${BY_RESOURCE} resources.memoryMiB`,
  'nodes': `${BY_RESOURCE} resources.nodes`,
  'open-mode': `${SET_HERE} logs are appended to`,
  'output': `${SET_HERE} logs go to the job directory`,
  'partition': `${BY_RESOURCE} resources.partition`,
  'qos': `${BY_RESOURCE} resources.qos`,
  'test-only': 'submits nothing; use dryRun: true',
  'time': `${BY_RESOURCE} resources.timeLimitMinutes`,
  'wait': 'would block the submission; subscribe to jobEvents instead',
  'wrap': 'replaces the script; use command',
};

/** Faults of extra sbatch options: unknown names (the valid ones listed), refused ones (with the reason), bad values. */
export function validateSbatchOptions(
  options: Readonly<Record<string, string>>, field: string[] = ['resources', 'sbatchOptions'],
): UserFault[] {
  const faults = Object.entries(options).flatMap(([name, value]): UserFault[] => {
    const message = optionProblem(name, value);
    return message === null ? [] : [{ field: [...field, name], message, code: 'BAD_USER_INPUT' }];
  });
  for (const [one, other] of [['requeue', 'no-requeue'], ['mem-per-cpu', 'mem-per-gpu'], ['exclusive', 'oversubscribe']] as const) {
    if (Object.hasOwn(options, one) && Object.hasOwn(options, other)) {
      faults.push({ field: [...field, other], message: `does not go with "${one}"; give one of them`, code: 'BAD_USER_INPUT' });
    }
  }
  return faults;
}

function optionProblem(name: string, value: string): string | null {
  const rule = Object.hasOwn(ALLOWED, name) ? ALLOWED[name] : undefined;
  if (rule !== undefined) return value.length <= MAX_VALUE_LENGTH && rule.pattern.test(value) ? null : `must be ${rule.expects}, not ${JSON.stringify(value.slice(0, 100))}`;
  const plain = name.replace(/^-+/, '').replaceAll('_', '-').toLowerCase();
  if (Object.hasOwn(REFUSED, plain)) return `is not allowed: it ${REFUSED[plain]}`;
  const known = Object.keys(ALLOWED);
  if (known.includes(plain)) return `is written "${plain}" here, without dashes in front`;
  const near = nearestWords(plain, known);
  const hint = near.length > 0 ? ` Did you mean ${near.join(' or ')}?` : '';
  return `is not an option that can be passed on.${hint} There are ${known.join(', ')}`;
}
