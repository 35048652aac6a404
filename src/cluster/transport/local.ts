import { spawn, type ChildProcess } from 'node:child_process';
import { DEFAULT_TIMEOUT_MS, TransportError } from '../transport.ts';
import type { CommandStream, ExecOptions, ExecResult, Transport } from '../transport.ts';
import { KILL_GRACE_MS, OutputCollector, commandLine } from './command.ts';
import { commandEnvironment } from './local-environment.ts';
import { listFiles, putFile, readRanges } from './local-files.ts';
import { startLocalStream } from './local-stream.ts';

/** A transport to this machine: child processes and its file system. */
export function openLocalTransport(): Transport {
  const running = new Set<RunningCommand>();
  let streaming: CommandStream | null = null;
  let closed = false;
  const assertOpen = (): void => {
    if (closed) throw new TransportError('unreachable', 'the transport is closed');
  };
  return {
    async exec(argv, options = {}) {
      assertOpen();
      commandLine(argv);
      const command = new RunningCommand(argv, options);
      running.add(command);
      return command.result.finally(() => running.delete(command));
    },
    async stream(argv) {
      assertOpen();
      commandLine(argv);
      if (streaming !== null) throw new RangeError('a stream is open already');
      const stream = startLocalStream(argv);
      streaming = stream;
      void stream.ended.finally(() => { streaming = null; });
      return stream;
    },
    async put(path, content) {
      assertOpen();
      await putFile(path, content);
    },
    async read(ranges) {
      assertOpen();
      return readRanges(ranges);
    },
    async list(request) {
      assertOpen();
      return listFiles(request);
    },
    async close() {
      closed = true;
      for (const command of running) command.end('interrupted', 'the transport was closed');
      await streaming?.close();
    },
  };
}

/** A child that leads a process group of its own, so that ending it ends what it started too. */
class RunningCommand {
  readonly result: Promise<ExecResult>;
  readonly #child: ChildProcess;
  #reject: (error: Error) => void = () => undefined;

  constructor(argv: string[], options: ExecOptions) {
    this.#child = spawn(argv[0] as string, argv.slice(1), { cwd: '/', env: commandEnvironment(), detached: true, stdio: 'pipe' });
    this.result = new Promise<ExecResult>((resolve, reject) => {
      this.#reject = reject;
      this.#collect(argv, options, resolve);
    });
  }

  #collect(argv: string[], options: ExecOptions, resolve: (result: ExecResult) => void): void {
    const child = this.#child;
    const output = new OutputCollector(options.maxOutputBytes);
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const timer = setTimeout(() => this.end('interrupted', `${argv[0]} did not end within ${timeoutMs} ms`), timeoutMs);
    const keep = (stream: 'stdout' | 'stderr') => (chunk: Buffer) => {
      if (!output.add(stream, chunk)) this.end('output-limit', `${argv[0]} printed more than ${output.maxBytes} bytes`);
    };
    child.stdout?.on('data', keep('stdout'));
    child.stderr?.on('data', keep('stderr'));
    // A command may end without reading its input: that is its affair, not an error.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.stdin ?? '');
    child.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      const exitCode = exitCodeOfStartFailure(error);
      if (exitCode === null) this.#reject(new TransportError('unreachable', `cannot start ${argv[0]}: ${error.message}`, { cause: error }));
      else resolve({ ...output.result(exitCode, null), stderr: Buffer.from(`${argv[0]}: ${error.code === 'ENOENT' ? 'not found' : 'permission denied'}\n`) });
    });
    child.on('close', (exitCode, signal) => {
      clearTimeout(timer);
      resolve(output.result(exitCode, signal));
    });
  }

  /** Ends the command and rejects at once; a command that is already over is left alone. */
  end(failure: 'interrupted' | 'output-limit', message: string): void {
    this.#reject(new TransportError(failure, message));
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    this.#signalGroup('SIGTERM');
    const killTimer = setTimeout(() => this.#signalGroup('SIGKILL'), KILL_GRACE_MS);
    this.#child.once('close', () => clearTimeout(killTimer));
  }

  #signalGroup(signal: NodeJS.Signals): void {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // It ended between the look and the signal.
    }
  }
}

function exitCodeOfStartFailure(error: NodeJS.ErrnoException): number | null {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return 127;
  return error.code === 'EACCES' ? 126 : null;
}
