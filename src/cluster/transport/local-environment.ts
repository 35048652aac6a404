/** What the server itself was started with (database password, paths of its own) is nothing a command should find in its environment. */
const OWN_VARIABLES = /^(EXPGRAPH_.*|DATABASE_URL|PGPASSWORD)$/;

/** The environment of a command on this machine. */
export function commandEnvironment(): NodeJS.ProcessEnv {
  // oxlint-disable-next-line node/no-process-env -- handed on to the command, never read for settings
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !OWN_VARIABLES.test(name)));
}
