/**
 * Push: one long-lived channel to a machine, on which a small program tells which jobs wrote something.
 *
 *   POLLING -> (the program says hello) -> LIVE -> (it ends, is silent, the connection is lost) -> POLLING -> (after a pause) -> ...
 *
 * A change is a hint, never a fact: who is told looks at the files. A missed hint is made good by the next poll.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { NotTriedError, TransportError, type CommandStream, type StreamEnd, type Transport } from '../transport.ts';
import type { TransportLogger } from '../transport/ssh-connection.ts';
import { ChannelFiles } from './channel-files.ts';
import { readMessages, SilenceAlarm } from './messages.ts';
import { BEAT_SECONDS, LEASE_SECONDS, WATCH_COMMAND, type ChangeKind } from './program.ts';

export type WatchState = 'LIVE' | 'POLLING';

export interface WatchStatus {
  state: WatchState;
  /** Why it is POLLING, in words; null while LIVE. */
  reason: string | null;
}

export interface WatchedJob {
  /** Absolute, on the machine. */
  jobDirectory: string;
  /** The attempt whose start and end are wanted. */
  attemptNumber: number;
}

export interface JobChange {
  jobDirectory: string;
  what: ChangeKind[];
}

export interface Watch {
  /** The jobs to watch from now on, instead of those before: the first ones, where there are too many. What a job that is new to the watch already has is told as changed. */
  setJobs(jobs: readonly WatchedJob[]): void;
  onChange(listener: (changes: JobChange[]) => void): void;
  onStatus(listener: (status: WatchStatus) => void): void;
  status(): WatchStatus;
  /** What kept it from being live is known to be over: tries at once, though it would wait longer. */
  retry(): void;
  /** Lists and reads as the transport does, over the channel where that is cheaper. */
  files: Pick<Transport, 'list' | 'read'>;
  /** Ends the program, and with it the channel. */
  close(): Promise<void>;
}

/** Beyond these the memory and the rounds of the program grow too large; the rest is polled. */
const MAX_WATCHED_JOBS = 20_000;
/** Keeps a line well below the program's bound. */
const JOBS_PER_LINE = 500;
/** How long the program may take to say hello: a busy login node starts Python slowly. */
const HELLO_MS = 20_000;
/** Of the program's silence; three missed beats. */
const SILENCE_MS = 3 * BEAT_SECONDS * 1000;
const PING_MS = (LEASE_SECONDS * 1000) / 4;
/** Pauses before the next try double from the first to the last, and begin anew after a session that went well for this long. */
const RETRY_MS = { afterLoss: 1_000, whenUnavailable: 60_000, most: 600_000, provenAfter: 60_000 };

type WatchTransport = Pick<Transport, 'stream' | 'list' | 'read'>;

/** Starts to watch at once, and tries again for as long as it is not closed. */
export function openWatch(transport: WatchTransport, logger: TransportLogger): Watch {
  return new MachineWatch(transport, logger);
}

interface Outcome {
  reason: string;
  /** The machine cannot run the program at all: not worth asking again soon. */
  isUnavailable: boolean;
}

class MachineWatch implements Watch {
  readonly files: ChannelFiles;
  readonly #transport: WatchTransport;
  readonly #logger: TransportLogger;
  readonly #closing = new AbortController();
  #pause = new AbortController();
  readonly #running: Promise<void>;
  readonly #changeListeners: ((changes: JobChange[]) => void)[] = [];
  readonly #statusListeners: ((status: WatchStatus) => void)[] = [];
  readonly #jobs = new Map<string, { id: number; attemptNumber: number }>();
  readonly #directories = new Map<number, string>();
  #nextId = 1;
  #stream: CommandStream | null = null;
  #status: WatchStatus = { state: 'POLLING', reason: 'the watch is being set up' };

  constructor(transport: WatchTransport, logger: TransportLogger) {
    this.files = new ChannelFiles(transport);
    this.#transport = transport;
    this.#logger = logger;
    this.#running = this.#run();
  }

  status(): WatchStatus {
    return this.#status;
  }

  onChange(listener: (changes: JobChange[]) => void): void {
    this.#changeListeners.push(listener);
  }

  onStatus(listener: (status: WatchStatus) => void): void {
    this.#statusListeners.push(listener);
  }

  retry(): void {
    this.#pause.abort();
  }

  setJobs(jobs: readonly WatchedJob[]): void {
    const wanted = new Map(jobs.slice(0, MAX_WATCHED_JOBS).map((job) => [job.jobDirectory, job.attemptNumber]));
    const removed: number[] = [];
    for (const [directory, { id, attemptNumber }] of this.#jobs) {
      if (wanted.get(directory) === attemptNumber) continue;
      removed.push(id);
      this.#jobs.delete(directory);
      this.#directories.delete(id);
    }
    const added: [number, string, number][] = [];
    for (const [directory, attemptNumber] of wanted) {
      if (this.#jobs.has(directory)) continue;
      const id = this.#nextId++;
      this.#jobs.set(directory, { id, attemptNumber });
      this.#directories.set(id, directory);
      added.push([id, directory, attemptNumber]);
    }
    if (this.#status.state !== 'LIVE') return;
    if (removed.length > 0) this.#tell({ remove: removed });
    this.#tellAdded(added);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#stream?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    let pauseMs = RETRY_MS.afterLoss;
    while (!this.#closing.signal.aborted) {
      const begunAt = Date.now();
      const { reason, isUnavailable } = await this.#session();
      if (this.#closing.signal.aborted) break;
      if (Date.now() - begunAt > RETRY_MS.provenAfter) pauseMs = RETRY_MS.afterLoss;
      if (isUnavailable) pauseMs = Math.max(pauseMs, RETRY_MS.whenUnavailable);
      this.#setStatus({ state: 'POLLING', reason });
      this.#pause = new AbortController();
      const signal = AbortSignal.any([this.#closing.signal, this.#pause.signal]);
      await delay(pauseMs * (0.75 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
      pauseMs = this.#pause.signal.aborted ? RETRY_MS.afterLoss : Math.min(RETRY_MS.most, pauseMs * 2);
    }
  }

  /** One run of the program, from its start to whatever ends it. */
  async #session(): Promise<Outcome> {
    let stream: CommandStream;
    try {
      stream = await this.#transport.stream(WATCH_COMMAND);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      // That it was not even tried is no news.
      const reason = error instanceof NotTriedError && this.#status.reason !== null ? this.#status.reason : error.message;
      return { reason, isUnavailable: false };
    }
    this.#stream = stream;
    if (this.#closing.signal.aborted) await stream.close();
    let problem: string | null = null;
    let figures: object | null = null;
    const giveUp = (words: string): void => {
      problem ??= words;
      void stream.close();
    };
    const silence = new SilenceAlarm(HELLO_MS, (ms) => giveUp(`the watch program was silent for ${ms / 1000} s`));
    const ping = setInterval(() => this.#tell({}), PING_MS);
    try {
      for await (const message of readMessages(stream.stdout)) {
        silence.postpone(SILENCE_MS);
        // It ends by itself after that.
        if (message.kind === 'fault') problem ??= message.words;
        else if (message.kind === 'changed') this.#announce(message.changed);
        else if (message.kind === 'answer') this.files.take(message.id, message.rows, message.isLast);
        else if (message.kind === 'hello') this.#goLive();
        else figures = message.figures;
      }
    } catch (error) {
      giveUp((error as Error).message);
    } finally {
      clearInterval(ping);
      silence.stop();
      this.files.close();
    }
    const end = await stream.ended;
    this.#stream = null;
    if (figures !== null) this.#logger.info({ figures }, 'watch program ended, having used this');
    return outcomeOf(end, problem);
  }

  #goLive(): void {
    this.files.open((message) => this.#tell(message));
    this.#setStatus({ state: 'LIVE', reason: null });
    this.#tellAdded([...this.#jobs].map(([directory, { id, attemptNumber }]) => [id, directory, attemptNumber]));
  }

  #announce(changed: [id: number, what: ChangeKind[]][]): void {
    const changes = changed.flatMap(([id, what]): JobChange[] => {
      const jobDirectory = this.#directories.get(id);
      return jobDirectory === undefined ? [] : [{ jobDirectory, what }];
    });
    if (changes.length > 0) for (const listener of this.#changeListeners) listener(changes);
  }

  #tellAdded(added: [id: number, directory: string, attemptNumber: number][]): void {
    for (let start = 0; start < added.length; start += JOBS_PER_LINE) this.#tell({ add: added.slice(start, start + JOBS_PER_LINE) });
  }

  /** What cannot be written is of no account: the session is over, and the next one is told everything anew. */
  #tell(message: object): void {
    this.#stream?.write(`${JSON.stringify(message)}\n`).catch(() => undefined);
  }

  #setStatus(status: WatchStatus): void {
    if (status.state === this.#status.state && status.reason === this.#status.reason) return;
    this.#status = status;
    if (status.state === 'LIVE') this.#logger.info({}, 'watch live: changes are pushed');
    else this.#logger.warn({ reason: status.reason }, 'watch not live: polling');
    for (const listener of this.#statusListeners) listener(status);
  }
}

function outcomeOf({ exitCode, signal, stderr, lost }: StreamEnd, problem: string | null): Outcome {
  // As a shell says that a command was not found or may not be run; 3 is the program's own word for a Python that is too old.
  const isUnavailable = exitCode === 126 || exitCode === 127 || exitCode === 3;
  if (problem !== null) return { reason: problem, isUnavailable };
  if (exitCode === 127) return { reason: 'there is no python3 on the machine that is watched', isUnavailable };
  if (lost !== null) return { reason: lost, isUnavailable };
  const how = signal === null ? `exit code ${exitCode}` : `signal ${signal}`;
  return { reason: `the watch program ended (${how})${stderr.trim() === '' ? '' : `: ${stderr.trim().slice(-300)}`}`, isUnavailable };
}
