/** The server as a child process, in a data folder of its own. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const MAIN = join(import.meta.dirname, '..', 'server', 'main.js');
const READY = /^expgraph is ready at (\S+) \(token file: (.+)\)$/;
/** A first start makes a database; on a slow disk that takes a few seconds. */
const START_TIMEOUT_MS = 60_000;
/** The server drains and stops its Postgres within seconds; after this it is killed. */
const STOP_TIMEOUT_MS = 20_000;
const LOG_LINES_SHOWN = 8;

export interface ServerProcess {
  pid: number;
  /** `http://127.0.0.1:PORT/graphql` */
  url: string;
  token: string;
  tokenFile: string;
  logFile: string;
  /** Rejects when the server ends without having been asked to. */
  ended: Promise<never>;
  stop(): Promise<void>;
  /** Lets the server outlive this process. */
  release(): void;
}

export interface ServerOptions {
  dataDirectory: string;
  /** Ends the wait for the server. */
  signal: AbortSignal;
  /** Further environment variables of the server. */
  settings?: Record<string, string>;
  /** Default: `node dist/server/main.js` in the data folder, where no `expgraph.yaml` lies. */
  argv?: [program: string, ...rest: string[]];
  workingDirectory?: string;
}

/** Starts the server on a free port and waits for its ready line. Rejects with the end of its log when it does not come. */
export async function startServer(options: ServerOptions): Promise<ServerProcess> {
  const { dataDirectory, signal, workingDirectory = dataDirectory, argv: [program, ...rest] = [process.execPath, MAIN] } = options;
  const logFile = join(dataDirectory, 'server.log');
  const log = await open(logFile, 'a', 0o600);
  // In a process group of its own, so that Ctrl-C reaches only the demo, which then stops things in order.
  const child = spawn(program, rest, { cwd: workingDirectory, env: serverEnvironment(options), stdio: ['ignore', 'pipe', log.fd], detached: true });
  await log.close();
  const ended = once(child, 'exit').then(async ([code, killedBy]) => {
    throw new Error(`the server ended (${killedBy ?? `exit code ${code}`})\n${await logTail(logFile)}`);
  });
  ended.catch(() => {});
  try {
    const ready = await Promise.race([readyLine(child, signal, logFile), ended]);
    const [, url = '', tokenFile = ''] = READY.exec(ready) ?? [];
    const token = (await readFile(tokenFile, 'utf8')).trim();
    return { pid: child.pid ?? 0, url, token, tokenFile, logFile, ended, stop: () => stopChild(child), release: () => releaseChild(child) };
  } catch (error) {
    await stopChild(child);
    throw error;
  }
}

/** Ours without any setting of expgraph: a demo must not reach the user's own database or clusters. */
function serverEnvironment({ dataDirectory, settings }: ServerOptions): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('EXPGRAPH_') && name !== 'DATABASE_URL');
  return { ...Object.fromEntries(inherited), EXPGRAPH_DATA_DIR: dataDirectory, EXPGRAPH_HOST: '127.0.0.1', EXPGRAPH_PORT: '0', ...settings };
}

async function readyLine(child: ChildProcess, signal: AbortSignal, logFile: string): Promise<string> {
  const timeout = AbortSignal.timeout(START_TIMEOUT_MS);
  const lines = createInterface({ input: child.stdout ?? process.stdin, signal: AbortSignal.any([signal, timeout]) });
  for await (const line of lines) if (READY.test(line)) return line;
  signal.throwIfAborted();
  throw new Error(`the server was not ready after ${START_TIMEOUT_MS / 1000} s\n${await logTail(logFile)}`);
}

/** The last log lines, each cut down to its message. */
async function logTail(logFile: string): Promise<string> {
  const lines = (await readFile(logFile, 'utf8')).trimEnd().split('\n').slice(-LOG_LINES_SHOWN);
  return lines.map((line) => `  | ${messageOf(line)}`).join('\n');
}

function messageOf(line: string): string {
  try {
    const { msg, err } = JSON.parse(line) as { msg?: string; err?: { message?: string } };
    return [msg, err?.message].filter(Boolean).join(': ') || line;
  } catch {
    return line;
  }
}

/** Its standard output closes when the last process that holds it has ended: the server, if `argv` was `npm start`. */
async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'close');
  child.stdout?.resume();
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exit;
  clearTimeout(killer);
}

function releaseChild(child: ChildProcess): void {
  child.stdout?.destroy();
  child.unref();
}
