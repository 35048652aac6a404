/** The checks, on a copy of the project into which a breach of each kind was put: each must be reported, by name and place. */
import { execFile } from 'node:child_process';
import { appendFile, cp, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const CHECKED = ['src', 'test', 'bench', 'migrations', 'package.json', 'tsconfig.json', '.dependency-cruiser.cjs', '.oxlintrc.json', 'knip.json', 'drizzle.config.ts', 'vitest.config.ts'];
const CHECK_TIMEOUT_MS = 120_000;

let copy: string;
beforeAll(async () => {
  copy = await mkdtemp(join(tmpdir(), 'expgraph-breaches-'));
  for (const name of CHECKED) await cp(join(root, name), join(copy, name), { recursive: true });
  await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
});
afterAll(async () => { await rm(copy, { recursive: true, force: true }); });

const inCopy = (path: string, content: string) => writeFile(join(copy, path), content);

/** Runs a program of node_modules in the copy. */
function runCheck(program: string, ...argv: string[]): Promise<{ exitCode: number; stdout: string }> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [join(root, 'node_modules', program), ...argv], { cwd: copy, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') reject(error);
      else resolve({ exitCode: Number(error?.code ?? 0), stdout: stdout + stderr });
    });
  });
}

interface Cruise {
  modules: { source: string }[];
  summary: { violations: { rule: { name: string }; from: string; to: string }[] };
}

describe('npm run check:rooms', () => {
  let cruise: Cruise;
  beforeAll(async () => {
    await inCopy('src/domain/breach-upwards.ts', `import type { Database } from '../db/database.ts';\nexport type Breach = Database;\n`);
    await inCopy('src/domain/breach-core.ts', `export { readFile } from 'node:fs/promises';\n`);
    await inCopy('src/actions/breach-type.ts', `import type { Cluster } from '../cluster/executor.ts';\nexport type Breach = Cluster;\n`);
    await inCopy('src/graphql/breach-type.ts', `import type { Cluster } from '../cluster/executor.ts';\nexport type Breach = Cluster;\n`);
    await inCopy('src/actions/breach-vendor.ts', `import { sql } from 'drizzle-orm';\nexport const now = sql\`now()\`;\n`);
    await inCopy('src/http/breach-process.ts', `export { spawn } from 'node:child_process';\n`);
    await inCopy('src/cli/breach-src.ts', `export { JOB_STATES } from '../domain/states.ts';\n`);
    await inCopy('src/db/breach-test.ts', `export * from '../../test/check/breaches.test.ts';\n`);
    await inCopy('src/db/breach-cycle-a.ts', `import { b } from './breach-cycle-b.ts';\nexport const a = (): unknown => b;\n`);
    await inCopy('src/db/breach-cycle-b.ts', `import { a } from './breach-cycle-a.ts';\nexport const b = (): unknown => a;\n`);
    await inCopy('src/db/breach-orphan.ts', 'export const orphan = 1;\n');
    await inCopy('src/db/breach-dev.ts', `export { fc } from 'fast-check';\n`);
    await cp(join(copy, 'src/domain'), join(copy, 'src/newroom'), { recursive: true });
    cruise = JSON.parse((await runCheck('dependency-cruiser/bin/dependency-cruise.mjs', 'src', '--output-type', 'json')).stdout) as Cruise;
  }, CHECK_TIMEOUT_MS);

  test('looks at every source file', async () => {
    const files = (await readdir(join(root, 'src'), { recursive: true })).filter((name) => name.endsWith('.ts'));
    const cruised = new Set(cruise.modules.map(({ source }) => source));
    expect(files.length).toBeGreaterThan(50);
    expect(files.filter((name) => !cruised.has(`src/${name}`))).toEqual([]);
  });

  test.each([
    ['domain-imports-downwards', 'src/domain/breach-upwards.ts'],
    ['domain-core', 'src/domain/breach-core.ts'],
    ['actions-imports-downwards', 'src/actions/breach-type.ts'],
    ['graphql-imports-downwards', 'src/graphql/breach-type.ts'],
    ['actions-vendors', 'src/actions/breach-vendor.ts'],
    ['only-cluster-starts-processes', 'src/http/breach-process.ts'],
    ['cli-imports-downwards', 'src/cli/breach-src.ts'],
    ['product-does-not-import-tests', 'src/db/breach-test.ts'],
    ['no-cycles', 'src/db/breach-cycle-a.ts'],
    ['no-orphans', 'src/db/breach-orphan.ts'],
    ['declared', 'src/db/breach-dev.ts'],
    ['known-room', 'src/newroom/attempt-change.ts'],
  ])('%s: %s is reported', (rule, from) => {
    expect(cruise.summary.violations.filter((violation) => violation.from === from).map((violation) => violation.rule.name)).toContain(rule);
  });
});

test('npm run check:unused reports an export that nobody uses and a package that nobody needs', async () => {
  await appendFile(join(copy, 'src/domain/states.ts'), '\nexport function breachUnused(): number { return 1; }\n');
  const manifest = join(copy, 'package.json');
  await writeFile(manifest, JSON.stringify({ ...JSON.parse(await readFile(manifest, 'utf8')) as object, dependencies: { 'breach-package': '1.0.0' } }));
  const { exitCode, stdout } = await runCheck('knip/bin/knip.js');
  expect(exitCode).toBe(1);
  expect(stdout).toMatch(/breachUnused\s+function\s+src\/domain\/states\.ts/);
  expect(stdout).toMatch(/Unused dependencies[^]*breach-package/);
}, CHECK_TIMEOUT_MS);

test('npm run check:lint reports a long file, a long function, a lost promise and a type imported as a value', async () => {
  await inCopy('src/domain/breach-lint.ts', [
    `import { JobState } from './states.ts';`,
    'export async function lost(): Promise<JobState> { return "HELD"; }',
    `export function long(): void {\n  lost();\n${'\n'.repeat(70)}}`,
    '\n'.repeat(300),
  ].join('\n'));
  const { exitCode, stdout } = await runCheck('oxlint/bin/oxlint', '--type-aware', 'src/domain/breach-lint.ts');
  expect(exitCode).toBe(1);
  for (const rule of ['max-lines)', 'max-lines-per-function', 'no-floating-promises', 'consistent-type-imports']) expect(stdout).toContain(rule);
}, CHECK_TIMEOUT_MS);

test('npm run check:migrations reports a column that no migration makes', async () => {
  const drift = () => runCheck('tsx/dist/cli.mjs', 'test/check/migration-drift.ts');
  expect(await drift()).toMatchObject({ exitCode: 0 });
  await appendFile(join(copy, 'src/db/tables/events.ts'), `\nexport const breaches = pgTable('breaches', { id: uuid('id').primaryKey() });\n`);
  const { exitCode, stdout } = await drift();
  expect(exitCode).toBe(1);
  expect(stdout).toContain('CREATE TABLE "breaches"');
}, CHECK_TIMEOUT_MS);
