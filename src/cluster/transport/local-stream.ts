import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { TransportError, type CommandStream, type StreamEnd } from '../transport.ts';
import { KILL_GRACE_MS, TextTail } from './command.ts';
import { commandEnvironment } from './local-environment.ts';

/** A child that leads a process group of its own. When our process dies, however that happens, its standard input ends. */
export function startLocalStream(argv: string[]): CommandStream {
  const child = spawn(argv[0] as string, argv.slice(1), { cwd: '/', env: commandEnvironment(), detached: true, stdio: 'pipe' });
  const stderr = new TextTail();
  child.stderr.on('data', (chunk: Buffer) => stderr.add(chunk));
  // What cannot be written is told by `write`.
  child.stdin.on('error', () => undefined);
  let closing = false;
  const ended = new Promise<StreamEnd>((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      const exitCode = error.code === 'EACCES' ? 126 : 127;
      resolve({ exitCode, signal: null, stderr: `${argv[0]}: ${error.message}`, lost: null });
    });
    child.once('close', (exitCode, signal) => {
      const lost = closing ? 'the stream was closed' : null;
      resolve({ exitCode: closing ? null : exitCode, signal: closing ? null : signal, stderr: stderr.text(), lost });
    });
  });
  return {
    stdout: child.stdout,
    ended,
    write: (text) => write(child, text),
    async close() {
      closing = true;
      endGroup(child);
      await ended;
    },
  };
}

async function write(child: ChildProcessWithoutNullStreams, text: string): Promise<void> {
  if (!child.stdin.writable) throw new TransportError('interrupted', 'the command has ended');
  if (child.stdin.write(text)) return;
  await Promise.race([once(child.stdin, 'drain'), once(child, 'close')]).catch(() => undefined);
  if (!child.stdin.writable) throw new TransportError('interrupted', 'the command has ended');
}

function endGroup(child: ChildProcessWithoutNullStreams): void {
  const signal = (name: NodeJS.Signals): void => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    try {
      process.kill(-child.pid, name);
    } catch {
      // It ended between the look and the signal.
    }
  };
  child.stdin.end();
  // Nobody may be reading any more, and a pipe that is not read to its end is never closed.
  child.stdout.resume();
  signal('SIGTERM');
  const timer = setTimeout(() => signal('SIGKILL'), KILL_GRACE_MS);
  child.once('close', () => clearTimeout(timer));
}
