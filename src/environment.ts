/** The only reader of the environment. */
import { homedir, userInfo } from 'node:os';
import { z } from 'zod';
import type { UserFault } from './domain/errors.ts';
import { nonEmptyListOf, oneOf, origin, parseReporting, postgresUrl, text, unknownName, wholeNumber } from './config-fields.ts';
import { CRASH_POINTS, type CrashPoint } from './reconcilers/crash-point.ts';

export const ROLES = ['api', 'reconcile'] as const;
/** `api` answers requests; `reconcile` makes the clusters match the database. */
export type Role = (typeof ROLES)[number];

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const portNumber = () => wholeNumber(0, 65_535);
export const rolesList = () => nonEmptyListOf(oneOf(ROLES), `a list of roles out of ${ROLES.join(', ')}`);

const list = (value: unknown) => (typeof value === 'string' ? value.split(',').map((word) => word.trim()).filter(Boolean) : value);
const number = (value: unknown) => (typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value);

const VARIABLES = {
  EXPGRAPH_CONFIG: text('the path of a configuration file'),
  EXPGRAPH_HOST: text('a host name or address to listen on'),
  EXPGRAPH_PORT: z.preprocess(number, portNumber()),
  EXPGRAPH_DATA_DIR: text('a directory'),
  EXPGRAPH_ROLES: z.preprocess(list, rolesList()),
  EXPGRAPH_LOG_LEVEL: oneOf(LOG_LEVELS),
  EXPGRAPH_ALLOWED_ORIGINS: z.preprocess(list, z.array(origin())),
  EXPGRAPH_CRASH_AT: oneOf(CRASH_POINTS),
  DATABASE_URL: postgresUrl(),
};
/** For clients of the server, which often share its environment. The server reads neither, and recommends neither. */
const CLIENT_VARIABLES = ['EXPGRAPH_URL', 'EXPGRAPH_TOKEN'];

type Values = { [Name in keyof typeof VARIABLES]?: z.output<(typeof VARIABLES)[Name]> };

export interface Environment {
  configFile: string | null;
  host: string | null;
  port: number | null;
  dataDirectory: string | null;
  roles: Role[] | null;
  logLevel: LogLevel | null;
  allowedOrigins: string[] | null;
  databaseUrl: string | null;
  crashAt: CrashPoint | null;
  homeDirectory: string;
  /** `$XDG_DATA_HOME`, or null. */
  dataHome: string | null;
  userName: string;
  /** `$SSH_AUTH_SOCK`, or null. */
  sshAgentSocket: string | null;
  /** What is wrong with it; `readConfig` reports these together with the faults of the file. */
  faults: UserFault[];
}

/** A user id without a passwd entry (a container) has only what the environment says. */
function userName(env: NodeJS.ProcessEnv): string {
  try {
    return userInfo().username;
  } catch {
    return env['USER'] || String(process.getuid?.());
  }
}

/** Types the environment. A faulty variable counts as unset and is listed in `faults`; so is an unknown `EXPGRAPH_*`. */
export function readEnvironment(env: NodeJS.ProcessEnv): Environment {
  const faults: UserFault[] = [];
  const report = (field: string[], message: string) => void faults.push({ field: field.slice(0, 1), message, code: 'BAD_USER_INPUT' });
  const values: Values = {};
  for (const [name, schema] of Object.entries(VARIABLES)) {
    if (!env[name]) continue;
    Object.assign(values, { [name]: parseReporting(schema, env[name], [name], report) });
  }
  const known = Object.keys(VARIABLES);
  const allowed = new Set([...known, ...CLIENT_VARIABLES]);
  for (const name of Object.keys(env).filter((key) => key.startsWith('EXPGRAPH_') && !allowed.has(key)).sort()) {
    report([name], unknownName(name, known));
  }
  return {
    configFile: values.EXPGRAPH_CONFIG ?? null,
    host: values.EXPGRAPH_HOST ?? null,
    port: values.EXPGRAPH_PORT ?? null,
    dataDirectory: values.EXPGRAPH_DATA_DIR ?? null,
    roles: values.EXPGRAPH_ROLES ?? null,
    logLevel: values.EXPGRAPH_LOG_LEVEL ?? null,
    allowedOrigins: values.EXPGRAPH_ALLOWED_ORIGINS ?? null,
    databaseUrl: values.DATABASE_URL ?? null,
    crashAt: values.EXPGRAPH_CRASH_AT ?? null,
    homeDirectory: env['HOME'] || homedir(),
    dataHome: env['XDG_DATA_HOME'] || null,
    userName: userName(env),
    sshAgentSocket: env['SSH_AUTH_SOCK'] || null,
    faults,
  };
}
