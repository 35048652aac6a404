/** What the README shows must work: its GraphQL is of our schema, its configuration is accepted, its names exist. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildSchema, parse, validate } from 'graphql';
import { beforeAll, describe, expect, test } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { readEnvironment } from '../../src/environment.ts';

const root = join(import.meta.dirname, '../..');
const read = (name: string) => readFile(join(root, name), 'utf8');

let readme: string;
beforeAll(async () => { readme = await read('README.md'); });

const blocksOf = (language: string) => [...readme.matchAll(new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``, 'g'))].map(([, text = '']) => text);

describe('the README', () => {
  test('shows GraphQL operations that are valid', async () => {
    const schema = buildSchema(`directive @link(url: String!, as: String, import: [String]) repeatable on SCHEMA\n${await read('schema.graphql')}`, { assumeValidSDL: true });
    const inCurl = [...readme.matchAll(/'\{"query": "([^"]+)"\}'/g)].map(([, text = '']) => text);
    const operations = [...blocksOf('graphql'), ...inCurl];
    expect(operations.length).toBeGreaterThanOrEqual(4);
    for (const operation of operations) expect(validate(schema, parse(operation)), operation).toEqual([]);
  });

  test('shows an expgraph.yaml that is accepted', () => {
    const [configFileText = ''] = blocksOf('yaml');
    const environment = readEnvironment({ HOME: '/home/you', USER: 'you' });
    const config = readConfig({ environment, configFileText, configFilePath: '/home/you/expgraph.yaml', workingDirectory: '/home/you', isRoot: false, obstacle: () => null });
    expect(config.clusters.get('greene')).toMatchObject({ kind: 'SLURM', rootDirectory: '/scratch/you/expgraph', defaultResources: { gpuType: 'rtx8000', timeLimitMinutes: 2820 } });
  });

  test('lists the environment variables that the server reads, and no others', async () => {
    const known = [...(await read('src/environment.ts')).matchAll(/^ {2}(EXPGRAPH_\w+|DATABASE_URL):/gm)].map(([, name]) => name).sort();
    const listed = [...readme.matchAll(/^\| `(EXPGRAPH_\w+|DATABASE_URL)` \|/gm)].map(([, name]) => name).sort();
    expect(listed).toEqual(known);
  });

  test('lists every key of the configuration file', async () => {
    const source = await read('src/config-file.ts');
    const keys = [...source.matchAll(/^ {2}(\w+): (?:text|textMatching|wholeNumber|positiveNumber|portNumber|oneOf|postgresUrl|z\.\w+|section)\(/gm)].map(([, name = '']) => name);
    expect(keys.length).toBeGreaterThan(25);
    expect(keys.filter((key) => !new RegExp(`[\`.]${key}\``).test(readme) && !new RegExp(`\`${key}\\.`).test(readme))).toEqual([]);
  });

  test('names npm scripts that exist', async () => {
    const { scripts } = JSON.parse(await read('package.json')) as { scripts: Record<string, string> };
    const named = [...readme.matchAll(/npm run ([a-z:]+)/g)].map(([, name = '']) => name);
    expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  });
});
