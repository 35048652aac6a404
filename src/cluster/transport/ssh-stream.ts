import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { TransportError, type CommandStream, type StreamEnd } from '../transport.ts';
import { TextTail } from './command.ts';
import type { Link } from './ssh-connection.ts';
import { ChannelRefusedError, endChannel } from './ssh-exec.ts';

/** A stream whose owner, the transport, may take its channel back. */
export interface SshStream extends CommandStream {
  end(reason: string): void;
}

/**
 * Starts a command on a channel of its own that stays open. Rejects with ChannelRefusedError when the channel was not opened, else with
 * TransportError `interrupted`. `onChannelClosed` is called when the channel no longer counts for the server, but not for one that was refused.
 */
export function openStreamOnChannel(link: Link, commandLine: string, onChannelClosed: () => void): Promise<SshStream> {
  return new Promise((resolve, reject) => {
    if (link.lost.aborted) return reject(new ChannelRefusedError(String(link.lost.reason)));
    try {
      link.client.exec(commandLine, (error: (Error & { reason?: unknown }) | undefined, channel: ClientChannel) => {
        if (!error) return resolve(streamOf(link, channel, onChannelClosed));
        // Only a refusal to open the channel has a reason; after any other fault the command may run.
        if (error.reason !== undefined) return reject(new ChannelRefusedError(error.message));
        onChannelClosed();
        reject(new TransportError('interrupted', `it is not known whether the command was taken: ${error.message}`));
      });
    } catch (error) {
      link.end((error as Error).message);
      reject(new ChannelRefusedError((error as Error).message));
    }
  });
}

function streamOf(link: Link, channel: ClientChannel, onChannelClosed: () => void): SshStream {
  const stderr = new TextTail();
  // A channel of ssh2 cannot be destroyed like other streams: a reader would wait for ever when the connection is lost.
  const stdout = new PassThrough();
  const end: StreamEnd = { exitCode: null, signal: null, stderr: '', lost: null };
  let isOver = false;
  let settle: (end: StreamEnd) => void = () => undefined;
  const ended = new Promise<StreamEnd>((resolve) => { settle = resolve; });
  const finish = (lost: string | null): void => {
    if (isOver) return;
    isOver = true;
    link.lost.removeEventListener('abort', onLost);
    channel.unpipe(stdout);
    channel.resume();
    stdout.end();
    onChannelClosed();
    settle(lost === null ? { ...end, stderr: stderr.text() } : { exitCode: null, signal: null, stderr: stderr.text(), lost });
  };
  let endedBecause: string | null = null;
  const onLost = (): void => finish(endedBecause ?? `the connection was lost: ${String(link.lost.reason)}`);
  link.lost.addEventListener('abort', onLost, { once: true });
  channel.on('error', () => undefined);
  channel.on('exit', (code: number | null, signalName?: string) => {
    end.exitCode = code;
    end.signal = code === null ? signalName ?? 'unknown' : null;
  });
  channel.stderr.on('data', (chunk: Buffer) => stderr.add(chunk));
  channel.pipe(stdout, { end: false });
  channel.once('close', () => finish(endedBecause ?? (end.exitCode === null && end.signal === null ? 'the channel was closed before the command ended' : null)));
  const endStream = (reason: string): void => {
    if (isOver || endedBecause !== null) return;
    endedBecause = reason;
    channel.unpipe(stdout);
    channel.resume();
    channel.end();
    endChannel(link.client, channel);
  };
  return {
    stdout, ended, end: endStream,
    async write(text) {
      if (!isOver && endedBecause === null && channel.write(text)) return;
      if (!isOver && endedBecause === null) await Promise.race([once(channel, 'drain'), ended]);
      if (isOver || endedBecause !== null) throw new TransportError('interrupted', 'the stream has ended');
    },
    async close() {
      endStream('the stream was closed');
      await ended;
    },
  };
}
