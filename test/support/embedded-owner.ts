/** A process that starts the embedded PostgreSQL and then waits: for tests that kill it. Prints the URL when it is ready. */
import { startEmbeddedPostgres } from '../../src/db/embedded-postgres.ts';

const [dataDirectory = ''] = process.argv.slice(2);
const server = await startEmbeddedPostgres({ dataDirectory });
// Ends as a crash does: without stopping what was started.
process.once('SIGTERM', () => process.exit(1));
process.stdout.write(`${server.url}\n`);
