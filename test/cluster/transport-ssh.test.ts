/** What only a transport over SSH has: keys, jump hosts, lost connections, channels in line. */
import { execFileSync } from 'node:child_process';
import { appendFile, copyFile, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Transport } from '../../src/cluster/transport.ts';
import { openSshTransport } from '../../src/cluster/transport/ssh.ts';
import { resolveSshSettings } from '../../src/cluster/transport/ssh-config.ts';
import type { SshHost, SshSettings } from '../../src/domain/cluster-settings.ts';
import { freePorts } from '../rig/ports.ts';
import { until } from '../rig/processes.ts';
import { startSshd, sshdUnavailableReason, type TestSshd } from '../support/sshd.ts';

const noSshd = sshdUnavailableReason();
if (noSshd !== null) console.log(`skipped: ${noSshd}`);

describe.skipIf(noSshd !== null)('the ssh transport', () => {
  let sshd: TestSshd;
  let jump: TestSshd;
  let folder: string;
  const opened: Transport[] = [];
  const extraSshds: TestSshd[] = [];
  const logged: string[] = [];

  beforeAll(async () => {
    [sshd, jump, folder] = await Promise.all([startSshd(), startSshd(), mkdtemp(join(tmpdir(), 'expgraph-ssh-'))]);
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((transport) => transport.close()));
    await Promise.all(extraSshds.splice(0).map((extra) => extra.remove()));
    logged.length = 0;
  });
  afterAll(async () => {
    await Promise.all([sshd.remove(), jump.remove(), rm(folder, { recursive: true, force: true })]);
  });

  function hostOf(target: TestSshd): SshHost {
    const { host, port, user, identityFile, knownHostsFile } = target;
    return { host, port, user, identityFile, agentSocket: null, knownHostsFiles: [knownHostsFile] };
  }

  async function startExtra(configLines: string[] = []): Promise<TestSshd> {
    const extra = await startSshd({ configLines });
    extraSshds.push(extra);
    return extra;
  }

  function open(changes: Partial<SshSettings> = {}): Transport {
    const note = (fields: object, message: string) => void logged.push(`${message} ${JSON.stringify(fields)}`);
    const transport = openSshTransport({ ...hostOf(sshd), jumps: [], connectTimeoutSeconds: 5, maxChannels: 8, ...changes }, { info: note, warn: note });
    opened.push(transport);
    return transport;
  }

  const connectionCount = () => logged.filter((line) => line.startsWith('ssh connected')).length;
  const say = async (transport: Transport, word: string) => (await transport.exec(['echo', word])).stdout.toString();

  describe('host keys', () => {
    async function refusalOf(transport: Transport): Promise<string> {
      const error = await transport.exec(['true']).then(() => null, (refused: unknown) => refused);
      expect(error).toMatchObject({ name: 'TransportError', failure: 'host-key' });
      return (error as Error).message;
    }
    const commandIn = (message: string) => message.slice(message.indexOf('accept it with: ') + 'accept it with: '.length);

    it('refuses an unknown key with its fingerprint and type, and the command it names makes it known', async () => {
      const file = join(folder, 'known hosts unknown');
      const transport = open({ knownHostsFiles: [file] });
      const message = await refusalOf(transport);
      expect(message).toContain(`ssh-ed25519 ${sshd.hostKeyFingerprint}`);
      expect(commandIn(message)).toBe(`ssh-keyscan -p ${sshd.port} 127.0.0.1 >> '${file}'`);
      execFileSync('sh', ['-c', commandIn(message)], { stdio: 'ignore' });
      expect(await say(transport, 'accepted')).toBe('accepted\n');
    });

    it('refuses a changed key, and the commands it names replace the old one', async () => {
      const other = await startExtra();
      const transport = open(hostOf(other));
      expect(await say(transport, 'before')).toBe('before\n');
      await other.changeHostKey();
      const message = await refusalOf(transport);
      expect(message).toContain(other.hostKeyFingerprint);
      expect(message).toContain(`${other.knownHostsFile}:1`);
      expect(commandIn(message)).toBe(`ssh-keygen -R '[127.0.0.1]:${other.port}' -f ${other.knownHostsFile} && ssh-keyscan -p ${other.port} 127.0.0.1 >> ${other.knownHostsFile}`);
      execFileSync('sh', ['-c', commandIn(message)], { stdio: 'ignore' });
      expect(await say(transport, 'after')).toBe('after\n');
    });

    it('accepts a key from a hashed file and from the second of two files', async () => {
      const file = join(folder, 'hashed');
      await copyFile(sshd.knownHostsFile, file);
      execFileSync('ssh-keygen', ['-H', '-f', file], { stdio: 'ignore' });
      expect(await readFile(file, 'utf8')).toMatch(/^\|1\|/);
      expect(await say(open({ knownHostsFiles: [join(folder, 'none-here'), file] }), 'hashed')).toBe('hashed\n');
    });

    it('refuses a revoked key, and names no way to accept it', async () => {
      const file = join(folder, 'revoked');
      const line = await readFile(sshd.knownHostsFile, 'utf8');
      await writeFile(file, `${line}@revoked * ${line.split(' ').slice(1).join(' ')}`);
      const message = await refusalOf(open({ knownHostsFiles: [file] }));
      expect(message).toMatch(/revoked:2 marks as revoked/);
      expect(message).not.toContain('keyscan');
    });

    it('asks for the type of key that is known, though the server would rather show another', async () => {
      const file = join(folder, 'rsa-known');
      const hostKey = join(sshd.folder, 'host_key_rsa');
      execFileSync('ssh-keygen', ['-q', '-t', 'rsa', '-b', '2048', '-N', '', '-f', hostKey]);
      await appendFile(join(sshd.folder, 'sshd_config'), `\nHostKey ${hostKey}\n`);
      await sshd.stop();
      await sshd.start();
      await writeFile(file, `[127.0.0.1]:${sshd.port} ${(await readFile(`${hostKey}.pub`, 'utf8')).split(' ').slice(0, 2).join(' ')}\n`);
      expect(await say(open({ knownHostsFiles: [file] }), 'rsa')).toBe('rsa\n');
    });
  });

  describe('logging in', () => {
    it('passes through a jump host, and refuses an unknown key behind it with a command that accepts it', async () => {
      const file = join(folder, 'behind-jump');
      const transport = open({ jumps: [hostOf(jump)], knownHostsFiles: [file] });
      const message = await transport.exec(['true']).then(() => '', (error: Error) => error.message);
      expect(message).toContain(sshd.hostKeyFingerprint);
      execFileSync('sh', ['-c', message.slice(message.indexOf('with: ') + 6)]);
      expect(await say(transport, 'through')).toBe('through\n');
      const { stdout } = await transport.exec(['sh', '-c', 'echo $SSH_CONNECTION']);
      expect(stdout.toString().trim()).toMatch(new RegExp(`${sshd.port}$`));
    });

    it('verifies the key of the jump host too', async () => {
      await expect(open({ jumps: [{ ...hostOf(jump), knownHostsFiles: [] }] }).exec(['true'])).rejects.toMatchObject({
        failure: 'host-key', message: expect.stringContaining(jump.hostKeyFingerprint),
      });
    });

    it('reaches an alias of an ssh configuration through its jump host', async () => {
      const configFile = join(folder, 'config');
      await writeFile(configFile, [
        'Host login', `  HostName ${sshd.host}`, `  Port ${sshd.port}`, `  User ${sshd.user}`, `  IdentityFile ${sshd.identityFile}`,
        `  UserKnownHostsFile ${sshd.knownHostsFile}`, '  ProxyJump gate',
        'Host gate', `  HostName ${jump.host}`, `  Port ${jump.port}`, `  User ${jump.user}`, `  IdentityFile ${jump.identityFile}`, `  UserKnownHostsFile ${jump.knownHostsFile}`,
      ].join('\n'));
      const transport = openSshTransport(resolveSshSettings({ host: 'login', configFile }, { home: folder, userName: 'nobody', agentSocket: null }));
      opened.push(transport);
      expect(await say(transport, 'alias')).toBe('alias\n');
    });

    it('says that a key was not accepted', async () => {
      await expect(open({ identityFile: jump.identityFile }).exec(['true'])).rejects.toMatchObject({
        failure: 'authentication', message: expect.stringContaining(jump.identityFile),
      });
    });

    it('says what to do about a key with a passphrase, and uses the agent that holds it', async () => {
      const identityFile = join(folder, 'encrypted');
      await copyFile(sshd.identityFile, identityFile);
      execFileSync('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'secret', '-f', identityFile]);
      await expect(open({ identityFile }).exec(['true'])).rejects.toMatchObject({
        failure: 'authentication', message: expect.stringContaining(`ssh-add ${identityFile}`),
      });
      const agentSocket = join(folder, 'agent');
      const agentPid = /SSH_AGENT_PID=(\d+)/.exec(execFileSync('ssh-agent', ['-s', '-a', agentSocket], { encoding: 'utf8' }))?.[1];
      try {
        execFileSync('ssh-add', ['-q', sshd.identityFile], { env: { ...process.env, SSH_AUTH_SOCK: agentSocket }, stdio: 'ignore' });
        expect(await say(open({ identityFile, agentSocket }), 'agent')).toBe('agent\n');
        expect(await say(open({ identityFile: null, agentSocket }), 'agent only')).toBe('agent only\n');
      } finally {
        process.kill(Number(agentPid));
      }
    });

    it('says when there is neither key nor agent, and when the agent is gone', async () => {
      await expect(open({ identityFile: null }).exec(['true'])).rejects.toMatchObject({ failure: 'authentication' });
      await expect(open({ identityFile: null, agentSocket: join(folder, 'no-agent') }).exec(['true'])).rejects.toMatchObject({
        failure: 'authentication', message: expect.stringContaining('no-agent'),
      });
    });
  });

  describe('the connection', () => {
    it('calls a closed port, a name that does not exist and a closed port behind a jump host unreachable', async () => {
      const [port] = (await freePorts(1)) as [number];
      await expect(open({ port }).exec(['true'])).rejects.toMatchObject({ failure: 'unreachable', message: expect.stringContaining(`127.0.0.1:${port}`) });
      await expect(open({ host: 'no-such-host.invalid' }).exec(['true'])).rejects.toMatchObject({ failure: 'unreachable' });
      await expect(open({ port, jumps: [hostOf(jump)] }).exec(['true'])).rejects.toMatchObject({ failure: 'unreachable', message: expect.stringContaining('through') });
    });

    it('gives up on a host that accepts and then says nothing', async () => {
      const silent = createServer(() => undefined);
      const port = await portOf(silent);
      await expect(open({ port, connectTimeoutSeconds: 1 }).exec(['true'])).rejects.toMatchObject({ failure: 'unreachable' });
      silent.close();
    });

    it('is opened once for calls that come at the same time, and serves more than sshd opens sessions for', async () => {
      const transport = open();
      const words = Array.from({ length: 50 }, (_, index) => `call ${index}`);
      expect(await Promise.all(words.map((word) => say(transport, word)))).toEqual(words.map((word) => `${word}\n`));
      expect(connectionCount()).toBe(1);
    });

    it('makes do with fewer sessions than were agreed', async () => {
      const narrow = await startExtra(['MaxSessions 2']);
      const transport = open(hostOf(narrow));
      const words = Array.from({ length: 20 }, (_, index) => `call ${index}`);
      const answers = await Promise.all(words.map((word) => transport.exec(['sh', '-c', 'sleep 0.05; echo "$1"', 'sh', word])));
      expect(answers.map((answer) => answer.stdout.toString())).toEqual(words.map((word) => `${word}\n`));
      expect(connectionCount()).toBe(1);
    });

    it('is opened anew by the call after sshd was restarted', async () => {
      const transport = open();
      expect(await say(transport, 'before')).toBe('before\n');
      await sshd.stop();
      await until('the loss to be noticed', 30_000, () => logged.some((line) => line.startsWith('ssh connection lost')));
      await expect(transport.exec(['true'])).rejects.toMatchObject({ failure: 'unreachable' });
      await sshd.start();
      expect(await Promise.all(['one', 'two'].map((word) => say(transport, word)))).toEqual(['one\n', 'two\n']);
      expect(connectionCount()).toBe(2);
    });

    it('calls a command interrupted when the connection is lost while it runs, directly or behind a jump host', async () => {
      for (const jumps of [[], [hostOf(jump)]]) {
        const transport = open({ jumps });
        const marker = join(tmpdir(), `expgraph-running-${sshd.port}-${jumps.length}`);
        const outcome = expect(transport.exec(['sh', '-c', 'touch "$1"; exec sleep 300', 'sh', marker])).rejects.toMatchObject({ failure: 'interrupted' });
        const waiting = [1, 2].map((index) => say(transport, `after ${index}`));
        await Promise.all(waiting);
        await until('the command to run', 30_000, () => readFile(marker).then(() => true, () => false));
        await (jumps.length === 0 ? sshd : jump).dropConnections();
        await outcome;
        expect(await say(transport, 'again')).toBe('again\n');
        await rm(marker);
      }
    });

    it('serves those who wait in line over a new connection when the old one is lost', async () => {
      const transport = open({ maxChannels: 1 });
      const marker = join(tmpdir(), `expgraph-line-${sshd.port}`);
      const first = expect(transport.exec(['sh', '-c', 'touch "$1"; exec sleep 300', 'sh', marker])).rejects.toMatchObject({ failure: 'interrupted' });
      await until('the command to run', 30_000, () => readFile(marker).then(() => true, () => false));
      const second = say(transport, 'waited');
      await sshd.dropConnections();
      await first;
      expect(await second).toBe('waited\n');
      await rm(marker);
    });

    it('never puts half a file in place when the connection is lost while it is written', async () => {
      const transport = open();
      const home = (await transport.exec(['sh', '-c', 'mktemp -d'])).stdout.toString().trim();
      const path = join(home, 'config.json');
      await transport.put(path, Buffer.from('{"whole":true}'));
      const outcome = expect(transport.put(path, Buffer.alloc(256 * 1024 * 1024))).rejects.toMatchObject({ failure: 'interrupted' });
      await until('the writing to begin', 30_000, async () => (await readdir(home)).length > 1);
      await sshd.dropConnections();
      await outcome;
      expect((await transport.read([{ path, offsetBytes: 0, maxBytes: 100 }])).map(String)).toEqual(['{"whole":true}']);
      await transport.exec(['rm', '-rf', home]);
    });

    it('finds its answers behind what the login shell prints', async () => {
      const talkative = await startExtra(['ForceCommand echo welcome to the cluster; eval "$SSH_ORIGINAL_COMMAND"']);
      const transport = open(hostOf(talkative));
      expect((await transport.exec(['true'])).stdout.toString()).toBe('welcome to the cluster\n');
      const path = join(talkative.folder, 'id_ed25519.pub');
      expect((await transport.read([{ path, offsetBytes: 0, maxBytes: 11 }])).map(String)).toEqual(['ssh-ed25519']);
      expect((await transport.list({ directories: [talkative.folder], maxDepth: 1, maxEntries: 100 })).entries.map((entry) => entry.path)).toContain(path);
    });
  });
});

function portOf(server: Server): Promise<number> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)));
}
