/** The configuration: environment over file over defaults, typed, checked as a whole and frozen. */
import { readFileSync, statSync, type Stats } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { ClusterSettings, SubmissionLimits } from './domain/cluster-settings.ts';
import type { FailureRule } from './domain/diagnosis/failure-rule.ts';
import { UserError } from './domain/errors.ts';
import type { RetryPolicy } from './domain/retry-policy.ts';
import { clusterSettings, defaultLocalCluster } from './config-clusters.ts';
import { unknownName } from './config-fields.ts';
import { readConfigFile } from './config-file.ts';
import type { ConfigFile } from './config-file.ts';
import { ROLES, readEnvironment } from './environment.ts';
import type { Environment, LogLevel, Role } from './environment.ts';
import type { CrashPoint } from './reconcilers/crash-point.ts';

const DEFAULT_FILE_NAME = 'expgraph.yaml';
const DEFAULT_CLUSTER_NAME = 'local';
/** The default local cluster's root lies below the data directory, and script directives carry it. */
const DATA_DIRECTORY = /^\/[A-Za-z0-9/._~@+=,-]*$/;

export interface Config {
  /** Where settings were looked for, and whether there was a file. */
  configFile: { path: string; isThere: boolean };
  host: string;
  /** 0 lets the system choose. */
  port: number;
  /** Origins besides our own that browsers may connect from. */
  allowedOrigins: readonly string[];
  roles: readonly Role[];
  logLevel: LogLevel;
  /** Where this process is to die, to test what a crash leaves behind; null in real life. */
  crashAt: CrashPoint | null;
  /** A null `url` means the embedded PostgreSQL in `dataDirectory`. */
  database: { url: string | null; maxConnections: number };
  dataDirectory: string;
  limits: SubmissionLimits;
  queryLimits: { maxDepth: number; maxCost: number };
  maxRequestBytes: number;
  defaultCluster: string;
  clusters: ReadonlyMap<string, ClusterSettings>;
  /** How this site recognises failures, beside the built-in rules. */
  failureRules: readonly FailureRule[];
  /** For jobs that are submitted without a policy of their own; empty: no failure is tried again by itself. */
  retryPolicy: RetryPolicy;
}

export interface ConfigSources {
  environment: Environment;
  /** Null: there is no file. */
  configFileText: string | null;
  /** Relative paths in the file are relative to its directory; faults name it. */
  configFilePath: string;
  /** Relative paths in the environment are relative to it. */
  workingDirectory: string;
  /** Root keeps its data in `/var/lib`, and its embedded database runs as another user. */
  isRoot: boolean;
  /** What of the path that is there already stands in the way, or null. */
  obstacle: (path: string) => Obstacle | null;
}

/** A file where a folder has to be, or a folder that only root may enter. */
export interface Obstacle {
  kind: 'FILE' | 'CLOSED';
  path: string;
}

function defaultDataDirectory({ environment, isRoot }: ConfigSources): string {
  if (isRoot) return '/var/lib/expgraph';
  return join(environment.dataHome ?? join(environment.homeDirectory, '.local', 'share'), 'expgraph');
}

function absolutePath(path: string, base: string, home: string): string {
  return path === '~' || path.startsWith('~/') ? join(home, path.slice(1)) : resolve(base, path);
}

function readDataDirectory(sources: ConfigSources, file: ConfigFile, databaseUrl: string | null): string {
  const { environment, isRoot, obstacle } = sources;
  const fromEnvironment = environment.dataDirectory && absolutePath(environment.dataDirectory, sources.workingDirectory, environment.homeDirectory);
  const fromFile = file.dataDirectory && absolutePath(file.dataDirectory, dirname(sources.configFilePath), environment.homeDirectory);
  const dataDirectory = fromEnvironment || fromFile || defaultDataDirectory(sources);
  const field = fromEnvironment ? ['EXPGRAPH_DATA_DIR'] : ['dataDirectory'];
  if (!DATA_DIRECTORY.test(dataDirectory)) {
    file.report(field, `must be made of A-Z a-z 0-9 / . _ ~ @ + = , - (job scripts carry it), not ${JSON.stringify(dataDirectory)}`);
  }
  const found = obstacle(dataDirectory);
  if (found?.kind === 'FILE') file.report(field, `${found.path} is a file; give a directory, which is made if it is missing`);
  if (found?.kind === 'CLOSED' && isRoot && databaseUrl === null) {
    file.report(field, `${dataDirectory} is out of reach for the embedded PostgreSQL, which does not run as root: only root may enter ${found.path}. `
      + `Choose a directory elsewhere (such as /var/lib/expgraph), run "chmod o+x ${found.path}", or set DATABASE_URL`);
  }
  return dataDirectory;
}

function readClusters(sources: ConfigSources, file: ConfigFile, dataDirectory: string): Map<string, ClusterSettings> {
  const { environment } = sources;
  const resolvePath = (path: string) => absolutePath(path, dirname(sources.configFilePath), environment.homeDirectory);
  const clusters = new Map<string, ClusterSettings>();
  for (const [name, section] of file.clusters) {
    if (section) clusters.set(name, clusterSettings(name, section, { environment, dataDirectory, resolvePath, report: file.report }));
  }
  if (file.clusters.size === 0) clusters.set(DEFAULT_CLUSTER_NAME, defaultLocalCluster(DEFAULT_CLUSTER_NAME, dataDirectory));
  return clusters;
}

function readDefaultCluster(file: ConfigFile): string {
  const names = file.clusters.size > 0 ? [...file.clusters.keys()] : [DEFAULT_CLUSTER_NAME];
  const chosen = file.defaultCluster ?? names[0] ?? DEFAULT_CLUSTER_NAME;
  if (!names.includes(chosen)) file.report(['defaultCluster'], unknownName(chosen, names));
  return chosen;
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value;
  for (const part of value instanceof Map ? value.values() : Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}

/**
 * The configuration that the sources amount to.
 * @throws UserError with every fault of the environment and of the file
 */
export function readConfig(sources: ConfigSources): Config {
  const { environment } = sources;
  const file = readConfigFile(sources.configFileText, sources.configFilePath);
  const databaseUrl = environment.databaseUrl ?? file.database.url ?? null;
  const dataDirectory = readDataDirectory(sources, file, databaseUrl);
  const config: Config = {
    configFile: { path: sources.configFilePath, isThere: sources.configFileText !== null },
    host: environment.host ?? file.server.host ?? '127.0.0.1',
    port: environment.port ?? file.server.port ?? 4000,
    allowedOrigins: environment.allowedOrigins ?? file.server.allowedOrigins ?? [],
    roles: environment.roles ?? file.server.roles ?? ROLES,
    logLevel: environment.logLevel ?? 'info',
    crashAt: environment.crashAt,
    database: { url: databaseUrl, maxConnections: file.database.maxConnections },
    dataDirectory,
    limits: { maxJobsPerSweep: file.limits.maxJobsPerSweep, maxConfigBytes: file.limits.maxConfigBytes },
    queryLimits: { maxDepth: file.limits.maxQueryDepth, maxCost: file.limits.maxQueryCost },
    maxRequestBytes: file.limits.maxRequestBytes,
    defaultCluster: readDefaultCluster(file),
    clusters: readClusters(sources, file, dataDirectory),
    failureRules: file.failureRules,
    retryPolicy: file.retryPolicy,
  };
  const faults = [...environment.faults, ...file.faults];
  if (faults.length > 0) throw new UserError(faults);
  return deepFreeze(config);
}

/** The nearest file, or folder that root owns and others may not enter, on the way to `path` (or `path` itself). */
function obstacle(path: string): Obstacle | null {
  for (let entry = path; ; entry = dirname(entry)) {
    const found = statOf(entry);
    if (found && !found.isDirectory()) return { kind: 'FILE', path: entry };
    if (found && found.uid === 0 && (found.mode & 0o001) === 0) return { kind: 'CLOSED', path: entry };
    if (entry === dirname(entry)) return null;
  }
}

/** Undefined where nothing is, or nobody may look: the start says so when it comes to use it. */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

function readConfigText(path: string, { configFile, faults }: Environment): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' || configFile !== null) {
      faults.push({ field: ['EXPGRAPH_CONFIG'], message: `the configuration file cannot be read: ${message}`, code: 'BAD_USER_INPUT' });
    }
    return null;
  }
}

/**
 * Reads the environment and the configuration file.
 * @param overrides what the command line says, above the environment
 * @throws UserError with every fault
 */
export function loadConfig(overrides: Partial<Omit<Environment, 'faults'>> = {}, env: NodeJS.ProcessEnv = process.env): Config {
  const environment: Environment = { ...readEnvironment(env), ...overrides };
  const workingDirectory = process.cwd();
  const configFilePath = resolve(workingDirectory, environment.configFile ?? DEFAULT_FILE_NAME);
  return readConfig({
    environment, configFilePath, workingDirectory,
    configFileText: readConfigText(configFilePath, environment),
    isRoot: process.getuid?.() === 0,
    obstacle,
  });
}
