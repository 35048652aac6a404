/** The built server in a folder of its own, for the time of a bench. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openGraphqlClient } from '../src/cli/graphql-client.ts';
import type { GraphqlClient } from '../src/cli/graphql-client.ts';
import { startServer } from '../src/cli/server-process.ts';
import type { ServerProcess } from '../src/cli/server-process.ts';

export const REPOSITORY = join(import.meta.dirname, '..');

/** Runs `use` with a folder that is removed afterwards; the embedded PostgreSQL may enter it. */
export async function withFolder<Answer>(use: (folder: string) => Promise<Answer>): Promise<Answer> {
  const folder = await mkdtemp(join(tmpdir(), 'expgraph-bench-'));
  await chmod(folder, 0o711);
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

/** Starts what `npm run build` built. */
export function startBuiltServer(dataDirectory: string, settings: Record<string, string> = {}): Promise<ServerProcess> {
  const argv: [string, string] = [process.execPath, join(REPOSITORY, 'dist', 'server', 'main.js')];
  return startServer({ dataDirectory, argv, settings, signal: new AbortController().signal });
}

/** Runs `use` against a built server of its own. */
export function withServer<Answer>(settings: Record<string, string>, use: (client: GraphqlClient, server: ServerProcess) => Promise<Answer>): Promise<Answer> {
  return withFolder(async (folder) => {
    const server = await startBuiltServer(folder, settings);
    const client = openGraphqlClient(server.url, server.token);
    try {
      return await use(client, server);
    } finally {
      await client.close();
      await server.stop();
    }
  });
}
