import { readFileSync } from 'node:fs';
import { composeServices } from '@theguild/federation-composition';
import {
  type GraphQLArgument, buildSchema, getNamedType, isEnumType, isInputObjectType, isInterfaceType, isObjectType, isIntrospectionType, parse, type GraphQLSchema,
} from 'graphql';
import { describe, expect, it } from 'vitest';
import { buildSubgraph, subgraphSdl } from '../../src/graphql/build-schema.ts';

const schema = buildSubgraph();
const FEDERATION_OWN = /^(_Any|_Entity|_Service|FieldSet|.*__.*)$/;

/** Everything in a schema that a person reads, by its path, with its description. */
function described(of: GraphQLSchema): [path: string, description: string | null | undefined][] {
  const own = Object.values(of.getTypeMap()).filter((type) => !isIntrospectionType(type) && !FEDERATION_OWN.test(type.name)
    && !['String', 'Int', 'Float', 'Boolean', 'ID', 'Query', 'Mutation', 'Subscription'].includes(type.name));
  const roots = [of.getQueryType()!, of.getMutationType()!, of.getSubscriptionType()!];
  return [...own, ...roots].flatMap((type) => {
    const entries: [string, string | null | undefined][] = own.includes(type) ? [[type.name, type.description]] : [];
    if (isEnumType(type)) entries.push(...type.getValues().map((value): [string, string | null | undefined] => [`${type.name}.${value.name}`, value.description]));
    if (!isObjectType(type) && !isInterfaceType(type) && !isInputObjectType(type)) return entries;
    for (const field of Object.values(type.getFields())) {
      if (field.name.startsWith('_')) continue;
      entries.push([`${type.name}.${field.name}`, field.description]);
      if ('args' in field) entries.push(...field.args.map((arg: GraphQLArgument): [string, string | null | undefined] => [`${type.name}.${field.name}(${arg.name})`, arg.description]));
    }
    return entries;
  });
}

describe('the schema', () => {
  it('is the one checked in', () => {
    expect(readFileSync(new URL('../../schema.graphql', import.meta.url), 'utf8')).toBe(subgraphSdl());
  });

  it('describes everything', () => {
    const all = described(schema);
    expect(all.length).toBeGreaterThan(500);
    expect(all.filter(([, description]) => !description?.trim()).map(([path]) => path)).toEqual([]);
  });

  it('answers every mutation with the faults of its one input', () => {
    for (const field of Object.values(schema.getMutationType()!.getFields())) {
      expect(field.args.map((arg) => arg.name), field.name).toEqual(['input']);
      const payload = getNamedType(field.type);
      expect(isObjectType(payload) && String(payload.getFields()['userErrors']?.type), field.name).toBe('[UserError!]!');
    }
  });

  it('bounds the size of every connection for gateways', () => {
    const connections = Object.values(schema.getTypeMap()).filter(isObjectType).flatMap((type) => Object.values(type.getFields()))
      .filter((field) => getNamedType(field.type).name.endsWith('Connection'));
    expect(connections.length).toBeGreaterThanOrEqual(7);
    for (const field of connections) {
      expect(field.astNode?.directives?.map((directive) => directive.name.value), field.name).toContain('listSize');
      expect(field.args.map((arg) => arg.name), field.name).toEqual(expect.arrayContaining(['first', 'after']));
    }
  });

  it('composes with another subgraph that extends its entities', () => {
    const notes = `extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@external", "@shareable"])
      type Query { note(id: ID!): Note }
      type Note { id: ID! job: Job! experiment: Experiment! cluster: Cluster! page: PageInfo }
      type Job @key(fields: "id") { id: ID! notes: [Note!]! }
      type Experiment @key(fields: "project name") { project: String! name: String! notes: [Note!]! }
      type Cluster @key(fields: "name") { name: String! quotaBytes: Float }
      type PageInfo @shareable { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }`;
    const composed = composeServices([
      { name: 'expgraph', typeDefs: parse(subgraphSdl()), url: 'http://localhost/graphql' }, { name: 'notes', typeDefs: parse(notes), url: 'http://localhost/notes' },
    ]);
    expect(composed.errors).toBeUndefined();
    expect(composed.supergraphSdl).toContain('quotaBytes');
    expect(() => buildSchema(composed.publicSdl!)).not.toThrow();
  });
});
