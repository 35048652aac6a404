import { describe, expect, it } from 'vitest';
import { priorityFor, validatePriorityRules } from '../../src/domain/priority-rule.ts';
import type { PriorityRule } from '../../src/domain/priority-rule.ts';

const priority = (config: Parameters<typeof priorityFor>[0], ...rules: PriorityRule[]) => priorityFor(config, rules, 100);

describe('priority rules', () => {
  it('give the priority of the first rule that matches, else the base', () => {
    const rules = [{ key: 'optim.lr', lte: 0.01, priority: 900 }, { key: 'optim.lr', lt: 0.1, priority: 500 }];
    expect(priority({ optim: { lr: 0.01 } }, ...rules)).toBe(900);
    expect(priority({ optim: { lr: 0.05 } }, ...rules)).toBe(500);
    expect(priority({ optim: { lr: 0.1 } }, ...rules)).toBe(100);
    expect(priority({}, ...rules)).toBe(100);
  });

  it('match when every comparison holds, numbers with numbers only', () => {
    expect(priority({ x: 5 }, { key: 'x', gt: 4, lt: 6, gte: 5, priority: 0 })).toBe(0);
    expect(priority({ x: 5 }, { key: 'x', gt: 4, lt: 5, priority: 0 })).toBe(100);
    expect(priority({ x: '5' }, { key: 'x', gt: 4, priority: 0 })).toBe(100);
  });

  it('compare whole values, and tell null from absent', () => {
    expect(priority({ m: { a: [1], b: 2 } }, { key: 'm', equals: { b: 2, a: [1] }, priority: 1 })).toBe(1);
    expect(priority({ m: null }, { key: 'm', equals: null, priority: 1 })).toBe(1);
    expect(priority({}, { key: 'm', equals: null, priority: 1 })).toBe(100);
    expect(priority({ m: 1 }, { key: 'm', equals: '1', priority: 1 })).toBe(100);
  });

  it('are refused with every fault', () => {
    const rules = [{ key: '', priority: 1001 }, { key: 'a', equals: 1, priority: 0.5 }, { key: 'a', lt: NaN, priority: 0 }, { key: 'a', equals: '\0', priority: 1000 }];
    expect(validatePriorityRules(rules, { maxConfigBytes: 1000 }).map((fault) => fault.field.join('/'))).toEqual([
      'priorityRules/0/key', 'priorityRules/0/priority', 'priorityRules/0', 'priorityRules/1/priority', 'priorityRules/2/lt', 'priorityRules/3/equals',
    ]);
  });
});
