/** Every layout on files that the real framework wrote, where it can be had; and what holds for all of them. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CHECKPOINT_LAYOUTS } from '../../../src/domain/checkpoint-layouts/layout.ts';
import { LAYOUT_READERS } from '../../../src/domain/checkpoint-layouts/all-layouts.ts';
import { RECORDED_RUNS } from '../readers/job-folder.ts';
import { scanFolder, summary } from './on-disk.ts';

const folders: string[] = [];
afterAll(() => { for (const folder of folders) rmSync(folder, { recursive: true }); });

/** A job directory with what a framework left, or with files of the given sizes or texts. */
function jobOf(run: string | Record<string, string | number>): string {
  const folder = mkdtempSync(join(tmpdir(), 'expgraph-layouts-'));
  folders.push(folder);
  if (typeof run === 'string') cpSync(join(RECORDED_RUNS, run), folder, { recursive: true, verbatimSymlinks: true });
  else for (const [path, content] of Object.entries(run)) put(folder, path, content);
  return folder;
}

function put(folder: string, path: string, content: string | number): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), typeof content === 'number' ? Buffer.alloc(content, 1) : content);
}

const RUNS: [layout: string, run: string, expected: Record<string, string>][] = [
  ['LIGHTNING', 'lightning', {
    'checkpoints/copies/epoch=0-val_loss=0.07.ckpt': 'COMPLETE LIGHTNING - 0/NAME/CERTAIN',
    'checkpoints/copies/last.ckpt': 'COMPLETE LIGHTNING - - last',
    'checkpoints/epoch=1-step=8.ckpt': 'COMPLETE LIGHTNING 8/NAME/CERTAIN 1/NAME/CERTAIN',
    'checkpoints/epoch=1-step=8-v1.ckpt': 'COMPLETE LIGHTNING 8/NAME/CERTAIN 1/NAME/CERTAIN',
    'checkpoints/epoch=2-step=12.ckpt': 'COMPLETE LIGHTNING 12/NAME/CERTAIN 2/NAME/CERTAIN last',
    'checkpoints/epoch=2-step=12-v1.ckpt': 'COMPLETE LIGHTNING 12/NAME/CERTAIN 2/NAME/CERTAIN',
  }],
  ['HUGGING_FACE', 'transformers', {
    'checkpoints/checkpoint-8': 'COMPLETE HUGGING_FACE 8/FILE/CERTAIN 2/FILE/CERTAIN',
    'checkpoints/checkpoint-10': 'COMPLETE HUGGING_FACE 10/FILE/CERTAIN 2.5/FILE/CERTAIN best',
    'checkpoints/sharded': 'COMPLETE SAFETENSORS - -',
  }],
  ['ACCELERATE', 'accelerate', { 'checkpoints/checkpoint_1': 'COMPLETE ACCELERATE - -', 'checkpoints/checkpoint_2': 'COMPLETE ACCELERATE - -' }],
  ['KERAS', 'keras', {
    'checkpoints/best.keras': 'COMPLETE KERAS - - best',
    ...Object.fromEntries([1, 2, 3].map((epoch) => [`checkpoints/cp-000${epoch}.weights.h5`, `COMPLETE KERAS - ${epoch}/NAME/LIKELY`])),
    'checkpoints/model.01-0.91.keras': 'COMPLETE KERAS - 1/NAME/LIKELY',
    'checkpoints/model.02-0.73.keras': 'COMPLETE KERAS - 2/NAME/LIKELY',
    'checkpoints/model.03-0.59.keras': 'COMPLETE KERAS - 3/NAME/LIKELY',
  }],
  ['ORBAX', 'orbax', {
    'checkpoints/200': 'COMPLETE ORBAX 200/NAME/CERTAIN -',
    'checkpoints/300': 'COMPLETE ORBAX 300/NAME/CERTAIN -',
    'checkpoints/400.orbax-checkpoint-tmp': 'PARTIAL ORBAX 400/NAME/CERTAIN -',
  }],
  ['SAFETENSORS', 'safetensors', {
    'checkpoints/step_10': 'COMPLETE SAFETENSORS 10/NAME/LIKELY -',
    'checkpoints/step_20.safetensors': 'PARTIAL SAFETENSORS 20/NAME/LIKELY -',
    'checkpoints/step_30.safetensors': 'COMPLETE SAFETENSORS 30/NAME/LIKELY -',
  }],
  ['DEEPSPEED', 'deepspeed', {
    'checkpoints/global_step5': 'COMPLETE DEEPSPEED 5/NAME/CERTAIN -', 'checkpoints/global_step10': 'COMPLETE DEEPSPEED 10/NAME/CERTAIN - last',
  }],
  ['MEGATRON', 'megatron', { 'checkpoints/iter_0000400': 'COMPLETE MEGATRON 400/NAME/CERTAIN -', 'checkpoints/iter_0000500': 'COMPLETE MEGATRON 500/NAME/CERTAIN - last' }],
  ['PLAIN', 'plain', {
    'checkpoints/epoch_5.pt': 'COMPLETE PLAIN - 5/NAME/LIKELY', 'checkpoints/epoch_10.pt': 'COMPLETE PLAIN - 10/NAME/LIKELY',
    'checkpoints/model_500.pt': 'COMPLETE PLAIN 500/NAME/GUESS -', 'checkpoints/best.pth': 'COMPLETE PLAIN - - best',
  }],
];

it('every layout has a case', () => {
  expect(LAYOUT_READERS.map(({ layout }) => layout)).toEqual([...CHECKPOINT_LAYOUTS]);
  expect(RUNS.map(([layout]) => layout).sort()).toEqual([...CHECKPOINT_LAYOUTS].sort());
});

describe.each(RUNS)('%s', (_, run, expected) => {
  it('is found and understood, and what is none is left out', () => {
    expect(summary(scanFolder(jobOf(run)))).toEqual(expected);
  });

  it('is WRITING at first, decided when two scans agree, then no news, DELETED when it is gone, and back', () => {
    const folder = jobOf(run);
    const first = scanFolder(folder, { jobEnded: false });
    expect(first.map(({ state }) => state)).toEqual(first.map(() => 'WRITING'));
    const second = scanFolder(folder, { jobEnded: false, known: first });
    const known = first.map((change) => second.find(({ relativePath }) => relativePath === change.relativePath) ?? change);
    const unfinished = (path: string): boolean => /orbax-checkpoint-tmp/.test(path);
    for (const { relativePath, state } of known) {
      expect([relativePath, state]).toEqual([relativePath, unfinished(relativePath) ? 'WRITING' : expected[relativePath]!.split(' ')[0]]);
    }
    expect(scanFolder(folder, { jobEnded: false, known })).toEqual([]);
    rmSync(join(folder, 'checkpoints'), { recursive: true });
    const gone = scanFolder(folder, { jobEnded: false, known });
    expect(gone.map(({ state }) => state)).toEqual(known.map(() => 'DELETED'));
    cpSync(jobOf(run), folder, { recursive: true, verbatimSymlinks: true });
    expect(scanFolder(folder, { jobEnded: false, known: gone }).map(({ state }) => state)).toEqual(known.map(() => 'WRITING'));
  });

  it('is found by its framework elsewhere in the job directory only under an unmistakable name', () => {
    const folder = jobOf({});
    const source = jobOf(run);
    cpSync(join(source, 'checkpoints'), join(folder, 'output', 'deep'), { recursive: true, verbatimSymlinks: true });
    const found = scanFolder(folder).map(({ layout }) => layout);
    const unmistakable = new Set(LAYOUT_READERS.filter((reader) => reader.isUnmistakable).map(({ layout }) => layout));
    for (const layout of found) expect(unmistakable.has(layout!)).toBe(true);
  });
});

it('of files with no layout, those count that are named like weights or say their step', () => {
  const folder = jobOf({ 'checkpoints/config.json': 1, 'checkpoints/train.log': 1, 'checkpoints/weights.bin': 1, 'checkpoints/epoch=3-step=7.json': 1 });
  expect(summary(scanFolder(folder))).toEqual({ 'checkpoints/weights.bin': 'COMPLETE PLAIN - -', 'checkpoints/epoch=3-step=7.json': 'COMPLETE PLAIN 7/NAME/LIKELY 3/NAME/LIKELY' });
});

it("Megatron's older form, a file a rank, is one checkpoint as well", () => {
  const folder = jobOf({ 'checkpoints/latest_checkpointed_iteration.txt': '500\n', 'checkpoints/iter_0000500/mp_rank_00/model_optim_rng.pt': 10, 'checkpoints/iter_0000500/mp_rank_01/model_optim_rng.pt': 10 });
  expect(summary(scanFolder(folder))).toEqual({ 'checkpoints/iter_0000500': 'COMPLETE MEGATRON 500/NAME/CERTAIN - last' });
});

describe('whether it is whole', () => {
  it('one of DeepSpeed without the states of the model is PARTIAL', () => {
    const folder = jobOf('deepspeed');
    rmSync(join(folder, 'checkpoints/global_step5/mp_rank_00_model_states.pt'));
    expect(summary(scanFolder(folder))['checkpoints/global_step5']).toBe('PARTIAL DEEPSPEED 5/NAME/CERTAIN -');
  });

  const shard = (number: number) => `checkpoints/checkpoint-5/model-0000${number}-of-00003.safetensors`;
  const state = (folder: string) => scanFolder(folder).map((change) => change.state);
  const header = (dataBytes: number, more = '') => {
    const text = JSON.stringify({ __metadata__: { more }, w: { dtype: 'U8', shape: [dataBytes], data_offsets: [0, dataBytes] } });
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([length, Buffer.from(text), Buffer.alloc(dataBytes)]);
  };
  const putShard = (folder: string, path: string, content: Buffer) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  };

  it('a shard is missing by its number, and by the index', () => {
    const folder = jobOf({});
    for (const number of [1, 3]) putShard(folder, shard(number), header(5));
    expect(state(folder)).toEqual(['PARTIAL']);
    putShard(folder, shard(2), header(5));
    expect(state(folder)).toEqual(['COMPLETE']);
    put(folder, 'checkpoints/checkpoint-5/model.safetensors.index.json', JSON.stringify({ weight_map: { a: 'model-00001-of-00003.safetensors', b: 'other.safetensors' } }));
    expect(state(folder)).toEqual(['PARTIAL']);
  });

  it('a header longer than what is read at first is read whole', () => {
    const folder = jobOf({});
    const path = 'checkpoints/step_1.safetensors';
    putShard(folder, path, header(100, 'x'.repeat(100_000)));
    expect(state(folder)).toEqual(['COMPLETE']);
    truncateSync(join(folder, path), 100_100);
    expect(state(folder)).toEqual(['PARTIAL']);
  });

  it.each([['garbage', Buffer.alloc(1000, 0xff)], ['7 bytes', Buffer.alloc(7)], ['a header that is no JSON', Buffer.concat([Buffer.from([4, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('nope'), Buffer.alloc(50)])]])(
    'a safetensors file of %s is PARTIAL', (_, content) => {
      const folder = jobOf({});
      putShard(folder, 'checkpoints/step_1.safetensors', content);
      expect(state(folder)).toEqual(['PARTIAL']);
    });

  it('while a job runs, one that is cut short is PARTIAL once it is left alone, and WRITING again when it is written on', () => {
    const folder = jobOf('safetensors');
    const path = 'checkpoints/step_20.safetensors';
    const only = (changes: ReturnType<typeof scanFolder>) => changes.filter(({ relativePath }) => relativePath === path);
    const first = only(scanFolder(folder, { jobEnded: false }));
    const second = only(scanFolder(folder, { jobEnded: false, known: first }));
    expect(second.map((change) => change.state)).toEqual(['PARTIAL']);
    cpSync(join(folder, 'checkpoints/step_30.safetensors'), join(folder, path));
    const third = only(scanFolder(folder, { jobEnded: false, known: second }));
    expect(third.map((change) => change.state)).toEqual(['WRITING']);
    expect(only(scanFolder(folder, { jobEnded: false, known: third })).map((change) => change.state)).toEqual(['COMPLETE']);
  });

  it('shards that lie beside each other count as one checkpoint', () => {
    const folder = jobOf({ 'checkpoints/cp-0003.ckpt.index': 5, 'checkpoints/cp-0003.ckpt.data-00000-of-00001': 50, 'checkpoints/checkpoint': 'model_checkpoint_path: "cp-0003.ckpt"\n', 'checkpoints/ckpt-7.index': 5, 'checkpoints/ckpt-7.data-00000-of-00001': 5 });
    for (const number of [1, 2, 3]) putShard(folder, `checkpoints/model-0000${number}-of-00003.safetensors`, header(5));
    expect(summary(scanFolder(folder))).toEqual({
      'checkpoints/cp-0003.ckpt': 'COMPLETE KERAS - 3/NAME/LIKELY last', 'checkpoints/ckpt-7': 'COMPLETE KERAS - -', 'checkpoints/model.safetensors.index.json': 'COMPLETE SAFETENSORS - -',
    });
    expect(scanFolder(folder).map(({ fileCount }) => fileCount)).toEqual(expect.arrayContaining([2, 2, 3]));
  });
});

describe('what the job said', () => {
  const line = { path: 'weights/final', step: 7, epoch: 1.5, metrics: { loss: 0.5 }, aliases: ['mine'], time: new Date(0) };

  it('is found wherever it lies, and beats what the name says', () => {
    const folder = jobOf({ 'weights/final/a.bin': 5, 'weights/other/b.bin': 5, 'checkpoints/epoch=1-step=2.ckpt': 5 });
    const changes = scanFolder(folder, { logged: [line, { ...line, path: 'checkpoints/epoch=1-step=2.ckpt', epoch: null }] });
    expect(summary(changes)).toEqual({ 'weights/final': 'COMPLETE PLAIN 7/LOGGED/CERTAIN 1.5/LOGGED/CERTAIN final mine', 'checkpoints/epoch=1-step=2.ckpt': 'COMPLETE LIGHTNING 7/LOGGED/CERTAIN 1/NAME/CERTAIN mine' });
    expect(changes.map(({ loggedMetrics }) => loggedMetrics)).toEqual([{ loss: 0.5 }, { loss: 0.5 }]);
  });

  it('of a link is said of what it leads to; of something not yet listed it waits', () => {
    const folder = jobOf({ 'checkpoints/a.ckpt': 5 });
    symlinkSync('a.ckpt', join(folder, 'checkpoints/last.ckpt'));
    expect(summary(scanFolder(folder, { logged: [{ ...line, path: 'checkpoints/last.ckpt' }] }))).toEqual({ 'checkpoints/a.ckpt': 'COMPLETE PLAIN 7/LOGGED/CERTAIN 1.5/LOGGED/CERTAIN last mine' });
    expect(summary(scanFolder(folder, { logged: [line] }))).toMatchObject({ 'weights/final': 'WRITING  7/LOGGED/CERTAIN 1.5/LOGGED/CERTAIN mine' });
  });
});

it('the best checkpoint moves where the newest record says another is', () => {
  const state = (best: string) => JSON.stringify({ best_model_checkpoint: `/x/${best}`, epoch: 1, global_step: Number(best.slice(-1)), log_history: [{ epoch: 9 }] });
  const folder = jobOf({ 'checkpoints/checkpoint-1/trainer_state.json': state('checkpoint-1'), 'checkpoints/checkpoint-1/m.bin': 5 });
  utimesSync(join(folder, 'checkpoints/checkpoint-1/trainer_state.json'), 1, 1);
  const known = scanFolder(folder);
  expect(known.map(({ aliases }) => aliases)).toEqual([['best']]);
  put(folder, 'checkpoints/checkpoint-2/trainer_state.json', state('checkpoint-2'));
  put(folder, 'checkpoints/checkpoint-2/m.bin', 5);
  expect(Object.fromEntries(scanFolder(folder, { known }).map(({ relativePath, aliases }) => [relativePath, aliases]))).toEqual({ 'checkpoints/checkpoint-1': [], 'checkpoints/checkpoint-2': ['best'] });
});

it('loops of links end, and lead nowhere', () => {
  const folder = jobOf({ 'checkpoints/a.pt': 5 });
  symlinkSync('.', join(folder, 'checkpoints/self'));
  symlinkSync('..', join(folder, 'checkpoints/up'));
  symlinkSync('pong', join(folder, 'checkpoints/ping'));
  symlinkSync('ping', join(folder, 'checkpoints/pong'));
  expect(summary(scanFolder(folder))).toEqual({ 'checkpoints/a.pt': 'COMPLETE PLAIN - -' });
});
