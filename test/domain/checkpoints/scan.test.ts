import { describe, expect, it } from 'vitest';
import { scanCheckpoints, type KnownCheckpoint } from '../../../src/domain/checkpoint-scan.ts';
import { findCheckpoints, type CheckpointEntry } from '../../../src/domain/checkpoint-search.ts';

const at = (seconds: number) => new Date(Date.UTC(2026, 0, 1) + seconds * 1000);
const moment = (seconds: number, more: { jobEnded?: boolean; truncated?: boolean } = {}) => ({ now: at(seconds), jobEnded: false, truncated: false, ...more });
const ROOT = 'checkpoints/';

const file = (name: string, sizeBytes = 10, seconds = 0): CheckpointEntry => ({ relativePath: ROOT + name, kind: 'file', sizeBytes, modifiedAt: at(seconds), linkTarget: null });
const directory = (name: string, seconds = 0): CheckpointEntry => ({ ...file(name, 4096, seconds), kind: 'directory' });
const link = (name: string, linkTarget: string): CheckpointEntry => ({ ...file(name, 0), kind: 'link', linkTarget });

/** One scan; the paths of its changes are those below `checkpoints/`. */
function scan(entries: CheckpointEntry[], known: KnownCheckpoint[], when: ReturnType<typeof moment>) {
  const changes = scanCheckpoints({ search: findCheckpoints(entries, { declared: new Set(), archives: new Set(known.flatMap(({ archivePath }) => archivePath ?? [])) }), known, logged: [], heads: new Map(), jobDirectory: '/r/j', ...when });
  return changes.map(({ relativePath, ...change }) => ({ relativePath: relativePath.slice(ROOT.length), ...change }));
}

/** Scans again and again, remembering what each scan said; answers the changes of the last. */
function scans(...rounds: [CheckpointEntry[], ReturnType<typeof moment>][]) {
  const known = new Map<string, KnownCheckpoint>();
  let changes: ReturnType<typeof scan> = [];
  for (const [entries, when] of rounds) {
    changes = scan(entries, [...known.values()].map((checkpoint) => ({ ...checkpoint, relativePath: ROOT + checkpoint.relativePath })), when);
    for (const change of changes) known.set(change.relativePath, change);
  }
  return { changes, states: Object.fromEntries([...known.values()].map(({ relativePath, state }) => [relativePath, state])), known };
}

describe('the state of a checkpoint', () => {
  it('is WRITING when first seen, COMPLETE when the next scan sees the same, and then no longer news', () => {
    const entries = [file('step_5.pt')];
    expect(scans([entries, moment(100)]).changes).toMatchObject([
      { relativePath: 'step_5.pt', state: 'WRITING', sizeBytes: 10, fileCount: 1, step: { value: 5, source: 'NAME', confidence: 'LIKELY' }, epoch: null, aliases: [], writtenAt: at(0) },
    ]);
    expect(scans([entries, moment(100)], [entries, moment(101)]).states).toEqual({ 'step_5.pt': 'COMPLETE' });
    expect(scans([entries, moment(100)], [entries, moment(101)], [entries, moment(102)]).changes).toEqual([]);
  });

  it('stays WRITING while it grows, and within two seconds of the last write', () => {
    expect(scans([[file('a.pt', 10, 0)], moment(10)], [[file('a.pt', 20, 9)], moment(20)]).states).toEqual({ 'a.pt': 'WRITING' });
    expect(scans([[file('a.pt', 10, 9)], moment(10)], [[file('a.pt', 10, 9)], moment(10.9)]).states).toEqual({ 'a.pt': 'WRITING' });
    expect(scans([[file('a.pt', 10, 9)], moment(10)], [[file('a.pt', 10, 9)], moment(11)]).states).toEqual({ 'a.pt': 'COMPLETE' });
  });

  it('goes back to WRITING when a complete one is written again', () => {
    const first: CheckpointEntry[] = [file('last.ckpt', 10, 0)];
    expect(scans([first, moment(10)], [first, moment(20)], [[file('last.ckpt', 10, 25)], moment(30)]).states).toEqual({ 'last.ckpt': 'WRITING' });
  });

  it.each(['a.pt.tmp', 'a.pt.part', '.a.pt.swp', 'checkpoint-5-tmp', 'checkpoint-tmp-5', 'tmp-checkpoint-5', 'a.tmp.pt', 'a.pt.incomplete'])(
    'is not recorded under the temporary name %s, and is PARTIAL when the job has ended', (name) => {
      expect(scans([[file(name)], moment(10)], [[file(name)], moment(99)], [[file('a.pt')], moment(100)], [[file('a.pt')], moment(109)]).states).toEqual({ 'a.pt': 'COMPLETE' });
      expect(scans([[file(name)], moment(10)], [[file(name)], moment(11, { jobEnded: true })]).states).toEqual({ [name]: 'PARTIAL' });
    });

  it('is COMPLETE at once when the job has ended, unless it is empty', () => {
    expect(scans([[file('a.pt', 10, 9), file('b.pt', 0, 0), directory('c')], moment(9, { jobEnded: true })]).states)
      .toEqual({ 'a.pt': 'COMPLETE', 'b.pt': 'PARTIAL', 'c': 'PARTIAL' });
  });

  it('is DELETED when it vanished, once, and starts anew when it is back', () => {
    const entries = [file('a.pt')];
    const gone = scans([entries, moment(10)], [entries, moment(20)], [[], moment(30)]);
    expect(gone.states).toEqual({ 'a.pt': 'DELETED' });
    expect(scans([entries, moment(10)], [[], moment(20)], [[], moment(30)]).changes).toEqual([]);
    expect(scans([entries, moment(10)], [[], moment(20)], [entries, moment(30)]).states).toEqual({ 'a.pt': 'WRITING' });
  });

  it('is not DELETED because a listing was cut short', () => {
    const entries = [file('a.pt')];
    expect(scans([entries, moment(10)], [[], moment(20, { truncated: true })]).changes).toEqual([]);
  });
});

describe('a directory', () => {
  const entries = (seconds: number) => [directory('checkpoint-500', 1), file('checkpoint-500/a.bin', 10, 2), directory('checkpoint-500/x', 3), file('checkpoint-500/x/.metadata', 5, seconds)];

  it('is one checkpoint with the size of its files and the time of the newest', () => {
    expect(scans([entries(4), moment(100)]).changes).toMatchObject([
      { relativePath: 'checkpoint-500', state: 'WRITING', sizeBytes: 15, fileCount: 2, step: { value: 500, source: 'NAME', confidence: 'CERTAIN' }, epoch: null, layout: 'HUGGING_FACE', aliases: [], writtenAt: at(4) },
    ]);
    expect(scans([entries(4), moment(100)], [entries(4), moment(200)]).states).toEqual({ 'checkpoint-500': 'COMPLETE' });
    expect(scans([entries(4), moment(100)], [entries(5), moment(200)]).states).toEqual({ 'checkpoint-500': 'WRITING' });
  });

  it('is not whole while a temporary file lies in it', () => {
    const more = [...entries(4), file('checkpoint-500/b.bin.tmp')];
    expect(scans([more, moment(100)], [more, moment(200)]).states).toEqual({ 'checkpoint-500': 'WRITING' });
    expect(scans([more, moment(100, { jobEnded: true })]).states).toEqual({ 'checkpoint-500': 'PARTIAL' });
  });
});

describe('a link', () => {
  const aliases = (...entries: CheckpointEntry[]) =>
    Object.fromEntries(scans([entries, moment(100)]).changes.map((change) => [change.relativePath, change.aliases]));

  it('is an alias of what it leads to, however it is written', () => {
    expect(aliases(
      file('epoch=3.ckpt'), directory('checkpoint-5'), file('checkpoint-5/m.bin'), file('best.pt'), link('last.ckpt', 'epoch=3.ckpt'), link('latest', './last.ckpt'),
      link('newest', '/r/j/checkpoints/checkpoint-5/'), link('model', 'checkpoint-5/m.bin'), link('outside', '/etc/passwd'), link('up', '../x'), link('dangling', 'gone.pt'),
      link('loop', 'pool'), link('pool', 'loop'),
    )).toEqual({ 'epoch=3.ckpt': ['last', 'latest'], 'checkpoint-5': ['model', 'newest'], 'best.pt': ['best'] });
  });

  it('that moves takes its alias along, and a recorded alias stays', () => {
    const files = [file('a.pt'), file('b.pt')];
    const { known } = scans([[...files, link('last.pt', 'a.pt')], moment(100)]);
    const recorded = [...known.values()].map((checkpoint) => ({ ...checkpoint, relativePath: ROOT + checkpoint.relativePath, aliases: [...checkpoint.aliases, 'mine'] }));
    expect(scan([...files, link('last.pt', 'b.pt')], recorded, moment(200)).map(({ relativePath, aliases: names }) => [relativePath, names]))
      .toEqual([['a.pt', ['mine']], ['b.pt', ['last', 'mine']]]);
  });
});

describe('an archived checkpoint', () => {
  const archived = (name: string, archive = `${name}.zst`): KnownCheckpoint => (
    { relativePath: ROOT + name, state: 'ARCHIVED', sizeBytes: 10, fileCount: 1, aliases: ['mine'], writtenAt: at(0), archivePath: ROOT + archive });

  it.each([['a.pt', 'a.pt.zst'], ['a.pt', 'a.pt.gz'], ['checkpoint-5', 'checkpoint-5.tar.zst'], ['runs/a/step_5.pt', 'runs/a/step_5.pt.gz']])('%s stays one while %s is there, which is none itself', (name, archive) => {
    for (const jobEnded of [false, true]) expect(scan([file(archive)], [archived(name, archive)], moment(99, { jobEnded }))).toEqual([]);
  });

  it('is DELETED when its archive is gone, whatever else is there', () => {
    expect(scan([file('a.pt.b.zst'), file('b.pt.zst')], [archived('a.pt'), archived('b.pt'), archived('a.pt.b')], moment(99))).toMatchObject([{ relativePath: 'a.pt', state: 'DELETED' }]);
    expect(scan([directory('a.pt.zst')], [archived('a.pt')], moment(99, { jobEnded: true }))).toMatchObject([{ relativePath: 'a.pt.zst' }, { relativePath: 'a.pt', state: 'DELETED' }]);
  });

  it('stays one while nobody can see whether its archive is there', () => {
    expect(scan([], [archived('a.pt')], moment(99, { jobEnded: true }))).toEqual([]);
    expect(scan([directory('runs'), file('b.pt')], [archived('runs/a.pt'), archived('b.pt')], moment(99))).toMatchObject([{ relativePath: 'b.pt', state: 'COMPLETE' }]);
    expect(scan([file('c.pt')], [archived('a.pt')], moment(99, { truncated: true }))).toMatchObject([{ relativePath: 'c.pt' }]);
  });

  it('that is back in its place is whole again, or written anew', () => {
    expect(scan([file('a.pt'), file('a.pt.zst')], [archived('a.pt')], moment(99))).toMatchObject([{ relativePath: 'a.pt', state: 'COMPLETE' }]);
    expect(scan([file('a.pt', 20, 98)], [archived('a.pt')], moment(99))).toMatchObject([{ relativePath: 'a.pt', state: 'WRITING' }]);
  });

  it('leaves no trace of what is half done', () => {
    expect(scan([file('.expgraph-1.r.new.zst'), directory('.expgraph-1.old'), file('.expgraph-1.old/a.pt'), file('b.pt')], [], moment(99))).toMatchObject([{ relativePath: 'b.pt' }]);
  });
});
