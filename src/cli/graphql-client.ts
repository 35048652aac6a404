/** A GraphQL client: queries and mutations over HTTP, subscriptions over one WebSocket. */
import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';

const REQUEST_TIMEOUT_MS = 30_000;

export interface GraphqlClient {
  /** Rejects with the server's words when there are errors. */
  request<Data>(query: string, variables?: Record<string, unknown>): Promise<Data>;
  /** Ends when the server completes it or the loop is left; throws on errors. */
  subscribe<Data>(query: string, variables?: Record<string, unknown>): AsyncIterable<Data>;
  close(): Promise<void>;
}

interface Answer<Data> {
  data?: Data | null;
  errors?: readonly { message: string }[];
}

function dataOf<Data>(answer: Answer<Data>): Data {
  if (answer.errors?.length) throw new Error(answer.errors.map((error) => error.message).join('; '));
  if (!answer.data) throw new Error('the server answered without data');
  return answer.data;
}

export function openGraphqlClient(url: string, token: string): GraphqlClient {
  const authorization = `Bearer ${token}`;
  const socket = createClient({ url: url.replace(/^http/, 'ws'), webSocketImpl: WebSocket, connectionParams: { authorization }, retryAttempts: 3 });
  return {
    async request<Data>(query: string, variables: Record<string, unknown> = {}): Promise<Data> {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/graphql-response+json', authorization },
        body: JSON.stringify({ query, variables }),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const text = await response.text();
      if (!response.headers.get('content-type')?.includes('json')) throw new Error(`${url} answered ${response.status}: ${text.slice(0, 200)}`);
      return dataOf(JSON.parse(text) as Answer<Data>);
    },
    async *subscribe<Data>(query: string, variables: Record<string, unknown> = {}): AsyncGenerator<Data> {
      for await (const answer of socket.iterate<Data & Record<string, unknown>>({ query, variables })) yield dataOf<Data>(answer);
    },
    close: async () => { await socket.dispose(); },
  };
}
