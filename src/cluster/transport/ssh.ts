import { setTimeout as delay } from 'node:timers/promises';
import type { SshSettings } from '../../domain/cluster-settings.ts';
import { DEFAULT_TIMEOUT_MS, TransportError } from '../transport.ts';
import type { ExecOptions, ExecResult, Transport } from '../transport.ts';
import { ChannelLine } from './channel-line.ts';
import { commandLine } from './command.ts';
import { remoteFiles } from './remote-files.ts';
import { SshConnection, type Link, type TransportLogger } from './ssh-connection.ts';
import { ChannelRefusedError, runOnChannel } from './ssh-exec.ts';
import { hopName } from './ssh-hop.ts';

/** A connection found dead in the moment of sending is opened anew this often within one call. */
const MAX_RECONNECTS = 2;

/** First and longest pause before a refused channel is asked for again. */
const REFUSAL_PAUSE_MS = { first: 20, most: 500 };

/**
 * A transport over SSH. Nothing is connected until the first call; one connection serves all calls and is opened anew by the first call
 * after it was lost. Nothing is sent twice: only a command that was surely not sent is tried again.
 */
export function openSshTransport(settings: SshSettings, logger?: TransportLogger): Transport {
  const connection = new SshConnection(settings, logger);
  const lines = new WeakMap<Link, ChannelLine>();
  const lineOf = (link: Link): ChannelLine => {
    const line = lines.get(link) ?? new ChannelLine(settings.maxChannels);
    lines.set(link, line);
    return line;
  };

  async function exec(argv: string[], options: ExecOptions = {}): Promise<ExecResult> {
    const command = commandLine(argv);
    for (let reconnectCount = 0; ; reconnectCount += 1) {
      const link = await connection.link();
      const leave = await lineOf(link).enter();
      try {
        return await runPatiently(link, command, options, leave);
      } catch (error) {
        if (!(error instanceof ChannelRefusedError)) throw error;
        leave();
        if (link.lost.aborted && reconnectCount < MAX_RECONNECTS) continue;
        throw new TransportError('unreachable', `${hopName(settings)} did not take the command: ${error.message}`, { cause: error });
      }
    }
  }

  return { exec, ...remoteFiles(exec), close: () => connection.close() };
}

/**
 * sshd may refuse a channel within its bound, when it has not yet cleared away one that was just closed, and it may have a lower bound than
 * we were told. Either way there is room again soon: the place in line is kept and the channel asked for again, for as long as the command may take.
 */
async function runPatiently(link: Link, command: string, options: ExecOptions, leave: () => void): Promise<ExecResult> {
  const deadline = Date.now() + (options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  for (let pauseMs = REFUSAL_PAUSE_MS.first; ; pauseMs = Math.min(2 * pauseMs, REFUSAL_PAUSE_MS.most)) {
    try {
      return await runOnChannel(link, command, options, leave);
    } catch (error) {
      if (!(error instanceof ChannelRefusedError) || link.lost.aborted || Date.now() > deadline) throw error;
      await delay(pauseMs, undefined, { signal: link.lost }).catch(() => undefined);
    }
  }
}
