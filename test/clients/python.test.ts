/** The Python client: its own tests, its lint and its types, in environments that these tests make. */
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, type TestContext } from 'vitest';
import { openGraphqlClient } from '../../src/cli/graphql-client.ts';
import { startServer, type ServerProcess } from '../../src/cli/server-process.ts';
import { submitSweep } from '../../src/cli/sweep.ts';
import { ensureBuilt } from '../cli/built.ts';
import { pythonEnvironment, type PythonEnvironment } from '../support/python-environment.ts';

const root = join(import.meta.dirname, '../..');
const client = join(root, 'clients/python');
const SETUP_TIMEOUT_MS = 12 * 60_000;
const SUITE_TIMEOUT_MS = 5 * 60_000;
const CORE_PACKAGES = ['pytest==9.2.0', 'hatchling==1.33.0', 'ruff==0.17.6', 'mypy==2.4.1', 'vermin==1.9.2'];
const NOTEBOOK_PACKAGES = ['pytest==9.2.0', 'pandas==3.1.1', 'polars==2.1.0', 'pyarrow==26.0.1', 'tqdm==4.70.1', 'matplotlib==3.11.2', 'nbconvert==7.17.2', 'ipykernel==7.4.0'];
/** Where its registry has it, pip takes the build of torch that needs no GPU. */
const FRAMEWORK_PACKAGES = ['pytest==9.2.0', 'torch==2.13.0', 'lightning==2.6.6', 'transformers==5.23.0', 'accelerate==1.15.0'];

/** Imports every module, and all that a program may ask the package for; then logs. */
const EVERYTHING = `
import importlib, pkgutil, expgraph
for module in pkgutil.iter_modules(expgraph.__path__):
    if module.name not in ("lightning", "transformers"): importlib.import_module("expgraph." + module.name)
for name in dir(expgraph): getattr(expgraph, name)
expgraph.log({"loss": 1}, step=1)
expgraph.checkpoint("a.pt", step=1)
assert expgraph.flush(30)
`;

let core: PythonEnvironment;
/** A virtual environment with nothing but the client, as `pip install ./clients/python` puts it there, and where in it that is. */
let installation: string;
let site: string;

interface ExecutedNotebook {
  cells: { id: string; outputs: { data?: Record<string, string | string[]>; text?: string | string[] }[] }[];
}

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
  installation = await mkdtemp(join(tmpdir(), 'expgraph-python-'));
  core = await pythonEnvironment('core', CORE_PACKAGES);
  if (core.bin === null) return;
  const made = await runIn(core.bin, 'python', ['-m', 'venv', '--without-pip', installation]);
  expect(made.code, made.output).toBe(0);
  site = (await runIn(join(installation, 'bin'), 'python', ['-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'])).output.trim();
  const installed = await runIn(core.bin, 'python', ['-m', 'pip', 'install', '--quiet', '--no-build-isolation', '--no-deps', '--target', site, '.']);
  expect(installed.code, installed.output).toBe(0);
}, SETUP_TIMEOUT_MS);
afterAll(async () => { await rm(installation, { recursive: true, force: true }); });

describe('the logger of training runs', () => {
  test('logs with nothing but the standard library', async (context) => {
    await expectTestsToPass(bin(core, context), ['tests/test_metric_line.py', 'tests/test_job_log.py', 'tests/test_processes.py', 'tests/test_bad_disks.py']);
  }, SUITE_TIMEOUT_MS);

  test('logs from Lightning and from the Trainer of transformers', async (context) => {
    const frameworks = await pythonEnvironment('frameworks', FRAMEWORK_PACKAGES);
    await expectTestsToPass(bin(frameworks, context), ['tests/test_frameworks.py']);
  }, SETUP_TIMEOUT_MS);
});

describe('the client, against a server', () => {
  let folder: string;
  let server: ServerProcess;
  let notebook: PythonEnvironment;
  let environment: Record<string, string>;

  beforeAll(async () => {
    await ensureBuilt();
    folder = await mkdtemp(join(tmpdir(), 'expgraph-python-server-'));
    await chmod(folder, 0o711);
    server = await startServer({ dataDirectory: folder, argv: [process.execPath, join(root, 'dist/server/main.js')], signal: new AbortController().signal });
    environment = { EXPGRAPH_URL: server.url, EXPGRAPH_TOKEN: server.token };
    notebook = await pythonEnvironment('notebook', NOTEBOOK_PACKAGES);
  }, SETUP_TIMEOUT_MS);
  afterAll(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test('refuses what cannot be right, connects, follows events and goes on after lost connections, with nothing but the standard library', async (context) => {
    await expectTestsToPass(bin(core, context), ['tests/test_arguments.py', 'tests/test_transport.py', 'tests/test_watch.py'], environment);
  }, SUITE_TIMEOUT_MS);

  test('reads results into pandas, polars and Arrow, submits, changes and waits', async (context) => {
    await expectTestsToPass(bin(notebook, context), ['tests/test_results.py', 'tests/test_history.py', 'tests/test_submitting.py'], environment);
  }, SUITE_TIMEOUT_MS);

  test("the example notebook analyses the demo's sweep: results, curves, leaderboard, and the best checkpoint, loaded and evaluated", async (context) => {
    const programs = bin(notebook, context);
    const graphql = openGraphqlClient(server.url, server.token);
    const { jobCount } = await submitSweep(graphql).finally(() => graphql.close());
    const settings = Object.fromEntries(['IPYTHONDIR', 'JUPYTER_CONFIG_DIR', 'JUPYTER_DATA_DIR', 'JUPYTER_RUNTIME_DIR', 'MPLCONFIGDIR'].map((name) => [name, join(folder, 'jupyter')]));
    const argv = ['nbconvert', '--to', 'notebook', '--execute', '--output-dir', folder, join(root, 'examples/analysis.ipynb')];
    const { code, output } = await runIn(programs, 'jupyter', argv, { ...environment, ...settings });
    expect(code, output).toBe(0);
    const { cells } = JSON.parse(await readFile(join(folder, 'analysis.ipynb'), 'utf8')) as ExecutedNotebook;
    const outputOf = (id: string, type: string) => cells.find((cell) => cell.id === id)!.outputs.map(({ data, text }) => [data?.[type] ?? text ?? []].flat().join('')).join('');
    expect(outputOf('connect', 'text/html')).toContain(`${jobCount} of ${jobCount}`);
    expect(outputOf('results', 'text/html').match(/<tr>/g)).toHaveLength(8);
    expect(outputOf('curves', 'image/png').length).toBeGreaterThan(10_000);
    expect(outputOf('leaderboard', 'text/html').match(/<tr>/g)).toHaveLength(8);
    expect(outputOf('best', 'text/html')).toContain('/checkpoints/epoch=');
    const [, evaluated, logged] = /evaluated: (.*)\nlogged: {4}(.*)\n/.exec(outputOf('evaluate', 'text/plain')) ?? [];
    expect(evaluated).toMatch(/^loss 0\.\d+, accuracy 0\.9\d+$/);
    expect(logged).toBe(evaluated);
  }, SUITE_TIMEOUT_MS);
});

describe('the code of the client', () => {
  test('passes its lint', async (context) => {
    const { code, output } = await runIn(bin(core, context), 'ruff', ['check', '--no-cache', '--output-format', 'concise', '.']);
    expect(code, output).toBe(0);
  });

  test('passes mypy in strict mode', async (context) => {
    const { code, output } = await runIn(bin(core, context), 'mypy', []);
    expect(code, output).toBe(0);
  }, SUITE_TIMEOUT_MS);

  test('shows its types to the strict checks of whoever installs it, without pandas and with it', async (context) => {
    const programs = bin(core, context);
    const frames = join(installation, 'frames');
    for (const [library, name] of [['pandas', 'DataFrame'], ['polars', 'DataFrame'], ['pyarrow', 'Table']] as const) {
      await mkdir(join(frames, library), { recursive: true });
      await writeFile(join(frames, library, '__init__.pyi'), `class ${name}: ...\n`);
    }
    const check = (program: string[], environment: Record<string, string>) => runIn(programs, 'mypy', [
      '--config-file=', '--strict', '--cache-dir=/dev/null', '--python-executable', join(installation, 'bin/python'), ...program,
    ], { PYTHONPATH: '', ...environment });
    const withFrames = await check(['tests/typed_use.py'], { MYPYPATH: frames });
    expect(withFrames.code, withFrames.output).toBe(0);
    const withoutFrames = await check(['-c', 'import expgraph; print(expgraph.Client().results("e").shape)'], {});
    expect(withoutFrames.code, withoutFrames.output).toBe(0);
  }, SUITE_TIMEOUT_MS);

  test('needs no newer Python than it says', async (context) => {
    const programs = bin(core, context);
    const floor = /^requires-python = ">=(3\.\d+)"$/m.exec(await readFile(join(client, 'pyproject.toml'), 'utf8'))![1]!;
    const { code, output } = await runIn(programs, 'vermin', [`--target=${floor}-`, '--violations', '--no-tips', 'src']);
    expect(code, output).toBe(0);
  });

  test('works, without a warning, on every Python from the oldest on that this machine has', async (context) => {
    bin(core, context);
    const folder = await mkdtemp(join(tmpdir(), 'expgraph-pythons-'));
    const worked: string[] = [];
    for (const name of ['python3', ...[9, 10, 11, 12, 13, 14].map((minor) => `python3.${minor}`)]) {
      if ((await runIn('', name, ['-c', ''])).code !== 0) continue;
      const { code, output } = await runIn('', name, ['-W', 'error', '-c', EVERYTHING], { EXPGRAPH_JOB_DIR: folder });
      expect(code, `${name}: ${output}`).toBe(0);
      worked.push(name);
    }
    await rm(folder, { recursive: true, force: true });
    expect(worked).toContain('python3');
  }, SUITE_TIMEOUT_MS);
});
