import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig, readConfig } from '../src/config.ts';
import { faultsOf, sources, temporaryFolder } from './support/config.ts';

const configOf = (...parts: Parameters<typeof sources>) => readConfig(sources(...parts));
const faultsIn = (...parts: Parameters<typeof sources>) => faultsOf(() => configOf(...parts));

describe('defaults', () => {
  it('listen on loopback, use the embedded database and have one local cluster', () => {
    const config = configOf(null);
    expect(config).toMatchObject({
      host: '127.0.0.1', port: 4000, roles: ['api', 'reconcile'], logLevel: 'info', database: { url: null },
      dataDirectory: '/home/ada/.local/share/expgraph', defaultCluster: 'local',
      limits: { maxJobsPerSweep: 10_000, maxConfigBytes: 2 * 1024 ** 2 }, maxRequestBytes: 16 * 1024 ** 2,
    });
    expect([...config.clusters.keys()]).toEqual(['local']);
    expect(config.clusters.get('local')).toMatchObject({ kind: 'LOCAL', rootDirectory: '/home/ada/.local/share/expgraph/jobs', pollSecondsMin: 0.2, pollSecondsMax: 2, ssh: null });
  });

  it('keep data in XDG_DATA_HOME, or in /var/lib for root', () => {
    expect(configOf(null, { XDG_DATA_HOME: '/data' }).dataDirectory).toBe('/data/expgraph');
    expect(configOf(null, {}, { isRoot: true }).dataDirectory).toBe('/var/lib/expgraph');
  });

  it('take an empty file and empty sections', () => {
    expect(configOf('').port).toBe(4000);
    expect(configOf('server:\n  # port: 1\nclusters:\n').clusters.has('local')).toBe(true);
  });

  it('cannot be changed afterwards', () => {
    const config = configOf(null);
    expect(() => { (config.limits as { maxJobsPerSweep: number }).maxJobsPerSweep = 1; }).toThrow(TypeError);
    expect(() => { config.clusters.get('local')!.maxActiveJobs = 1; }).toThrow(TypeError);
  });
});

describe('precedence', () => {
  const yaml = 'server: { host: 0.0.0.0, port: 5000, roles: [api] }\ndatabase: { url: "postgres://a@db/x" }\ndataDirectory: store\n';

  it('the file replaces defaults; its relative paths start at its own folder', () => {
    expect(configOf(yaml)).toMatchObject({ host: '0.0.0.0', port: 5000, roles: ['api'], database: { url: 'postgres://a@db/x' }, dataDirectory: '/srv/lab/store' });
  });

  it('the environment replaces the file', () => {
    const env = { EXPGRAPH_HOST: '::1', EXPGRAPH_PORT: '0', EXPGRAPH_ROLES: 'reconcile, api', DATABASE_URL: 'postgresql://b@db/y', EXPGRAPH_DATA_DIR: '~/eg', EXPGRAPH_ALLOWED_ORIGINS: 'https://lab.example.org,http://localhost:3000' };
    expect(configOf(yaml, env)).toMatchObject({
      host: '::1', port: 0, roles: ['reconcile', 'api'], database: { url: 'postgresql://b@db/y' }, dataDirectory: '/home/ada/eg',
      allowedOrigins: ['https://lab.example.org', 'http://localhost:3000'],
    });
  });

  it('an empty variable counts as unset, and variables for clients are no fault', () => {
    expect(configOf(null, { EXPGRAPH_PORT: '', EXPGRAPH_URL: 'http://x', EXPGRAPH_TOKEN: 'eg_x' }).port).toBe(4000);
  });
});

describe('clusters', () => {
  it('a SLURM cluster carries its ssh settings, defaults and limits', () => {
    const home = temporaryFolder();
    mkdirSync(join(home, '.ssh'));
    mkdirSync(join(home, 'keys'));
    writeFileSync(join(home, '.ssh', 'id_torch'), '');
    writeFileSync(join(home, 'keys', 'known_hosts'), '');
    const yaml = `
defaultCluster: torch
clusters:
  torch:
    kind: slurm
    rootDirectory: /scratch/ab123/expgraph
    ssh: { host: 127.0.0.1, port: 2222, user: ab123, identityFile: ~/.ssh/id_torch, knownHostsFile: keys/known_hosts, configFile: /dev/null, maxChannels: 4 }
    defaults: { partition: gpu, account: cds, cpus: 6, memoryMiB: 20000, timeLimitMinutes: 2820, gpus: 1, gpuType: rtx8000 }
    setupScript: |
      module load cuda
    pollSeconds: { max: 60 }
  here: { kind: local, maxActiveJobs: 3 }
`;
    const config = configOf(yaml, { HOME: home }, { configFilePath: join(home, 'expgraph.yaml') });
    expect(config.defaultCluster).toBe('torch');
    expect(config.clusters.get('torch')).toMatchObject({
      name: 'torch', kind: 'SLURM', rootDirectory: '/scratch/ab123/expgraph', maxActiveJobs: 2000, setupScript: 'module load cuda\n',
      pollSecondsMin: 2, pollSecondsMax: 60, watch: true, submitGraceSeconds: 30,
      defaultResources: { partition: 'gpu', account: 'cds', cpus: 6, memoryMiB: 20_000, timeLimitMinutes: 2820, gpus: 1, gpuType: 'rtx8000' },
      ssh: { host: '127.0.0.1', port: 2222, user: 'ab123', identityFile: join(home, '.ssh', 'id_torch'), knownHostsFiles: [join(home, 'keys', 'known_hosts')], jumps: [], maxChannels: 4 },
    });
    expect(config.clusters.get('here')).toMatchObject({ kind: 'LOCAL', maxActiveJobs: 3, rootDirectory: join(home, '.local/share/expgraph/jobs') });
  });

  it('without ssh the SLURM commands run on this machine', () => {
    expect(configOf('clusters: { a: { kind: slurm, rootDirectory: /s } }').clusters.get('a')).toMatchObject({ kind: 'SLURM', ssh: null });
  });

  it('the first one named is the default', () => {
    expect(configOf('clusters: { b: { kind: local }, a: { kind: local } }').defaultCluster).toBe('b');
  });
});

describe('faults', () => {
  it('of environment and file are all listed at once, each with what would be right and its line', () => {
    const yaml = `server:
  prot: 5000
  host: 7
limits:
  maxJobsPerSweep: many
defaultCluster: torc
clusters:
  torch:
    kind: slurm
    ssh: { host: t, knowHostsFile: x }
    defaults: { memoryMiB: 12.5 }
  other:
    kind: local
    rootDirectory: ~/jobs
    pollSeconds: { min: 0 }
  third:
    kind: local
    ssh: { host: x }
    pollSeconds: { min: 5, max: 1 }
colour: red
`;
    const faults = faultsIn(yaml, { EXPGRAPH_PORT: '70000', EXPGRAPH_ROLES: 'api,workers', EXPGRAPH_PROT: '1', DATABASE_URL: 'mysql://u:secret@h/d', EXPGRAPH_ALLOWED_ORIGINS: 'https://x.org/' });
    expect(faults).toMatchObject({
      'EXPGRAPH_PORT': 'must be a whole number from 0 to 65535, not 70000',
      'EXPGRAPH_ROLES': 'must be one of api, reconcile, not "workers"',
      'EXPGRAPH_ALLOWED_ORIGINS': expect.stringContaining('https://lab.example.org'),
      'EXPGRAPH_PROT': expect.stringMatching(/did you mean "EXPGRAPH_PORT"\? Valid: EXPGRAPH_CONFIG, .*DATABASE_URL/),
      'DATABASE_URL': expect.stringContaining('postgres://'),
      'server.prot': '"prot" is unknown; did you mean "port"? Valid: host, port, allowedOrigins, roles (/srv/lab/expgraph.yaml line 2)',
      'server.host': expect.stringMatching(/must be a host name.* not 7 .*line 3/),
      'limits.maxJobsPerSweep': expect.stringMatching(/whole number from 1 to 1000000, not "many" .*line 5/),
      'defaultCluster': expect.stringMatching(/did you mean "torch"\? Valid: torch, other, third .*line 6/),
      'clusters.torch.ssh.knowHostsFile': expect.stringMatching(/did you mean "knownHostsFile"\?.*line 10/),
      'clusters.torch.defaults.memoryMiB': expect.stringMatching(/whole number .* not 12.5 .*line 11/),
      'clusters.other.rootDirectory': expect.stringMatching(/absolute path .*"~\/jobs".*line 14/),
      'clusters.other.pollSeconds.min': expect.stringContaining('above 0'),
      'clusters.third.ssh': expect.stringContaining('kind: slurm'),
      'clusters.third.pollSeconds': expect.stringContaining('min (5) must not be above max (1)'),
      'colour': expect.stringMatching(/Valid: server, database, .*line 20/),
    });
    expect(JSON.stringify(faults)).not.toContain('secret');
  });

  it.each(['/a b', '/a$b', '/a%j', '/ä', 'relative', '/a\\b', '/a"b'])('a root directory %j is refused', (rootDirectory) => {
    expect(faultsIn(JSON.stringify({ clusters: { c: { kind: 'slurm', rootDirectory } } }))).toHaveProperty('clusters.c.rootDirectory');
  });

  it('defaults that no job could be submitted with are refused', () => {
    const faults = faultsIn('clusters: { c: { kind: slurm, rootDirectory: /s, defaults: { partition: "a b", gpuType: "x y", sbatchOptions: { constrain: v100, output: log } } } }');
    expect(faults).toMatchObject({
      'clusters.c.defaults.partition': expect.stringContaining('"a b"'),
      'clusters.c.defaults.gpuType': expect.stringContaining('"x y"'),
      'clusters.c.defaults.sbatchOptions.constrain': expect.stringContaining('Did you mean constraint'),
      'clusters.c.defaults.sbatchOptions.output': expect.stringContaining('not allowed'),
    });
  });

  it('a SLURM cluster needs a root directory', () => {
    expect(faultsIn('clusters: { c: { kind: slurm } }')['clusters.c.rootDirectory']).toContain('is required');
  });

  it('broken YAML is named with its line', () => {
    expect(faultsIn('server:\n  port: 1\n  port: 2\n')['']).toMatch(/line 3 is not valid YAML/);
    expect(faultsIn('- a\n')['']).toContain('must be a map of settings');
  });

  it('a data folder that the embedded database cannot enter is refused for root, unless there is another database', () => {
    const closed = { isRoot: true, obstacle: () => ({ kind: 'CLOSED' as const, path: '/root' }) };
    expect(faultsIn(null, { EXPGRAPH_DATA_DIR: '/root/eg' }, closed)['EXPGRAPH_DATA_DIR']).toMatch(/only root may enter \/root.*DATABASE_URL/s);
    expect(configOf(null, { EXPGRAPH_DATA_DIR: '/root/eg', DATABASE_URL: 'postgres://h/d' }, closed).dataDirectory).toBe('/root/eg');
  });
});

describe('loading', () => {
  const folder = temporaryFolder();
  const file = join(folder, 'custom.yaml');
  const base = { HOME: folder, EXPGRAPH_DATA_DIR: '/var/lib/expgraph-test', DATABASE_URL: 'postgres://h/d' };

  it('reads the file that EXPGRAPH_CONFIG names, below what the command line says', () => {
    writeFileSync(file, 'server: { host: 0.0.0.0, port: 5001 }\n');
    expect(loadConfig({ port: 0 }, { ...base, EXPGRAPH_CONFIG: file })).toMatchObject({ host: '0.0.0.0', port: 0 });
  });

  it('a file that is named but not there is a fault beside the others', () => {
    expect(Object.keys(faultsOf(() => loadConfig({}, { ...base, EXPGRAPH_CONFIG: join(folder, 'absent.yaml'), EXPGRAPH_PORT: 'x' })))).toEqual(['EXPGRAPH_PORT', 'EXPGRAPH_CONFIG']);
  });

  it.runIf(process.getuid?.() === 0)('finds the folder that only root may enter', () => {
    chmodSync(folder, 0o700);
    const faults = faultsOf(() => loadConfig({}, { HOME: '/', EXPGRAPH_DATA_DIR: join(folder, 'a', 'b') }));
    expect(faults['EXPGRAPH_DATA_DIR']).toContain(`only root may enter ${folder}.`);
  });
});

describe('rules about failures', () => {
  it('are empty without a section: nothing is tried again by itself', () => {
    expect(configOf(null)).toMatchObject({ failureRules: [], retryPolicy: [] });
  });

  it('become patterns that ignore case, and rules filled up from the preset of their class', () => {
    const { failureRules, retryPolicy } = configOf(
      'failureRules:\n  - class: SITE_RULE\n    patterns: ["licen[cs]e server .* unreachable"]\n    exitCodes: [42]\n    advice: Ask the site.\n'
      + 'retryPolicy:\n  - failureClass: CUDA_OUT_OF_MEMORY\n    maxRetries: 3\n  - failureClass: TIME_LIMIT\n');
    expect(failureRules).toEqual([{ class: 'SITE_RULE', patterns: [/licen[cs]e server .* unreachable/i], exitCodes: [42], advice: 'Ask the site.' }]);
    expect(retryPolicy).toMatchObject([
      { failureClass: 'CUDA_OUT_OF_MEMORY', maxRetries: 3, priorityBoost: 50, configChanges: [{ key: 'batch_size', multiply: 0.5 }, { key: 'gradient_accumulation', multiply: 2 }] },
      { failureClass: 'TIME_LIMIT', maxRetries: 2, timeLimitFactor: 1.5, configChanges: [] },
    ]);
    expect(failureRules[0]!.patterns[0]!.test('License server x is UNREACHABLE')).toBe(true);
  });

  it('say what is wrong with them, with the line of the list item', () => {
    expect(faultsIn('failureRules:\n  - class: SITE_RULE\n    patterns:\n      - "fine"\n      - "(a+)+$"\n      - "[unclosed"\n  - class: SITE_RULE\n')).toMatchObject({
      'failureRules.0.patterns.1': expect.stringMatching(/repeats inside a repetition.*line 5/),
      'failureRules.0.patterns.2': expect.stringMatching(/not a regular expression.*line 6/),
      'failureRules.1': expect.stringMatching(/would hold for every failure.*line 7/),
    });
    expect(faultsIn('failureRules:\n  - class: OOM\n    pattern: x\n')).toMatchObject({
      'failureRules.0.class': expect.stringContaining('CUDA_OUT_OF_MEMORY'), 'failureRules.0.pattern': expect.stringContaining('did you mean "patterns"'),
    });
    expect(faultsIn('retryPolicy:\n  - failureClass: NAN_LOSS\n    maxRetries: 99\n  - failureClass: NAN_LOSS\n    configChanges:\n      - key: optim.lr\n')).toMatchObject({
      'retryPolicy.0.maxRetries': expect.stringMatching(/0 to 20.*line 3/),
      'retryPolicy.1.failureClass': expect.stringMatching(/has a rule already.*line 4/),
      'retryPolicy.1.configChanges.0': expect.stringMatching(/exactly one of multiply and set.*line 6/),
    });
    expect(faultsIn('retryPolicy:\n  - failureClass: LOST\n')).toHaveProperty(['retryPolicy.0.failureClass']);
  });
});
