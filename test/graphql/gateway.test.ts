/** The server as one of two subgraphs behind a gateway: what a lab does that has a graph of its own. */
import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { createGatewayRuntime } from '@graphql-hive/gateway-runtime';
import http from '@graphql-mesh/transport-http';
import ws from '@graphql-mesh/transport-ws';
import { composeServices } from '@theguild/federation-composition';
import { parse } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { appendEvents } from '../../src/db/write/events.ts';
import { buildSubgraph, subgraphSdl } from '../../src/graphql/build-schema.ts';
import { startHttp, type TestHttp } from '../http/support.ts';
import { seedExperiment, seedJobs } from './fixture.ts';

const NOTES_SDL = `extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])
  type Query { notes: [Note!]! }
  type Note { text: String! job: Job! }
  type Job @key(fields: "id") { id: ID! notes: [Note!]! }`;

let expgraph: TestHttp;
let notes: ApolloServer;
let gateway: ReturnType<typeof createGatewayRuntime>;
let experimentId: string;
let jobIds: string[];

beforeAll(async () => {
  expgraph = await startHttp({ schema: buildSubgraph(), queryLimits: { maxDepth: 12, maxCost: 500_000 } });
  experimentId = await seedExperiment(expgraph, { name: 'federated' });
  jobIds = await seedJobs(expgraph, experimentId, [{ name: 'a' }, { name: 'b' }]);
  const notesUrl = await startNotes();
  const composed = composeServices([
    { name: 'expgraph', typeDefs: parse(subgraphSdl()), url: expgraph.graphqlUrl }, { name: 'notes', typeDefs: parse(NOTES_SDL), url: notesUrl },
  ]);
  if (composed.supergraphSdl === undefined) throw new Error(JSON.stringify(composed.errors));
  gateway = createGatewayRuntime({
    supergraph: composed.supergraphSdl,
    logging: false,
    transports: { http, ws },
    propagateHeaders: { fromClientToSubgraphs: ({ request }) => ({ authorization: request.headers.get('authorization') ?? '' }) },
    transportEntries: {
      expgraph: { options: { subscriptions: { kind: 'ws', location: '/graphql', options: { connectionParams: { token: expgraph.tokens.reader } } } } },
    },
  });
}, 60_000);
afterAll(async () => {
  await gateway?.[Symbol.asyncDispose]();
  await notes?.stop();
  await expgraph?.stop();
});

async function startNotes(): Promise<string> {
  const noteOf = (id: string) => ({ text: `about ${id}`, job: { id } });
  const resolvers = {
    Query: { notes: () => jobIds.map(noteOf) },
    Job: { __resolveReference: ({ id }: { id: string }) => ({ id }), notes: ({ id }: { id: string }) => [noteOf(id)] },
  };
  notes = new ApolloServer({ schema: buildSubgraphSchema([{ typeDefs: parse(NOTES_SDL), resolvers }]), stopOnTerminationSignals: false });
  const { url } = await startStandaloneServer(notes, { listen: { port: 0, host: '127.0.0.1' } });
  return url;
}

function ask(query: string, variables: object, headers: Record<string, string> = {}): Promise<Response> {
  return Promise.resolve(gateway.fetch('http://gateway/graphql', {
    method: 'POST', body: JSON.stringify({ query, variables }),
    headers: { 'content-type': 'application/json', authorization: `Bearer ${expgraph.tokens.reader}`, ...headers },
  }));
}

describe('behind a gateway', () => {
  it("joins the other subgraph's fields to our jobs", async () => {
    const response = await ask('query ($id: [ID!]) { jobs(filter: {experimentIds: $id}) { nodes { name notes { text } experiment { name } } totalCount } }', { id: [experimentId] });
    expect(await response.json()).toEqual({ data: { jobs: { totalCount: 2, nodes: [
      { name: 'a', notes: [{ text: `about ${jobIds[0]}` }], experiment: { name: 'federated' } },
      { name: 'b', notes: [{ text: `about ${jobIds[1]}` }], experiment: { name: 'federated' } },
    ] } } });
  });

  it("joins our fields to the other subgraph's references", async () => {
    const response = await ask('{ notes { job { name state experiment { project } } } }', {});
    expect(await response.json()).toEqual({ data: { notes: [
      { job: { name: 'a', state: 'QUEUED', experiment: { project: 'vision' } } }, { job: { name: 'b', state: 'QUEUED', experiment: { project: 'vision' } } },
    ] } });
  });

  it('streams our events with the other subgraph joined in', async () => {
    const response = await ask('subscription ($f: JobEventFilter) { jobEvents(filter: $f, after: "0") { toState job { name notes { text } } } }',
      { f: { jobIds: [jobIds[1]] } }, { accept: 'text/event-stream' });
    expect(response.status).toBe(200);
    await expgraph.database.transaction((transaction) => appendEvents(transaction, [{
      kind: 'JOB_STATE_CHANGED', experimentId, sweepId: null, jobId: jobIds[1]!, attemptNumber: null, payload: { from: 'QUEUED', to: 'SUBMITTING', reason: null },
    }]));
    const reader = response.body!.pipeThrough(new TextDecoderStream() as never).getReader() as ReadableStreamDefaultReader<string>;
    let text = '';
    while (!text.includes('"data"') && !text.includes('"errors"')) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
    }
    await reader.cancel();
    const message: unknown = JSON.parse(/^data: *(\{.*\})$/m.exec(text)?.[1] ?? 'null');
    expect(message).toEqual({ data: { jobEvents: { toState: 'SUBMITTING', job: { name: 'b', notes: [{ text: `about ${jobIds[1]}` }] } } } });
  });
});
