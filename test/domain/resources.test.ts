import { describe, expect, it } from 'vitest';
import { mergeResources, validateResources } from '../../src/domain/resources.ts';
import { validateSbatchOptions } from '../../src/domain/sbatch-options.ts';

const BARE = mergeResources({}, {});
const faults = (parts: Partial<typeof BARE>) => validateResources({ ...BARE, ...parts }).map((fault) => `${fault.field.join('/')}: ${fault.message}`);
const optionFaults = (options: Record<string, string>) => validateSbatchOptions(options).map((fault) => `${fault.field.join('/')}: ${fault.message}`);

describe('merging resources', () => {
  it('takes what was asked for, then the defaults of the cluster, then the least', () => {
    expect(BARE).toEqual({ gpus: 0, gpuType: null, cpus: 1, memoryMiB: null, timeLimitMinutes: null, nodes: 1, partition: null, account: null, qos: null, sbatchOptions: {} });
    const defaults = { gpus: 1, gpuType: 'rtx8000', cpus: 6, account: 'cds', sbatchOptions: { constraint: 'a', nice: '5' } };
    expect(mergeResources({ cpus: 2, account: null, sbatchOptions: { constraint: 'b' } }, defaults))
      .toMatchObject({ gpus: 1, gpuType: 'rtx8000', cpus: 2, account: 'cds', sbatchOptions: { constraint: 'b', nice: '5' } });
  });

  it('asks for no type of GPU where there is none, and for memory in one way', () => {
    expect(mergeResources({ gpus: 0 }, { gpus: 1, gpuType: 'rtx8000' }).gpuType).toBeNull();
    expect(mergeResources({ sbatchOptions: { 'mem-per-gpu': '20G' } }, { memoryMiB: 1000 })).toMatchObject({ memoryMiB: null, sbatchOptions: { 'mem-per-gpu': '20G' } });
    expect(mergeResources({ memoryMiB: 5 }, { sbatchOptions: { 'mem-per-cpu': '1G' } })).toMatchObject({ memoryMiB: 5, sbatchOptions: {} });
  });
});

describe('validating resources', () => {
  it('takes what people ask for', () => {
    expect(faults({ gpus: 4, gpuType: 'rtx8000', cpus: 24, memoryMiB: 320_000, timeLimitMinutes: 2820, partition: 'gpu,gpu-preempt', account: 'cds', qos: 'gpu48' })).toEqual([]);
  });

  it.each([
    [{ gpus: -1 }, 'resources/gpus: .*from 0 to 64, not -1'], [{ cpus: 1.5 }, 'resources/cpus: .*not 1.5'], [{ nodes: 0 }, 'resources/nodes'], [{ memoryMiB: 1e12 }, 'resources/memoryMiB'],
    [{ timeLimitMinutes: NaN }, 'resources/timeLimitMinutes'], [{ partition: 'gpu; rm' }, 'resources/partition: .*"gpu; rm"'], [{ partition: 'a,,b' }, 'resources/partition'],
    [{ account: '' }, 'resources/account'], [{ qos: '-x' }, 'resources/qos'], [{ gpus: 1, gpuType: 'a100:2' }, 'resources/gpuType'], [{ gpuType: 'a100' }, 'resources/gpuType: .*gpus is 0'],
    [{ memoryMiB: 1, sbatchOptions: { 'mem-per-cpu': '1G' } }, 'resources/memoryMiB: .*mem-per-cpu'], [{ sbatchOptions: { foo: '1' } }, 'resources/sbatchOptions/foo'],
  ])('refuses %j', (parts, reason) => expect(faults(parts)).toEqual([expect.stringMatching(reason)]));
});

describe('validating sbatch options', () => {
  it.each([
    ['constraint', '[rack1*2&rack2*4]|a100'], ['exclude', 'n[1-4],n7'], ['nodelist', 'gpu-1.hpc'], ['exclusive', ''], ['exclusive', 'user'], ['mail-type', 'END,FAIL'], ['mail-user', 'me+x@nyu.edu'],
    ['signal', 'B:USR1@120'], ['signal', 'RB:SIGTERM@60'], ['signal', 'B:10@60'], ['signal', 'TERM'], ['begin', 'now+2hours'], ['begin', '2026-01-31T18:00:00'], ['dependency', 'afterok:12:13_4,singleton'], ['nice', '-5'], ['licenses', 'matlab:2'],
    ['requeue', ''], ['mem-per-gpu', '20G'], ['distribution', 'block:cyclic,Pack'], ['switches', '1@12:00:00'], ['time-min', '1-12:00:00'], ['comment', 'first try (lr 0.1)'], ['hint', 'nomultithread'],
  ])('takes --%s=%s', (name, value) => expect(optionFaults({ [name]: value })).toEqual([]));

  it.each([
    ['constraint', ''], ['constraint', 'a b'], ['constraint', '"a"'], ['exclude', '/etc/passwd'], ['comment', 'a\n#SBATCH --uid=0'], ['comment', '$(x)'], ['requeue', 'yes'], ['mail-type', 'END,NEVER'],
    ['nice', '1.5'], ['ntasks', '0'], ['dependency', 'afterok:x'], ['signal', 'B:QUIT@60'], ['signal', 'B:USR1@soon'], ['begin', 'later'], ['hint', 'fast'], ['exclude', 'n'.repeat(2000)],
  ])('refuses --%s=%j and says what it may be', (name, value) => expect(optionFaults({ [name]: value })).toEqual([expect.stringMatching(`^resources/sbatchOptions/${name}: must be`)]));

  it('lists the valid names, and the near one, for an unknown name', () => {
    expect(optionFaults({ constrain: 'a' })).toEqual([expect.stringMatching(/Did you mean constraint\? There are begin, .*constraint, .*wckey$/)]);
    expect(optionFaults({ '--constraint': 'a' })).toEqual([expect.stringContaining('is written "constraint" here')]);
    expect(optionFaults({ toString: '' })).toHaveLength(1);
  });

  it.each([['export', 'environment'], ['gres', 'resources.gpus'], ['time', 'resources.timeLimitMinutes'], ['--job-name', 'set by the server'], ['hold', 'held: true']])(
    'refuses %s with what to do instead', (name, advice) => expect(optionFaults({ [name]: 'x' })).toEqual([expect.stringContaining(advice)]));

  it('refuses options that contradict each other', () => {
    expect(optionFaults({ 'requeue': '', 'no-requeue': '' })).toEqual([expect.stringContaining('"requeue"')]);
  });
});
