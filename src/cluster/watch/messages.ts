/** What the program on the other side says, read from the bytes of its standard output. */
import { StringDecoder } from 'node:string_decoder';
import { CHANGE_KINDS, type ChangeKind } from './program.ts';

export type WatchMessage =
  | { kind: 'hello' }
  | { kind: 'beat'; figures: object }
  | { kind: 'changed'; changed: [id: number, what: ChangeKind[]][] }
  | { kind: 'answer'; id: number; rows: unknown[]; isLast: boolean }
  | { kind: 'fault'; words: string };

/** Far more than the program puts into a line: what is longer does not come from it. */
const MAX_LINE_LENGTH = 4 * 1024 * 1024;

/** Messages until the bytes end. Lines that are none (a login shell's greeting) are passed over; a line without an end throws. */
export async function* readMessages(bytes: AsyncIterable<Buffer>): AsyncGenerator<WatchMessage> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of bytes) {
    const lines = (rest + decoder.write(chunk)).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE_LENGTH) throw new Error('the machine sent a line without an end');
    for (const line of lines) {
      const message = parseMessage(line);
      if (message !== null) yield message;
    }
  }
}

function parseMessage(line: string): WatchMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { hello, beat, changed, fault, answer, rows, done } = value as Record<string, unknown>;
  if (typeof fault === 'string') return { kind: 'fault', words: fault };
  if (typeof hello === 'string') return { kind: 'hello' };
  if (typeof beat === 'object' && beat !== null) return { kind: 'beat', figures: beat };
  if (typeof answer === 'number' && Array.isArray(rows)) return { kind: 'answer', id: answer, rows, isLast: done === true };
  return Array.isArray(changed) ? { kind: 'changed', changed: changed.flatMap(parseChange) } : null;
}

function parseChange(value: unknown): [number, ChangeKind[]][] {
  if (!Array.isArray(value) || typeof value[0] !== 'number' || !Array.isArray(value[1])) return [];
  const words: unknown[] = value[1];
  return [[value[0], CHANGE_KINDS.filter((kind) => words.includes(kind))]];
}

/** Goes off when it was not postponed in time. */
export class SilenceAlarm {
  readonly #onSilence: (afterMs: number) => void;
  #timer: NodeJS.Timeout;

  constructor(firstMs: number, onSilence: (afterMs: number) => void) {
    this.#onSilence = onSilence;
    this.#timer = setTimeout(onSilence, firstMs, firstMs);
  }

  postpone(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#onSilence, ms, ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
