/**
 * Do the checked-in migrations build the tables that src/db/tables describes? Generates what is missing into a copy of
 * `migrations/` and fails when there is something. Needs no database.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

const root = process.cwd();
const copy = mkdtempSync(join(tmpdir(), 'expgraph-migrations-'));
try {
  cpSync(join(root, 'migrations'), copy, { recursive: true });
  const before = new Set(readdirSync(copy));
  // Standard input is closed: asked whether a column was renamed, drizzle-kit fails instead of waiting for an answer.
  const drizzleKit = (...argv: string[]) => execFileSync(process.execPath, [join(root, 'node_modules/drizzle-kit/bin.cjs'), ...argv], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  drizzleKit('check', '--dialect', 'postgresql', '--out', relative(root, copy));
  const output = drizzleKit('generate', '--dialect', 'postgresql', '--schema', './src/db/tables/index.ts', '--out', relative(root, copy));
  const missing = readdirSync(copy).filter((name) => !before.has(name));
  if (missing.length > 0) {
    const statements = missing.map((name) => readFileSync(join(copy, name), 'utf8')).join('\n');
    throw new Error(`migrations/ lags behind src/db/tables; run: npm run migrations -- --name <what changed>\n${statements}`);
  }
  if (!output.includes('No schema changes')) throw new Error(`drizzle-kit gave an answer that was not expected:\n${output}`);
  console.log(`migrations: ${before.size - 1} migration file(s), no drift`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  rmSync(copy, { recursive: true, force: true });
}
