import type { Client, ClientChannel } from 'ssh2';
import { DEFAULT_TIMEOUT_MS, TransportError } from '../transport.ts';
import type { ExecOptions, ExecResult } from '../transport.ts';
import { KILL_GRACE_MS, OutputCollector } from './command.ts';
import type { Link } from './ssh-connection.ts';

/** The server would not open one more channel: the command was not sent. */
export class ChannelRefusedError extends Error {}

/**
 * Runs one command line on a channel of its own. Rejects with ChannelRefusedError when it was surely not sent, else with TransportError
 * `interrupted` or `output-limit`. `onChannelClosed` is called when the channel no longer counts for the server, but not for one that was refused.
 */
export function runOnChannel(link: Link, commandLine: string, options: ExecOptions, onChannelClosed: () => void): Promise<ExecResult> {
  return new Promise((resolve, reject) => {
    const output = new OutputCollector(options.maxOutputBytes);
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    let channel: ClientChannel | null = null;
    let isOver = false;
    const settle = (finish: () => void): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      finish();
    };
    const giveUp = (failure: 'interrupted' | 'output-limit', words: string): void => settle(() => {
      if (channel !== null) endChannel(link.client, channel);
      reject(new TransportError(failure, words));
    });
    const onLost = (): void => {
      onChannelClosed();
      giveUp('interrupted', `the connection was lost while a command ran: ${String(link.lost.reason)}`);
    };
    const timer = setTimeout(() => giveUp('interrupted', `the command did not end within ${timeoutMs} ms`), timeoutMs);
    const onOpen = (error: (Error & { reason?: unknown }) | undefined, opened: ClientChannel): void => {
      if (error) {
        link.lost.removeEventListener('abort', onLost);
        // Only a refusal to open the channel proves that nothing was sent; it alone has a reason.
        if (error.reason !== undefined && !isOver) return settle(() => reject(new ChannelRefusedError(error.message)));
        onChannelClosed();
        return giveUp('interrupted', `it is not known whether the command was taken: ${error.message}`);
      }
      channel = opened;
      collect(opened, output, (exitCode, signal) => {
        link.lost.removeEventListener('abort', onLost);
        onChannelClosed();
        if (exitCode === null && signal === null) giveUp('interrupted', 'the channel was closed before the command ended');
        else settle(() => resolve(output.result(exitCode, signal)));
      }, () => giveUp('output-limit', `the command printed more than ${output.maxBytes} bytes`));
      if (isOver) endChannel(link.client, opened);
      else opened.end(options.stdin ?? '');
    };
    if (link.lost.aborted) return settle(() => reject(new ChannelRefusedError(String(link.lost.reason))));
    link.lost.addEventListener('abort', onLost, { once: true });
    try {
      link.client.exec(commandLine, onOpen);
    } catch (error) {
      // Thrown for a connection whose end was seen but not yet told: nothing was sent.
      link.end((error as Error).message);
      settle(() => reject(new ChannelRefusedError((error as Error).message)));
    }
  });
}

function collect(channel: ClientChannel, output: OutputCollector, onClose: (exitCode: number | null, signal: string | null) => void, onTooMuch: () => void): void {
  let exitCode: number | null = null;
  let signal: string | null = null;
  channel.on('exit', (code: number | null, signalName?: string) => {
    exitCode = code;
    signal = code === null ? signalName ?? 'unknown' : null;
  });
  const keep = (stream: 'stdout' | 'stderr') => (chunk: Buffer) => {
    if (!output.add(stream, chunk)) onTooMuch();
  };
  channel.on('data', keep('stdout'));
  channel.stderr.on('data', keep('stderr'));
  channel.on('error', () => undefined);
  // The close of the channel waits for its standard output only.
  channel.on('close', () => {
    if (channel.stderr.readableEnded) onClose(exitCode, signal);
    else channel.stderr.once('end', () => onClose(exitCode, signal));
  });
}

/** TERM, soon after KILL, then the channel is closed from our side whatever became of the command. */
export function endChannel(client: Client, channel: ClientChannel): void {
  sendSignal(client, channel, 'TERM');
  const timer = setTimeout(() => {
    sendSignal(client, channel, 'KILL');
    channel.close();
  }, KILL_GRACE_MS);
  channel.once('close', () => clearTimeout(timer));
}

interface ChannelInside {
  outgoing: { id: number; state: string };
}
interface ClientInside {
  _protocol: { signal(channelId: number, name: string): void };
}

/** `channel.signal()` does nothing once our side has sent its end of input, although the protocol allows signals until the close. */
function sendSignal(client: Client, channel: ClientChannel, name: 'TERM' | 'KILL'): void {
  const { outgoing } = channel as unknown as ChannelInside;
  if (outgoing.state !== 'open' && outgoing.state !== 'eof') return;
  (client as unknown as ClientInside)._protocol.signal(outgoing.id, name);
}
