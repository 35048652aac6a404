/** The connections that stay open: bounded, ended when their token is revoked, ended politely when the server stops. */
import type { Logger } from 'pino';
import type { Authenticator } from './authentication.ts';
import { TOKEN_CACHE_MS } from './authentication.ts';

/** Each holds a socket, buffers and subscriptions; more than a lab's notebooks, dashboards and gateways need. */
export const MAX_OPEN_CONNECTIONS = 1_000;

export type EndReason = 'revoked' | 'stopping';

export interface OpenConnection {
  /** Null while nobody has said who it is. */
  tokenSha256(): string | null;
  /** Tells the other side and closes. */
  end(reason: EndReason): void;
}

export interface OpenConnections {
  /** Keeps a connection until the returned function is called, or answers null when there are too many. */
  add(connection: OpenConnection): (() => void) | null;
  /** Ends all of them; none can be added afterwards. */
  close(): void;
}

export function createOpenConnections(authenticator: Authenticator, logger: Logger): OpenConnections {
  const connections = new Set<OpenConnection>();
  let closed = false;
  async function endRevoked(): Promise<void> {
    for (const connection of connections) {
      const sha256 = connection.tokenSha256();
      if (sha256 !== null && (await authenticator.bySha256(sha256)) === null) connection.end('revoked');
    }
  }
  const timer = setInterval(() => {
    endRevoked().catch((error: unknown) => logger.warn({ err: error }, 'tokens of open connections could not be checked'));
  }, TOKEN_CACHE_MS).unref();
  return {
    add(connection) {
      if (closed || connections.size >= MAX_OPEN_CONNECTIONS) return null;
      connections.add(connection);
      return () => void connections.delete(connection);
    },
    close() {
      closed = true;
      clearInterval(timer);
      for (const connection of connections) connection.end('stopping');
    },
  };
}
