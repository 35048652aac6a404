import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const run = promisify(execFile);
const examples = join(import.meta.dirname, '../../examples');

let folder: string;
beforeAll(async () => { folder = await mkdtemp(join(tmpdir(), 'expgraph-train-')); });
afterAll(async () => { await rm(folder, { recursive: true, force: true }); });

interface MetricLine { step: number; epoch: number; phase: 'train' | 'val'; loss: number; accuracy?: number }

async function train(name: string, overrides: string[], environment: Record<string, string> = {}) {
  const out = join(folder, name);
  const { stdout } = await run('python3', [join(examples, 'train.py'), '--out', out, ...overrides], { env: { PATH: process.env['PATH'], ...environment } });
  const text = await readFile(join(out, 'metrics.jsonl'), 'utf8');
  const lines = text.trimEnd().split('\n').map((line) => JSON.parse(line) as MetricLine);
  return { out, stdout, lines, validation: lines.filter((line) => line.phase === 'val') };
}

const short = ['train.epochs=4', 'data.train_size=600'];

describe('the example trainer', () => {
  test('learns: from chance (1 in 3) to over nine in ten on points it was not trained on', async () => {
    const { validation } = await train('learns', ['optim.lr=0.03', 'train.epochs=8']);
    expect(validation).toHaveLength(8);
    expect(validation.at(-1)!.accuracy).toBeGreaterThan(0.9);
    expect(validation.at(-1)!.loss).toBeLessThan(validation[0]!.loss);
  });

  test('writes a metrics line each step, in order, and validates each epoch', async () => {
    const { lines, validation } = await train('lines', short);
    expect(lines.filter((line) => line.phase === 'train').map((line) => line.step)).toEqual(Array.from({ length: 120 }, (_, index) => index + 1));
    expect(validation.map((line) => [line.step, line.epoch])).toEqual([[30, 1], [60, 2], [90, 3], [120, 4]]);
  });

  test('leaves one whole checkpoint an epoch, last.json, and nothing half-written', async () => {
    const { out } = await train('checkpoints', short);
    const names = (await readdir(join(out, 'checkpoints'))).sort();
    expect(names).toEqual(['epoch=1-step=30.json', 'epoch=2-step=60.json', 'epoch=3-step=90.json', 'epoch=4-step=120.json', 'last.json']);
    expect(await readlink(join(out, 'checkpoints/last.json'))).toBe('epoch=4-step=120.json');
    const result = JSON.parse(await readFile(join(out, 'result.json'), 'utf8')) as { metrics: Record<string, number>; artifacts: { checkpoint: string } };
    expect(result.artifacts.checkpoint).toBe(join(out, 'checkpoints/epoch=4-step=120.json'));
    expect(Object.keys(result.metrics)).toEqual(['val/loss', 'val/accuracy']);
  });

  test('a run resumed from a checkpoint ends in exactly the weights of the run that was never stopped', async () => {
    const whole = await train('whole', short);
    const resumed = await train('resumed', short, { EXPGRAPH_RESUME_CHECKPOINT: join(whole.out, 'checkpoints/epoch=2-step=60.json') });
    expect(resumed.stdout).toContain('resumed from');
    expect(resumed.lines[0]!.step).toBe(61);
    expect(await readFile(join(resumed.out, 'checkpoints/last.json'), 'utf8')).toBe(await readFile(join(whole.out, 'checkpoints/last.json'), 'utf8'));
  });

  test('takes its configuration from $EXPGRAPH_CONFIG, and an override wins', async () => {
    const config = join(folder, 'config.json');
    await writeFile(config, JSON.stringify({ optim: { lr: 0.02 }, train: { epochs: 1 }, data: { train_size: 100 } }));
    const { out } = await train('configured', ['model.hidden=5'], { EXPGRAPH_CONFIG: config });
    const state = JSON.parse(await readFile(join(out, 'checkpoints/last.json'), 'utf8')) as { config: Record<string, number>; weights: number[][][] };
    expect(state.config).toMatchObject({ 'optim.lr': 0.02, 'model.hidden': 5, 'train.epochs': 1 });
    expect(state.weights[0]).toHaveLength(5);
  });

  test('a learning rate far too high fails and says so', async () => {
    await expect(train('diverges', [...short, 'optim.lr=1e9'])).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('try a smaller optim.lr') });
  });

  test('an unknown key is refused with the known ones', async () => {
    await expect(train('typo', ['optim.learning_rate=1'])).rejects.toMatchObject({ stderr: expect.stringContaining('unknown key optim.learning_rate; known keys: seed,') });
  });

  test('evaluate.py loads a checkpoint and gives the accuracy that was logged with it', async () => {
    const { out, validation } = await train('evaluated', short);
    const { stdout } = await run('python3', [join(examples, 'evaluate.py'), join(out, 'checkpoints/epoch=3-step=90.json')]);
    expect(stdout).toBe(`accuracy=${validation[2]!.accuracy!.toFixed(4)} loss=${validation[2]!.loss.toFixed(6)} epoch=3 step=90\n`);
  });
});
