import { setTimeout as delay } from 'node:timers/promises';
import type { SshSettings } from '../../domain/cluster-settings.ts';
import { DEFAULT_TIMEOUT_MS, NoChannelError, TransportError } from '../transport.ts';
import type { CommandStream, ExecOptions, ExecResult, Transport } from '../transport.ts';
import { ChannelLine } from './channel-line.ts';
import { commandLine } from './command.ts';
import { remoteFiles } from './remote-files.ts';
import { SshConnection, type Link, type TransportLogger } from './ssh-connection.ts';
import { ChannelRefusedError, runOnChannel } from './ssh-exec.ts';
import { hopName } from './ssh-hop.ts';
import { openStreamOnChannel, type SshStream } from './ssh-stream.ts';

/** A connection found dead in the moment of sending is opened anew this often within one call. */
const MAX_RECONNECTS = 2;

/** First and longest pause before a refused channel is asked for again. */
const REFUSAL_PAUSE_MS = { first: 20, most: 500 };

/** How long sshd may refuse the channel of a stream, of which the owner can do without for a while. */
const STREAM_PATIENCE_MS = 3_000;

/** The channels of one connection. */
interface Channels {
  line: ChannelLine;
  stream: SshStream | null;
  /** Commands that were refused a channel and will ask again. */
  refusedCount: number;
}

/**
 * A transport over SSH. Nothing is connected until the first call; one connection serves all calls and is opened anew by the first call
 * after it was lost. Nothing is sent twice: only a command that was surely not sent is tried again.
 */
export function openSshTransport(settings: SshSettings, logger?: TransportLogger): Transport {
  const connection = new SshConnection(settings, logger);
  const channelsOfLink = new WeakMap<Link, Channels>();
  let isStreaming = false;
  const channelsOf = (link: Link): Channels => {
    const channels = channelsOfLink.get(link) ?? { line: new ChannelLine(settings.maxChannels), stream: null, refusedCount: 0 };
    channelsOfLink.set(link, channels);
    return channels;
  };
  const notTaken = ({ message }: ChannelRefusedError): string => `${hopName(settings)} did not take the command: ${message}`;

  async function exec(argv: string[], options: ExecOptions = {}): Promise<ExecResult> {
    const command = commandLine(argv);
    for (let reconnectCount = 0; ; reconnectCount += 1) {
      const link = await connection.link();
      const channels = channelsOf(link);
      const leave = await channels.line.enter();
      try {
        return await patiently(link, options.timeoutMs ?? DEFAULT_TIMEOUT_MS, () => runOnChannel(link, command, options, leave), channels);
      } catch (error) {
        if (!(error instanceof ChannelRefusedError)) throw error;
        leave();
        if (link.lost.aborted && reconnectCount < MAX_RECONNECTS) continue;
        throw new TransportError('unreachable', notTaken(error), { cause: error });
      }
    }
  }

  async function startStream(command: string): Promise<CommandStream> {
    const link = await connection.link();
    if (settings.maxChannels < 2) throw new NoChannelError('maxChannels is 1: the only channel is left to commands');
    const channels = channelsOf(link);
    const leave = await channels.line.enter();
    try {
      const stream = await patiently(link, STREAM_PATIENCE_MS, () => openStreamOnChannel(link, command, () => {
        channels.stream = null;
        leave();
      }), null);
      channels.stream = stream;
      return stream;
    } catch (error) {
      if (!(error instanceof ChannelRefusedError)) throw error;
      leave();
      throw link.lost.aborted ? new TransportError('unreachable', notTaken(error), { cause: error }) : new NoChannelError(notTaken(error), { cause: error });
    }
  }

  async function stream(argv: string[]): Promise<CommandStream> {
    const command = commandLine(argv);
    if (isStreaming) throw new RangeError('a stream is open already');
    isStreaming = true;
    try {
      const started = await startStream(command);
      void started.ended.finally(() => { isStreaming = false; });
      return started;
    } catch (error) {
      isStreaming = false;
      throw error;
    }
  }

  return { exec, stream, ...remoteFiles(exec), close: () => connection.close() };
}

/** A command that is refused while nothing but the stream holds a channel would wait for as long as the stream lasts. */
function makeWay({ line, stream, refusedCount }: Channels): void {
  if (line.activeCount - refusedCount <= 1) stream?.end('the machine opens one channel only, which a command needed');
}

/**
 * sshd may refuse a channel within its bound, when it has not yet cleared away one that was just closed, and it may have a lower bound than
 * we were told. Either way there is room again soon: the place in line is kept and the channel asked for again, for as long as the command may take.
 * @param channels where a command may take the place of the stream; null for the stream itself
 */
async function patiently<Answer>(link: Link, patienceMs: number, open: () => Promise<Answer>, channels: Channels | null): Promise<Answer> {
  const deadline = Date.now() + patienceMs;
  for (let pauseMs = REFUSAL_PAUSE_MS.first; ; pauseMs = Math.min(2 * pauseMs, REFUSAL_PAUSE_MS.most)) {
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof ChannelRefusedError) || link.lost.aborted || Date.now() > deadline) throw error;
      if (channels !== null) channels.refusedCount += 1;
      // Not at the first refusal: it may be for a channel that is just being cleared away.
      if (channels !== null && pauseMs > REFUSAL_PAUSE_MS.first) makeWay(channels);
      await delay(pauseMs, undefined, { signal: link.lost }).catch(() => undefined);
      if (channels !== null) channels.refusedCount -= 1;
    }
  }
}
