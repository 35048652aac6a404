/** The shape of `expgraph.yaml`, and reading it: every fault with its line. */
import { LineCounter, isMap, isNode, isSeq, parseDocument } from 'yaml';
import type { Document, Pair, Scalar } from 'yaml';
import { z } from 'zod';
import type { FailureRule } from './domain/diagnosis/failure-rule.ts';
import type { UserFault } from './domain/errors.ts';
import type { RetryRule } from './domain/retry-policy.ts';
import type { ReportFault } from './config-fields.ts';
import { listOf, oneOf, origin, parseReporting, positiveNumber, postgresUrl, section, text, textMatching, unknownName, wholeNumber } from './config-fields.ts';
import { readFailureRules, readRetryPolicy } from './config-policies.ts';
import { DEFAULT_OPERATION_LIMITS } from './graphql/limits.ts';
import { portNumber, rolesList } from './environment.ts';

/** SLURM writes these paths into log patterns and directives, where no other character is safe. */
const ROOT_DIRECTORY = /^\/[A-Za-z0-9/._~@+=,-]*$/;
const CLUSTER_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;
const BYTES_MAX = 1024 ** 3;

const server = section({
  host: text('a host name or address to listen on').optional(),
  port: portNumber().optional(),
  allowedOrigins: listOf(origin(), 'a list of origins such as [https://lab.example.org]').optional(),
  roles: rolesList().optional(),
});

const database = section({
  url: postgresUrl().optional(),
  maxConnections: wholeNumber(2, 1000).default(10),
});

const limits = section({
  maxJobsPerSweep: wholeNumber(1, 1_000_000).default(10_000),
  maxConfigBytes: wholeNumber(1024, BYTES_MAX).default(2 * 1024 ** 2),
  maxQueryDepth: wholeNumber(5, 100).default(DEFAULT_OPERATION_LIMITS.maxDepth),
  maxQueryCost: wholeNumber(100, 1_000_000_000).default(DEFAULT_OPERATION_LIMITS.maxCost),
  maxRequestBytes: wholeNumber(1024, BYTES_MAX).default(16 * 1024 ** 2),
});

const ssh = section({
  host: text('a host name, an address or an alias from the ssh configuration'),
  port: wholeNumber(1, 65_535).optional(),
  user: text().optional(),
  identityFile: text('the path of a private key').optional(),
  knownHostsFile: text('the path of a known_hosts file').optional(),
  proxyJump: text('[user@]host[:port], several separated by commas').optional(),
  configFile: text('the path of an ssh configuration file').optional(),
  connectTimeoutSeconds: wholeNumber(1, 600).optional(),
  maxChannels: wholeNumber(1, 100).optional(),
});

const resourceDefaults = section({
  partition: text().optional(),
  account: text().optional(),
  qos: text().optional(),
  cpus: wholeNumber(1, 100_000).optional(),
  memoryMiB: wholeNumber(1, 1_000_000_000).optional(),
  timeLimitMinutes: wholeNumber(1, 10_000_000).optional(),
  gpus: wholeNumber(0, 10_000).optional(),
  gpuType: text().optional(),
  nodes: wholeNumber(1, 100_000).optional(),
  sbatchOptions: z.record(z.string(), text('text on one line (in quotes if it is a number)')).optional(),
});

const cluster = section({
  kind: oneOf(['slurm', 'local']),
  rootDirectory: textMatching(ROOT_DIRECTORY, 'an absolute path made of A-Z a-z 0-9 / . _ ~ @ + = , - (SLURM log patterns carry it)').optional(),
  ssh: ssh.optional(),
  defaults: resourceDefaults.prefault({}),
  maxActiveJobs: wholeNumber(1, 1_000_000).optional(),
  // Below it the shares of looks, submissions and wishes would be less than one command each.
  maxCommandsPerMinute: wholeNumber(6, 100_000).optional(),
  setupScript: z.string({ error: () => 'must be text: shell lines that run before every command' }).optional(),
  pollSeconds: section({ min: positiveNumber(3600).optional(), max: positiveNumber(3600).optional() }).prefault({}),
  watch: z.boolean({ error: () => 'must be true or false' }).default(true),
  submitGraceSeconds: positiveNumber(3600).default(30),
});

const TOP_KEYS = ['server', 'database', 'dataDirectory', 'limits', 'defaultCluster', 'clusters', 'failureRules', 'retryPolicy'];

export type ClusterSection = z.output<typeof cluster>;

/** What the file says, with defaults; a faulty section counts as absent so that the rest can still be checked. */
export interface ConfigFile {
  server: z.output<typeof server>;
  database: z.output<typeof database>;
  limits: z.output<typeof limits>;
  dataDirectory: string | undefined;
  defaultCluster: string | undefined;
  /** A faulty cluster without its faulty settings, so that the others can still be checked; null where that leaves none. */
  clusters: Map<string, ClusterSection | null>;
  failureRules: FailureRule[];
  retryPolicy: RetryRule[];
  /** Adds a fault, with its line when the file has one for the field. */
  report: ReportFault;
  faults: UserFault[];
}

/** The line of the deepest key or list item on the path that the file has. */
function lineOf(document: Document, lines: LineCounter, field: readonly string[]): number | null {
  let node: unknown = document.contents;
  let line: number | null = null;
  for (const key of field) {
    if (isSeq(node)) {
      node = node.items[Number(key)];
      const offset = isNode(node) ? node.range?.[0] : undefined;
      if (offset === undefined) break;
      line = lines.linePos(offset).line;
      continue;
    }
    if (!isMap(node)) break;
    const pair = node.items.find((item) => String((item.key as Scalar | null)?.value) === key) as Pair<Scalar> | undefined;
    const offset = pair?.key.range?.[0];
    if (offset === undefined) break;
    line = lines.linePos(offset).line;
    node = pair?.value;
  }
  return line;
}

function readClusters(raw: unknown, report: ReportFault): ConfigFile['clusters'] {
  const clusters: ConfigFile['clusters'] = new Map();
  const named = parseReporting(z.record(z.string(), z.unknown(), { error: () => 'must be a map: name of a cluster -> its settings' }), raw ?? {}, ['clusters'], report);
  for (const [name, value] of Object.entries(named ?? {})) {
    if (!CLUSTER_NAME.test(name)) report(['clusters', name], 'a cluster name must be 1 to 63 of A-Z a-z 0-9 . _ -, beginning with a letter or digit');
    clusters.set(name, parseReporting(cluster, value, ['clusters', name], report) ?? withoutFaults(value));
  }
  return clusters;
}

/** What of a faulty cluster is sound; null when too little is. */
function withoutFaults(value: unknown): ClusterSection | null {
  if (typeof value !== 'object' || value === null) return null;
  // Which checks apply depends on the kind. Only a SLURM cluster has ssh; `local` asks for nothing else.
  const { kind, ...rest } = structuredClone(value) as Record<string, unknown>;
  const sound: Record<string, unknown> = { ...rest, kind: kind === 'slurm' || kind === 'local' ? kind : 'ssh' in rest ? 'slurm' : 'local' };
  // Twice: what is missing in a section takes the whole section away.
  for (let pass = 0; pass < 2; pass += 1) {
    const result = cluster.safeParse(sound);
    if (result.success) return result.data;
    for (const issue of result.error.issues) {
      for (const key of issue.code === 'unrecognized_keys' ? issue.keys : [null]) remove(sound, key === null ? issue.path : [...issue.path, key]);
    }
  }
  return cluster.safeParse(sound).data ?? null;
}

/** Takes away what is at the path; where nothing is there, what should have held it. */
function remove(from: Record<string, unknown>, [key, ...rest]: readonly PropertyKey[]): void {
  const inner = from[String(key)];
  if (rest.length > 0 && typeof inner === 'object' && inner !== null && (rest.length > 1 || String(rest[0]) in inner)) remove(inner as Record<string, unknown>, rest);
  else delete from[String(key)];
}

/**
 * Reads the file's text; null means that there is no file.
 * @param fileName as faults should name it
 */
export function readConfigFile(fileText: string | null, fileName: string): ConfigFile {
  const lines = new LineCounter();
  const document = parseDocument(fileText ?? '', { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const faults: UserFault[] = [];
  const report: ReportFault = (field, message) => {
    // The first fault of a field is the cause of what is found later, such as that it is missing.
    if (faults.some((fault) => fault.field.join('\0') === field.join('\0'))) return;
    const line = lineOf(document, lines, field);
    faults.push({ field, message: line === null ? message : `${message} (${fileName} line ${line})`, code: 'BAD_USER_INPUT' });
  };
  for (const error of document.errors) {
    faults.push({ field: [], message: `${fileName} line ${lines.linePos(error.pos[0]).line} is not valid YAML: ${error.message}`, code: 'BAD_USER_INPUT' });
  }
  const content: unknown = document.errors.length > 0 ? {} : (document.toJS() ?? {});
  const top = parseReporting(z.record(z.string(), z.unknown(), { error: () => `${fileName} must be a map of settings: ${TOP_KEYS.join(', ')}` }), content, [], report) ?? {};
  for (const key of Object.keys(top).filter((name) => !TOP_KEYS.includes(name))) report([key], unknownName(key, TOP_KEYS));
  // `server:` with nothing but comments below it is an empty section.
  const parsed = <Schema extends z.ZodType>(schema: Schema, key: string) => parseReporting(schema, top[key] ?? undefined, [key], report);
  return {
    server: parsed(server.prefault({}), 'server') ?? {},
    database: parsed(database.prefault({}), 'database') ?? database.parse({}),
    limits: parsed(limits.prefault({}), 'limits') ?? limits.parse({}),
    dataDirectory: parsed(text('a directory').optional(), 'dataDirectory'),
    defaultCluster: parsed(text('the name of a cluster').optional(), 'defaultCluster'),
    clusters: readClusters(top['clusters'], report),
    failureRules: readFailureRules(top['failureRules'], report),
    retryPolicy: readRetryPolicy(top['retryPolicy'], report),
    report, faults,
  };
}
