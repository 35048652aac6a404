/** The Python client: its own tests, its lint and its types, each in an environment that these tests make. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, type TestContext } from 'vitest';
import { pythonEnvironment, type PythonEnvironment } from '../support/python-environment.ts';

const client = join(import.meta.dirname, '../../clients/python');
const SETUP_TIMEOUT_MS = 12 * 60_000;
const SUITE_TIMEOUT_MS = 5 * 60_000;
const CORE_PACKAGES = ['pytest==9.2.0', 'hatchling==1.33.0', 'ruff==0.17.6', 'mypy==2.4.1'];

let core: PythonEnvironment;
/** Where the client is installed, as `pip install ./clients/python` does it. */
let site: string;

interface Ended { code: number; output: string }

function runIn(bin: string, program: string, argv: string[], environment: Record<string, string> = {}): Promise<Ended> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(EXPGRAPH_|SLURM_|PYTHON)|RANK$/.test(name));
  const env = { ...Object.fromEntries(inherited), PYTHONPATH: site, PYTHONDONTWRITEBYTECODE: '1', ...environment };
  return new Promise((resolve) => {
    execFile(join(bin, program), argv, { cwd: client, env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), output: stdout + stderr });
    });
  });
}

function bin(environment: PythonEnvironment, context: TestContext): string {
  return environment.bin ?? context.skip(environment.unavailable);
}

async function expectTestsToPass(programs: string, tests: string[], environment: Record<string, string> = {}): Promise<void> {
  const { code, output } = await runIn(programs, 'python', ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--strict-markers', ...tests], environment);
  expect(code, output).toBe(0);
  expect(output).not.toMatch(/\d+ skipped/);
}

beforeAll(async () => {
  site = await mkdtemp(join(tmpdir(), 'expgraph-python-'));
  core = await pythonEnvironment('core', CORE_PACKAGES);
  if (core.bin === null) return;
  const installed = await runIn(core.bin, 'python', ['-m', 'pip', 'install', '--quiet', '--no-build-isolation', '--no-deps', '--target', site, '.']);
  expect(installed.code, installed.output).toBe(0);
}, SETUP_TIMEOUT_MS);
afterAll(async () => { await rm(site, { recursive: true, force: true }); });

describe('the Python client', () => {
  test('logs from a training run, with nothing but the standard library', async (context) => {
    await expectTestsToPass(bin(core, context), ['tests/test_metric_line.py', 'tests/test_job_log.py']);
  }, SUITE_TIMEOUT_MS);

  test('passes its lint', async (context) => {
    const { code, output } = await runIn(bin(core, context), 'ruff', ['check', '--no-cache', '--output-format', 'concise', '.']);
    expect(code, output).toBe(0);
  });

  test('passes mypy in strict mode', async (context) => {
    const { code, output } = await runIn(bin(core, context), 'mypy', []);
    expect(code, output).toBe(0);
  }, SUITE_TIMEOUT_MS);
});
