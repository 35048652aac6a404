/** Apollo on fastify with our schema, answering every root field from one file: `constant-server.ts FILE`. Prints its address. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ApolloServer } from '@apollo/server';
import { ApolloServerPluginInlineTraceDisabled } from '@apollo/server/plugin/disabled';
import { buildSubgraphSchema } from '@apollo/subgraph';
import fastifyApollo, { fastifyApolloDrainPlugin } from '@as-integrations/fastify';
import fastify from 'fastify';
import { parse } from 'graphql';

const constants = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as Record<string, unknown>;
const typeDefs = parse(readFileSync(join(import.meta.dirname, '..', 'schema.graphql'), 'utf8'));
const resolvers = { Query: Object.fromEntries(Object.entries(constants).map(([field, value]) => [field, () => value])) };

const app = fastify();
const apollo = new ApolloServer({ schema: buildSubgraphSchema([{ typeDefs, resolvers }]), plugins: [fastifyApolloDrainPlugin(app), ApolloServerPluginInlineTraceDisabled()], stopOnTerminationSignals: true });
await apollo.start();
await app.register(fastifyApollo(apollo));
console.log(`${await app.listen({ host: '127.0.0.1', port: 0 })}/graphql`);
