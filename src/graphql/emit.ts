/** Writes schema.graphql; with `--check` only says whether it is what the code says, by the exit code. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { subgraphSdl } from './build-schema.ts';

const file = fileURLToPath(new URL('../../schema.graphql', import.meta.url));
const sdl = subgraphSdl();

if (!process.argv.includes('--check')) {
  writeFileSync(file, sdl);
} else if (readIfThere() !== sdl) {
  process.stderr.write('schema.graphql is not what the code says; write it anew with `npx tsx src/graphql/emit.ts`\n');
  process.exitCode = 1;
}

function readIfThere(): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
