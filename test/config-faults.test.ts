import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig, readConfig } from '../src/config.ts';
import { faultsOf, sources, temporaryFolder } from './support/config.ts';

const faultsIn = (...parts: Parameters<typeof sources>) => faultsOf(() => readConfig(sources(...parts)));

describe('faults that others used to hide', () => {
  it('are listed beside a fault of another field, and a field is named once', () => {
    const faults = faultsIn(`clusters:
  a:
    kind: slurm
    maxActiveJobs: many
    rootDirectory: relative
    ssh: { host: h, port: 0, proxyJump: "a b" }
    defaults: { partition: "a b", cpus: x, sbatchOptions: { constrain: v100 } }
    pollSeconds: { min: 5, max: 1 }
  b:
    knd: slurm
    rootDirectory: /s
    ssh: { user: me }
    pollSeconds: { min: 5, max: 1 }
  c: { kind: slurm, rootDirectory: /s, ssh: { host: "a@b", proxyJump: "a b" } }
`);
    expect(faults).toMatchObject({
      'clusters.a.maxActiveJobs': expect.stringContaining('"many"'),
      'clusters.a.rootDirectory': expect.stringContaining('absolute path'),
      'clusters.a.ssh.port': expect.stringContaining('whole number'),
      'clusters.a.ssh.proxyJump': expect.stringContaining('not a host to jump through'),
      'clusters.a.defaults.cpus': expect.stringContaining('whole number'),
      'clusters.a.defaults.partition': expect.stringContaining('"a b"'),
      'clusters.a.defaults.sbatchOptions.constrain': expect.stringContaining('Did you mean constraint'),
      'clusters.a.pollSeconds': expect.stringContaining('must not be above'),
      'clusters.b.kind': expect.stringContaining('one of slurm, local'),
      'clusters.b.knd': expect.stringContaining('did you mean "kind"'),
      'clusters.b.ssh.host': expect.stringContaining('host name'),
      'clusters.b.pollSeconds': expect.stringContaining('must not be above'),
      'clusters.c.ssh.host': expect.stringContaining('is not a host'),
      'clusters.c.ssh.proxyJump': expect.stringContaining('not a host to jump through'),
    });
    expect(Object.keys(faults)).toHaveLength(14);
  });

  it('say in words what a list must be', () => {
    expect(faultsIn('server: { roles: "api,foo", allowedOrigins: x }')).toMatchObject({
      'server.roles': expect.stringMatching(/^must be a list of roles out of api, reconcile, not "api,foo"/),
      'server.allowedOrigins': expect.stringMatching(/^must be a list of origins/),
    });
    expect(faultsIn(null, { EXPGRAPH_ROLES: ',' })).toEqual({ EXPGRAPH_ROLES: 'must be a list of roles out of api, reconcile, not []' });
  });

  it('suggest a name only when one is near, and never one that the server does not read', () => {
    expect(faultsIn('clusters: { c: { kind: local, defaults: { foo: 1 } } }')['clusters.c.defaults.foo']).toMatch(/^"foo" is unknown\. Valid: partition/);
    expect(faultsIn(null, { EXPGRAPH_URLS: 'x' })['EXPGRAPH_URLS']).not.toContain('EXPGRAPH_URL,');
  });

  it('a data directory that is a file, or below one, is refused as such', () => {
    const folder = temporaryFolder();
    const file = join(folder, 'file');
    writeFileSync(file, '');
    for (const path of [file, join(file, 'below')]) {
      const faults = faultsOf(() => loadConfig({}, { HOME: folder, EXPGRAPH_CONFIG: '/dev/null', EXPGRAPH_DATA_DIR: path }));
      expect(faults['EXPGRAPH_DATA_DIR']).toBe(`${file} is a file; give a directory, which is made if it is missing`);
    }
  });
});
