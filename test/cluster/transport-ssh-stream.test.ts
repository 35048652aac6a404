/** What happens to a stream over SSH when the connection or sshd's bounds fail it. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Transport } from '../../src/cluster/transport.ts';
import { openSshTransport } from '../../src/cluster/transport/ssh.ts';
import { identify, until } from '../rig/processes.ts';
import { startSshd, sshdUnavailableReason, type TestSshd } from '../support/sshd.ts';

describe.skipIf(sshdUnavailableReason() !== null)('a stream of the ssh transport', () => {
  const cleanUp: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const undo of cleanUp.splice(0).reverse()) await undo();
  });

  async function start(configLines: string[] = []): Promise<TestSshd> {
    const sshd = await startSshd({ configLines });
    cleanUp.push(() => sshd.remove());
    return sshd;
  }

  function open({ host, port, user, identityFile, knownHostsFile }: TestSshd, maxChannels = 8): Transport {
    const transport = openSshTransport({ host, port, user, identityFile, agentSocket: null, knownHostsFiles: [knownHostsFile], jumps: [], connectTimeoutSeconds: 5, maxChannels });
    cleanUp.push(() => transport.close());
    return transport;
  }

  it('tells a stream that the connection was lost, leaves no process behind, and opens the next one anew', async () => {
    const sshd = await start();
    const transport = open(sshd);
    const stream = await transport.stream(['sh', '-c', 'echo $$; exec cat > /dev/null']);
    let pid = '';
    for await (const chunk of stream.stdout) {
      pid = chunk.toString().trim();
      await sshd.dropConnections();
    }
    expect(await stream.ended).toMatchObject({ exitCode: null, lost: expect.stringContaining('connection was lost') });
    await until('the command to be gone', 30_000, () => identify(Number(pid)) === null);
    const next = await transport.stream(['cat']);
    await next.write('again\n');
    for await (const chunk of next.stdout) {
      expect(chunk.toString()).toBe('again\n');
      break;
    }
  });

  it('takes the channel of a stream for a command where sshd opens only one, and refuses a stream where only one was agreed', async () => {
    const single = await start(['MaxSessions 1']);
    const transport = open(single);
    const stream = await transport.stream(['cat']);
    const words = ['one', 'two', 'three'];
    expect(await Promise.all(words.map(async (word) => (await transport.exec(['echo', word])).stdout.toString()))).toEqual(words.map((word) => `${word}\n`));
    expect((await stream.ended).lost).toContain('one channel only');
    await expect(open(single, 1).stream(['cat'])).rejects.toMatchObject({ name: 'NoChannelError', failure: 'unreachable', message: expect.stringContaining('maxChannels') });
  });
});
