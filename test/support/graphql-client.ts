/** A GraphQL client as a user would write one: fetch for operations, graphql-ws for subscriptions. */
import { createClient, type Client } from 'graphql-ws';
import WebSocket from 'ws';

export interface TestClient {
  /** Runs an operation and answers its data; throws when the answer has errors. */
  request<Data = any>(query: string, variables?: Record<string, unknown>): Promise<Data>;
  ws: Client;
  close(): Promise<void>;
}

export function openTestClient(url: string, token: string): TestClient {
  const ws = createClient({ url: url.replace(/^http/, 'ws'), webSocketImpl: WebSocket, connectionParams: { token }, retryAttempts: 0 });
  return {
    async request(query, variables) {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({ query, variables }),
      });
      const answer = await response.json() as { data: any; errors?: { message: string }[] };
      if (answer.errors) throw new Error(answer.errors.map((error) => error.message).join('; '));
      return answer.data;
    },
    ws,
    // Fails with the event of a connection that was just being made when its server was killed.
    close: async () => { await Promise.resolve(ws.dispose()).catch(() => undefined); },
  };
}

/** Follows a subscription until `done` says so, with a deadline. Answers everything received. */
export async function collectUntil<Value>(
  client: TestClient, query: string, variables: Record<string, unknown>, done: (values: Value[]) => boolean, deadlineMs: number,
): Promise<Value[]> {
  const values: Value[] = [];
  const iterator = client.ws.iterate<Record<string, Value>>({ query, variables });
  const deadline = setTimeout(() => void iterator.return?.(), deadlineMs);
  try {
    for await (const { data, errors } of iterator) {
      if (errors) throw new Error(errors.map((error) => error.message).join('; '));
      values.push(Object.values(data ?? {})[0] as Value);
      if (done(values)) return values;
    }
    throw new Error(`the subscription had not shown what was waited for after ${deadlineMs} ms; the last of ${values.length} values: ${JSON.stringify(values.slice(-3))}`);
  } finally {
    clearTimeout(deadline);
    await iterator.return?.();
  }
}
