import { describe, expect, it } from 'vitest';
import type { JobIdentity } from '../../src/domain/job-spec.ts';
import { embeddedVariables, expandCommand, expandEnvironment, validateTemplate } from '../../src/domain/template.ts';

const PATHS = { jobDirectory: '/r/j', configPath: '/r/j/config.json', checkpointsDirectory: '/r/j/checkpoints', artifactsDirectory: '/r/j/artifacts' };

function identity(parts: Partial<JobIdentity>): JobIdentity {
  return { command: ['run'], config: {}, environment: {}, workingDirectory: null, codeVersion: null, ...parts };
}
const expand = (command: string[], config: JobIdentity['config'] = {}) => expandCommand(identity({ command, config }), PATHS);
const faults = (parts: Partial<JobIdentity>) => validateTemplate(identity(parts)).map((fault) => `${fault.field.join('/')}: ${fault.message}`);

describe('expanding a command', () => {
  it('makes {overrides} one element for each value, in sorted order', () => {
    expect(expand(['python', 'train.py', '{overrides}', 'end'], { seed: 1, optim: { name: 'it\'s "x"', lr: 0.1, betas: [0.9, 0.99] } }))
      .toEqual(['python', 'train.py', 'optim.betas=[0.9,0.99]', 'optim.lr=0.1', 'optim.name=it\'s "x"', 'seed=1', 'end']);
  });

  it('replaces paths and single values inside an element', () => {
    expect(expand(['x', '--c={config}', '{job_dir}:{checkpoints_dir}:{artifacts_dir}', 'lr{config.optim.lr}', '{config.optim}'], { optim: { lr: 1e-7 } }))
      .toEqual(['x', '--c=/r/j/config.json', '/r/j:/r/j/checkpoints:/r/j/artifacts', 'lr1e-7', '{"lr":1e-7}']);
  });

  it.each([
    '{"a":{"b":1}}', '{}', '{a,b}', '${HOME}', '${config.lr}', '{0}', '{ config }', '{{ jinja }}', '}}{{', 'awk {print $1}',
  ])('leaves %s alone', (text) => {
    expect(expand(['x', text], { lr: 1 })).toEqual(['x', text]);
    expect(faults({ command: ['x', text], config: { lr: 1 } })).toEqual([]);
  });

  it('writes a placeholder literally when its braces are doubled', () => {
    expect(expand(['x', '{{config}} {{print}} {{config.lr}}'])).toEqual(['x', '{config} {print} {config.lr}']);
  });

  it('never expands a value a second time', () => {
    expect(expand(['x', '{config.a}', '{overrides}'], { a: '{config} {overrides} $& $1 {{x}}' }))
      .toEqual(['x', '{config} {overrides} $& $1 {{x}}', 'a={config} {overrides} $& $1 {{x}}']);
  });

  it('expands the variables of the job, sorted by name', () => {
    const environment = { Z: '{config.lr}', A: '{job_dir}/x' };
    expect(expandEnvironment(identity({ environment, config: { lr: 2 } }), PATHS)).toEqual([['A', '/r/j/x'], ['Z', '2']]);
  });
});

describe('embedded variables', () => {
  it('carry every value under a shell name, but for those too large', () => {
    expect(embeddedVariables({ 'optim': { 'lr': 0.1, 'weight-decay': null }, 'größe': 'a b', 'big': 'x'.repeat(32 * 1024 + 1) }))
      .toEqual([['EXPGRAPH_CONFIG_gr__e', 'a b'], ['EXPGRAPH_CONFIG_optim__lr', '0.1'], ['EXPGRAPH_CONFIG_optim__weight_decay', 'null']]);
  });

  it('must not collide, and the fault names both keys', () => {
    expect(faults({ config: { 'a-b': 1, 'a_b': 2 } })).toEqual([expect.stringMatching(/"a-b" and "a_b".*EXPGRAPH_CONFIG_a_b/)]);
  });
});

describe('validating a template', () => {
  it('names an unknown placeholder, the valid ones and how to write it literally', () => {
    expect(faults({ command: ['awk', '{print}'] })).toEqual([
      'command/1: unknown placeholder {print}; there are {overrides} (alone), {config}, {config.KEY}, {job_dir}, {checkpoints_dir}, {artifacts_dir}. For the text itself write {{print}}',
    ]);
  });

  it('proposes near keys for a missing one, or lists the keys', () => {
    const config = { optim: { lr: 1, momentum: 2 } };
    expect(faults({ command: ['x', '{config.optim.lrr}'], config })).toEqual([expect.stringContaining('did you mean {config.optim.lr}?')]);
    expect(faults({ command: ['x', '{config.lr}'], config })).toEqual([expect.stringContaining('did you mean {config.optim.lr}?')]);
    expect(faults({ command: ['x', '{config.dropout}'], config })).toEqual([expect.stringContaining('its keys are optim.lr, optim.momentum')]);
  });

  it('wants {overrides} alone, and never in a variable', () => {
    expect(faults({ command: ['x', '--o={overrides}'], environment: { A: '{overrides}' } })).toEqual([
      expect.stringMatching(/^command\/1: .*by itself/), expect.stringMatching(/^environment\/A: .*by itself/),
    ]);
  });

  it.each([[[]], [['']], [[' ']], [['{overrides}']], [['A=1', 'x']]])('refuses %j as a command', (command) => {
    expect(faults({ command, config: { a: 1 } })).toHaveLength(1);
  });

  it.each(['1A', 'A-B', '', 'A B', 'EXPGRAPH_X', 'SLURM_JOB_ID', 'UID', 'A=B', 'A\n'])('refuses %j as the name of a variable', (name) => {
    expect(faults({ environment: { [name]: '1' } })).toHaveLength(1);
  });

  it('refuses text that no program can be given', () => {
    expect(faults({ command: ['x', 'a\0'], environment: { A: '\uDC00' }, workingDirectory: '/a\0', codeVersion: '\0' })).toHaveLength(4);
  });

  it('takes any text else in arguments and variables', () => {
    const text = 'quote\'"\n`$(rm -rf ~)`\\ ünï😀';
    expect(faults({ command: ['x', text, '{overrides}'], config: { a: text }, environment: { A: text }, workingDirectory: '/a b' })).toEqual([]);
  });

  it('wants an absolute working directory', () => {
    for (const workingDirectory of ['repo', '~/repo', '']) expect(faults({ workingDirectory })).toEqual([expect.stringContaining('absolute path')]);
  });

  it('refuses an argument that Linux would not take, names the key and advises config.json', () => {
    const config = { big: 'x'.repeat(131_071 - 'big='.length) };
    expect(faults({ command: ['x', '{overrides}'], config })).toEqual([]);
    config.big += 'x';
    expect(faults({ command: ['x', '{overrides}'], config })).toEqual([expect.stringMatching(/^command\/1: "big" .*131072 bytes.*config\.json/)]);
    expect(faults({ command: ['x', '{config}'], config })).toEqual([]);
  });

  it('refuses arguments and variables that are too much together', () => {
    const config = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`k${index}`, 'x'.repeat(30_000)]));
    expect(faults({ command: ['x'], config })).toEqual([expect.stringMatching(/^command: .*limit is 1500000/)]);
  });
});

describe('a whole command line in one element', () => {
  const faultsOf = (command: string[]) => validateTemplate({ command, config: {}, environment: {}, workingDirectory: null, codeVersion: null });

  it('is answered with its words, while a path may hold a space', () => {
    expect(faultsOf([' python  train.py --fast '])).toMatchObject([{ field: ['command'], message: expect.stringContaining('["python","train.py","--fast"]') }]);
    expect(faultsOf(['/opt/my tools/run'])).toEqual([]);
  });
});
