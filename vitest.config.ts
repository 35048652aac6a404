import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Two copies of graphql refuse each other's schemas; this makes every import the same one.
  resolve: { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
  oxc: { decorator: { legacy: true } },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // Every file has a database and servers of its own; more at once than this starves small machines, fewer leave them idle:
    // many tests wait for a cluster.
    maxWorkers: 3,
    // Tests that run beside each other in one file wait for a cluster, most of the time: whole minutes, some of them.
    maxConcurrency: 20,
    // Far beyond what a quiet machine takes: a test ends by its own deadlines, not because two others ran beside it.
    testTimeout: 90_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 30_000 } },
  },
});
