import { existsSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { attemptStateOf, SLURM_STATES } from '../../../src/cluster/slurm/states.ts';
import { describeReason } from '../../../src/domain/attempt-reason.ts';
import { explainPending } from '../../../src/domain/pending-reason.ts';
import { isTerminalAttemptState } from '../../../src/domain/states.ts';
import { END_REASONS, STATE_WORDS, WAITING_REASONS } from './manual-words.ts';

/** The bold words of a section of a manual page that is installed here; null where it is not. */
function manualWords(page: string, section: string): string[] | null {
  const file = `/usr/share/man/man1/${page}.1.gz`;
  if (!existsSync(file)) return null;
  const [, text = ''] = gunzipSync(readFileSync(file)).toString('utf8').split(`.SH "${section}"`);
  return text.split('\n.SH ')[0]!.split('\n').flatMap((line) => /^\\f[B3](.*?)\\f[RP1]$/.exec(line)?.[1]?.split(/\s+/) ?? []);
}

describe('SLURM\'s state words', () => {
  it('each have a row, in long and compact form', () => {
    for (const [compact, word] of STATE_WORDS) {
      expect({ word, state: attemptStateOf(word) }).not.toEqual({ word, state: null });
      if (compact !== null) expect(attemptStateOf(compact)).toBe(attemptStateOf(word));
    }
  });

  it.each(['squeue', 'sacct'])('of the installed manual page of %s are all among them', (page) => {
    const words = manualWords(page, 'JOB STATE CODES');
    if (words === null) return;
    expect(words.length).toBeGreaterThan(20);
    expect(words.filter((word) => attemptStateOf(word) === null)).toEqual([]);
  });

  it('that are no end of a job by themselves are not taken for one', () => {
    const ends = SLURM_STATES.filter(({ state }) => isTerminalAttemptState(state)).map(({ word }) => word);
    expect(ends.sort()).toEqual([
      'BOOT_FAIL', 'CANCELLED', 'COMPLETED', 'DEADLINE', 'FAILED', 'NODE_FAIL', 'OUT_OF_MEMORY', 'PREEMPTED', 'REVOKED', 'TIMEOUT',
    ]);
  });

  it('are each in the table once', () => {
    const words = SLURM_STATES.flatMap(({ word, compact }) => (compact === null ? [word] : [word, compact]));
    expect(new Set(words).size).toBe(words.length);
  });

  it('may say more than the state', () => {
    expect(attemptStateOf('CANCELLED by 1001')).toBe('CANCELLED');
    expect(attemptStateOf('CANCELLED+')).toBe('CANCELLED');
  });

  it('that nobody knows are not guessed at', () => {
    expect(['HOVERING', '', 'running', 'X'].map(attemptStateOf)).toEqual([null, null, null, null]);
  });
});

describe('an end', () => {
  it('of every kind says why in words, but for that of a job that did what it should', () => {
    for (const { state } of SLURM_STATES.filter((row) => isTerminalAttemptState(row.state))) {
      const words = describeReason(state, { reason: null, nodeList: 'n1', exitCode: 1, signal: null }, { timeLimitMinutes: 5 });
      if (state === 'COMPLETED') expect(words).toBeNull();
      else expect(words).toMatch(/\w/);
    }
    expect(describeReason('BOOT_FAIL', { reason: null, nodeList: 'n1', exitCode: null, signal: null }, { timeLimitMinutes: 5 })).toBe('node n1 did not boot');
  });
});

describe("SLURM's reasons", () => {
  it('each have an explanation, and advice where they make a job wait', () => {
    for (const reason of WAITING_REASONS) expect({ reason, ...explainPending(reason) }).toMatchObject({ explanation: expect.stringMatching(/\.$/), advice: expect.stringMatching(/\.$/) });
  });

  it('of the installed manual page of squeue are all among them', () => {
    const words = manualWords('squeue', 'JOB REASON CODES');
    if (words === null) return;
    expect(words.length).toBeGreaterThan(30);
    // `QOSGrp*Limit` stands for many.
    const isListed = (word: string): boolean => [...WAITING_REASONS, ...END_REASONS].some((known) => new RegExp(`^${word.replace('*', '.*')}$`).test(known));
    expect(words.filter((word) => !isListed(word))).toEqual([]);
  });

  it('for an end say in words what the exit code does not', () => {
    const failed = { nodeList: 'n1', exitCode: 1, signal: null };
    for (const reason of END_REASONS) {
      const words = describeReason('FAILED', { ...failed, reason }, { timeLimitMinutes: null });
      expect(words).toMatch(/^exit code 1( \(.+ .+\))?$/);
    }
    expect(describeReason('FAILED', { ...failed, exitCode: 0, signal: 53, reason: null }, { timeLimitMinutes: null })).toContain('log folder');
  });
});
