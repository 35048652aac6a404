/**
 * The argv template and the job's variables, expanded. Only `{word}` and `{config.KEY}` are placeholders: JSON, `{}`,
 * `{a,b}` and the shell's `${WORD}` stay as they are, and `{{word}}` is a literal `{word}`. Nothing is expanded twice,
 * so a value may itself look like a placeholder.
 */
import { configLeaves, formatOverrideValue, getDotted, textProblem } from './config-values.ts';
import type { UserFault } from './errors.ts';
import type { JobIdentity, JsonObject } from './job-spec.ts';
import { nearestWords } from './nearest-words.ts';

/** Where a job's files lie on the cluster; all absolute. */
export interface TemplatePaths {
  jobDirectory: string;
  configPath: string;
  checkpointsDirectory: string;
  artifactsDirectory: string;
}

/** Linux takes at most 128 KiB in one argument or variable, with its closing NUL (MAX_ARG_STRLEN). */
const MAX_ELEMENT_BYTES = 131_071;
/** Linux takes about 2 MB of arguments and variables together; the node's own variables need some of it. */
const MAX_TOTAL_BYTES = 1_500_000;
/** Larger values are not made into variables: they are in config.json. */
const MAX_VARIABLE_BYTES = 32 * 1024;
const MAX_WORKING_DIRECTORY_BYTES = 4096;
const MAX_CODE_VERSION_LENGTH = 256;
const PLACEHOLDERS = '{overrides} (alone), {config}, {config.KEY}, {job_dir}, {checkpoints_dir}, {artifacts_dir}';
const PLACEHOLDER = /\{\{([A-Za-z_]\w*|config\.[^{}]+)\}\}|(?<!\$)\{([A-Za-z_]\w*|config\.[^{}]+)\}/g;
/** bash refuses to set these, which would end the job's script. */
const READONLY_VARIABLES = ['BASHOPTS', 'BASH_VERSINFO', 'EUID', 'PPID', 'SHELLOPTS', 'UID'];
/** Stands for directories that are not known yet when sizes are checked; longer than any we make. */
const LONG_PATH = '/'.padEnd(1024, 'p');
const LONG_PATHS: TemplatePaths = {
  jobDirectory: LONG_PATH, configPath: LONG_PATH, checkpointsDirectory: LONG_PATH, artifactsDirectory: LONG_PATH,
};

/** The argv to run. Expects an identity that `validateTemplate` accepts. */
export function expandCommand(identity: JobIdentity, paths: TemplatePaths): string[] {
  return identity.command.flatMap((element) => expandElement(element, identity.config, paths));
}

/** The job's own variables, sorted by name. Expects an identity that `validateTemplate` accepts. */
export function expandEnvironment(identity: JobIdentity, paths: TemplatePaths): [name: string, value: string][] {
  return Object.entries(identity.environment)
    .map(([name, template]): [string, string] => [name, expandText(template, identity.config, paths)])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Every config value as `EXPGRAPH_CONFIG_<key>`, but for those too large for a variable. */
export function embeddedVariables(config: JsonObject): [name: string, value: string][] {
  return configLeaves(config)
    .map(({ key, value }): [string, string] => [variableName(key), formatOverrideValue(value)])
    .filter(([, value]) => Buffer.byteLength(value) <= MAX_VARIABLE_BYTES);
}

/** Every fault of a command with its configuration and variables; fields are those of a submission (`command`, ...). */
export function validateTemplate(identity: JobIdentity): UserFault[] {
  const faults = [...validateCommand(identity), ...validateEnvironment(identity), ...validateWhereabouts(identity)];
  const embedded = validateEmbedded(identity.config);
  if (faults.length > 0) return [...faults, ...embedded];
  const strings = [
    ...expandCommand(identity, LONG_PATHS),
    ...[...expandEnvironment(identity, LONG_PATHS), ...embeddedVariables(identity.config)].map((pair) => pair.join('=')),
  ];
  const totalBytes = strings.reduce((sum, text) => sum + Buffer.byteLength(text) + 1, 0);
  if (totalBytes <= MAX_TOTAL_BYTES) return embedded;
  const message = `arguments and variables come to ${totalBytes} bytes; the limit is ${MAX_TOTAL_BYTES}. Read large values from config.json ({config})`;
  return [...embedded, { field: ['command'], message, code: 'LIMIT_EXCEEDED' }];
}

function variableName(key: string): string {
  return `EXPGRAPH_CONFIG_${key.replaceAll('.', '__').replace(/\W/g, '_')}`;
}

function expandElement(element: string, config: JsonObject, paths: TemplatePaths): string[] {
  if (element !== '{overrides}') return [expandText(element, config, paths)];
  return configLeaves(config).map(({ key, value }) => `${key}=${formatOverrideValue(value)}`);
}

function expandText(text: string, config: JsonObject, paths: TemplatePaths): string {
  return text.replace(PLACEHOLDER, (whole: string, literal: string | undefined, word: string | undefined) =>
    literal !== undefined ? `{${literal}}` : placeholderValue(word ?? '', config, paths) ?? whole);
}

function placeholderValue(word: string, config: JsonObject, paths: TemplatePaths): string | null {
  switch (word) {
    case 'config': return paths.configPath;
    case 'job_dir': return paths.jobDirectory;
    case 'checkpoints_dir': return paths.checkpointsDirectory;
    case 'artifacts_dir': return paths.artifactsDirectory;
    default: {
      const value = word.startsWith('config.') ? getDotted(config, word.slice('config.'.length)) : undefined;
      return value === undefined ? null : formatOverrideValue(value);
    }
  }
}

function validateCommand({ command, config }: JobIdentity): UserFault[] {
  if (command.length === 0 || command[0]?.trim() === '') {
    return [{ field: ['command'], message: 'must start with a program, such as ["python", "train.py", "{overrides}"]', code: 'BAD_USER_INPUT' }];
  }
  if (command[0] === '{overrides}' || expandText(command[0] ?? '', config, LONG_PATHS).includes('=')) {
    return [{ field: ['command', '0'], message: 'must be a program; a name with "=" in it would be taken for a variable', code: 'BAD_USER_INPUT' }];
  }
  const words = command[0]?.trim().split(/\s+/) ?? [];
  if (command.length === 1 && words.length > 1 && !/^[./~]/.test(words[0] ?? '')) {
    return [{ field: ['command'], message: `is a program name with a space in it; write one element an argument: ${JSON.stringify(words)}`, code: 'BAD_USER_INPUT' }];
  }
  return command.flatMap((element, index) => {
    const field = ['command', String(index)];
    const faults = element === '{overrides}' ? [] : validateText(element, field, config);
    if (faults.length > 0) return faults;
    const tooLong = expandElement(element, config, LONG_PATHS).find((text) => Buffer.byteLength(text) > MAX_ELEMENT_BYTES);
    return tooLong === undefined ? [] : [tooLongFault(field, tooLong)];
  });
}

function validateEnvironment({ environment, config }: JobIdentity): UserFault[] {
  return Object.entries(environment).flatMap(([name, template]) => {
    const field = ['environment', name];
    const nameProblem = variableNameProblem(name);
    if (nameProblem !== null) return [{ field, message: nameProblem, code: 'BAD_USER_INPUT' as const }];
    const faults = validateText(template, field, config);
    if (faults.length > 0) return faults;
    const pair = `${name}=${expandText(template, config, LONG_PATHS)}`;
    return Buffer.byteLength(pair) > MAX_ELEMENT_BYTES ? [tooLongFault(field, pair)] : [];
  });
}

function variableNameProblem(name: string): string | null {
  if (!/^[A-Za-z_]\w*$/.test(name)) return 'is not a variable name; use letters, digits and _, not starting with a digit';
  if (/^(EXPGRAPH|SLURM)_/.test(name)) return 'starts with EXPGRAPH_ or SLURM_, which are set for the job; choose another name';
  if (READONLY_VARIABLES.includes(name)) return 'is read-only in the shell; choose another name';
  return null;
}

/** Faults of one template text: text that cannot be passed on, and placeholders that mean nothing here. */
function validateText(text: string, field: string[], config: JsonObject): UserFault[] {
  const problem = textProblem(text);
  if (problem !== null) return [{ field, message: problem, code: 'BAD_USER_INPUT' }];
  return [...text.matchAll(PLACEHOLDER)].flatMap(([, , word]) => {
    if (word === undefined || placeholderValue(word, config, LONG_PATHS) !== null) return [];
    return [{ field, message: unknownPlaceholder(word, config), code: 'BAD_USER_INPUT' as const }];
  });
}

function unknownPlaceholder(word: string, config: JsonObject): string {
  if (word === 'overrides') return '{overrides} must be an element of the command by itself, because it becomes many; for one value write {config.KEY}';
  if (!word.startsWith('config.')) return `unknown placeholder {${word}}; there are ${PLACEHOLDERS}. For the text itself write {{${word}}}`;
  const keys = configLeaves(config).map(({ key }) => key);
  const near = nearestWords(word.slice('config.'.length), keys);
  const hint = near.length > 0 ? `did you mean ${near.map((key) => `{config.${key}}`).join(' or ')}?`
    : `its keys are ${keys.slice(0, 20).join(', ') || '(none)'}${keys.length > 20 ? ', ...' : ''}`;
  return `the configuration has no value for {${word}}; ${hint}`;
}

function tooLongFault(field: string[], text: string): UserFault {
  const name = /^[^=\s]{1,100}(?==)/.exec(text)?.[0];
  const what = name === undefined ? 'an argument' : `"${name}"`;
  const message = `${what} comes to ${Buffer.byteLength(text)} bytes; a program takes at most ${MAX_ELEMENT_BYTES} in one argument or variable. Read it from config.json ({config}) instead`;
  return { field, message, code: 'LIMIT_EXCEEDED' };
}

function validateWhereabouts({ workingDirectory, codeVersion }: JobIdentity): UserFault[] {
  const faults: UserFault[] = [];
  if (workingDirectory !== null) {
    const problem = textProblem(workingDirectory)
      ?? (workingDirectory.startsWith('/') ? null : 'must be an absolute path on the cluster, such as /scratch/me/repo')
      ?? (Buffer.byteLength(workingDirectory) > MAX_WORKING_DIRECTORY_BYTES ? `is longer than ${MAX_WORKING_DIRECTORY_BYTES} bytes` : null);
    if (problem !== null) faults.push({ field: ['workingDirectory'], message: problem, code: 'BAD_USER_INPUT' });
  }
  if (codeVersion !== null) {
    const problem = textProblem(codeVersion)
      ?? (codeVersion.length > MAX_CODE_VERSION_LENGTH ? `is longer than ${MAX_CODE_VERSION_LENGTH} characters` : null);
    if (problem !== null) faults.push({ field: ['codeVersion'], message: problem, code: 'BAD_USER_INPUT' });
  }
  return faults;
}

function validateEmbedded(config: JsonObject): UserFault[] {
  const keyOf = new Map<string, string>();
  return configLeaves(config).flatMap(({ key }) => {
    const name = variableName(key);
    const other = keyOf.get(name);
    keyOf.set(name, key);
    if (other === undefined) return [];
    const message = `"${other}" and "${key}" would both be the variable ${name}; rename one`;
    return [{ field: ['config', key], message, code: 'BAD_USER_INPUT' as const }];
  });
}
