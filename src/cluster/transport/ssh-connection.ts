import type { Duplex } from 'node:stream';
import type { Client } from 'ssh2';
import type { SshHost, SshSettings } from '../../domain/cluster-settings.ts';
import { TransportError } from '../transport.ts';
import { connectHop, hopName } from './ssh-hop.ts';

/** What the transport tells its owner; a pino logger is one. */
export interface TransportLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** A live connection, through all its jump hosts. */
export interface Link {
  client: Client;
  /** Aborted, with the reason in words, when any part of the chain is lost or closed. */
  lost: AbortSignal;
  /** Ends every part of the chain. */
  end(reason: string): void;
}

/** One connection to one cluster: opened by the first who needs it, shared by all, opened anew after it was lost. */
export class SshConnection {
  readonly #settings: SshSettings;
  readonly #logger: TransportLogger | undefined;
  #current: Promise<Link> | null = null;
  #closed = false;

  constructor(settings: SshSettings, logger: TransportLogger | undefined) {
    this.#settings = settings;
    this.#logger = logger;
  }

  /** The connection, opened if need be. Rejects with TransportError `unreachable`, `authentication` or `host-key`; the next call tries anew. */
  link(): Promise<Link> {
    if (this.#closed) return Promise.reject(new TransportError('unreachable', `the connection to ${hopName(this.#settings)} is closed`));
    if (this.#current !== null) return this.#current;
    const opening = this.#open();
    this.#current = opening;
    const forget = (): void => {
      if (this.#current === opening) this.#current = null;
    };
    opening.then((link) => (link.lost.aborted ? forget() : link.lost.addEventListener('abort', forget)), forget);
    return opening;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const link = await this.#current?.catch(() => null);
    link?.end('the transport was closed');
  }

  async #open(): Promise<Link> {
    const hops: SshHost[] = [...this.#settings.jumps, this.#settings];
    const clients: Client[] = [];
    const lost = new AbortController();
    const end = (reason: string): void => {
      if (lost.signal.aborted) return;
      lost.abort(reason);
      // Not end(): it waits for an answer, and from a dead peer none comes.
      for (const client of clients.toReversed()) client.destroy();
    };
    try {
      for (const [index, hop] of hops.entries()) {
        const before = clients.at(-1);
        const socket = before === undefined ? null : await this.#forward(before, hop, hops[index - 1] as SshHost);
        const client = await connectHop(hop, { through: hops.slice(0, index), socket, timeoutSeconds: this.#settings.connectTimeoutSeconds });
        clients.push(client);
        client.on('error', (error) => this.#drop(hop, error.message, lost.signal, end));
        client.on('close', () => this.#drop(hop, 'the connection was closed by the other side', lost.signal, end));
        // Every command in flight listens for the end of the connection.
        client.setMaxListeners(0);
      }
    } catch (error) {
      end('the connection could not be completed');
      throw error;
    }
    const client = clients.at(-1);
    if (client === undefined || lost.signal.aborted) throw new TransportError('unreachable', `${hopName(this.#settings)}: ${String(lost.signal.reason)}`);
    this.#logger?.info({ host: this.#settings.host, port: this.#settings.port, jumps: this.#settings.jumps.length }, 'ssh connected');
    return { client, lost: lost.signal, end };
  }

  #drop(hop: SshHost, words: string, lost: AbortSignal, end: (reason: string) => void): void {
    if (!lost.aborted) this.#logger?.warn({ host: hop.host, port: hop.port, reason: words }, 'ssh connection lost');
    end(`${hopName(hop)}: ${words}`);
  }

  /** A channel through a jump host to the next. */
  #forward(client: Client, next: SshHost, jump: SshHost): Promise<Duplex> {
    const { connectTimeoutSeconds } = this.#settings;
    return new Promise((resolve, reject) => {
      const fail = (words: string): void => reject(new TransportError('unreachable', `cannot reach ${hopName(next)} through ${hopName(jump)}: ${words}`));
      const timer = setTimeout(() => fail(`no answer within ${connectTimeoutSeconds} s`), connectTimeoutSeconds * 1000);
      client.forwardOut('127.0.0.1', 0, next.host, next.port, (error, channel) => {
        clearTimeout(timer);
        if (error) fail(error.message);
        else resolve(channel);
      });
    });
  }
}
