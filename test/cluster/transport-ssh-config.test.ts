import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { resolveSshSettings, type SshRequest } from '../../src/cluster/transport/ssh-config.ts';
import { UserError } from '../../src/domain/errors.ts';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'expgraph-home-'));
  mkdirSync(join(home, '.ssh', 'conf.d'), { recursive: true });
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const ssh = (name: string) => join(home, '.ssh', name);
const write = (name: string, ...lines: string[]) => writeFileSync(ssh(name), lines.join('\n'));
const resolve = (request: SshRequest, agentSocket: string | null = '/run/agent') => resolveSshSettings(request, { home, userName: 'me', agentSocket });
function faultsOf(request: SshRequest): UserError['faults'] {
  try {
    resolve(request);
  } catch (error) {
    if (error instanceof UserError) return error.faults;
    throw error;
  }
  return [];
}

describe('resolveSshSettings', () => {
  it('has the usual defaults where nothing is said', () => {
    expect(resolve({ host: 'login.cluster.edu' })).toEqual({
      host: 'login.cluster.edu', port: 22, user: 'me', identityFile: null, agentSocket: '/run/agent',
      knownHostsFiles: [ssh('known_hosts'), ssh('known_hosts2'), '/etc/ssh/ssh_known_hosts'],
      jumps: [], connectTimeoutSeconds: 15, maxChannels: 8,
    });
  });

  it('takes the first usual key that is there', () => {
    write('id_rsa', 'key');
    expect(resolve({ host: 'x' }).identityFile).toBe(ssh('id_rsa'));
    write('id_ed25519', 'key');
    expect(resolve({ host: 'x' }).identityFile).toBe(ssh('id_ed25519'));
  });

  it('follows an alias with its tokens, keywords in any case and the first value winning', () => {
    write('cluster_key', 'key');
    write('config', 'Host greene', '  hostname=log-1.%h.nyu.edu', '  USER abc123', '  Port 2200', '  IdentityFile "~/.ssh/absent"', '  IdentityFile %d/.ssh/cluster_key',
      '  UserKnownHostsFile ~/.ssh/kh_%r_%u /other', '  GlobalKnownHostsFile /global', '  ConnectTimeout 7', '  IdentityAgent ~/agent-%h', 'Host *', '  User nobody', '  Port 1');
    expect(resolve({ host: 'greene' })).toEqual({
      host: 'log-1.greene.nyu.edu', port: 2200, user: 'abc123', identityFile: ssh('cluster_key'), agentSocket: join(home, 'agent-log-1.greene.nyu.edu'),
      knownHostsFiles: [ssh('kh_abc123_me'), '/other', '/global'], jumps: [], connectTimeoutSeconds: 7, maxChannels: 8,
    });
  });

  it('agrees with ssh itself on what an alias means', () => {
    write('config', 'Host a b !c', '  HostName real-a', '  Port 2022', 'Host b', '  User second', '  Port 9', 'Match host real-a', '  User matched', 'Host *', '  User fallback');
    for (const host of ['a', 'b', 'c']) {
      const printed = execFileSync('ssh', ['-G', '-F', ssh('config'), host], { encoding: 'utf8' });
      const said = (name: string) => new RegExp(`^${name} (.*)$`, 'm').exec(printed)?.[1];
      const { host: hostName, port, user } = resolve({ host });
      expect({ hostName, port: String(port), user }).toEqual({ hostName: said('hostname'), port: said('port'), user: said('user') });
    }
  });

  it('lets what the request says win', () => {
    write('config', 'Host greene', '  HostName real', '  User them', '  Port 2200', '  IdentityFile ~/.ssh/theirs', '  UserKnownHostsFile ~/.ssh/theirs', '  ProxyJump gate', '  ConnectTimeout 7');
    write('mine', 'key');
    expect(resolve({
      host: 'greene', port: 22, user: 'us', identityFile: '~/.ssh/mine', knownHostsFile: '~/.ssh/kh', proxyJump: 'none', connectTimeoutSeconds: 3, maxChannels: 2,
    })).toMatchObject({
      host: 'real', port: 22, user: 'us', identityFile: ssh('mine'), knownHostsFiles: [ssh('kh')], jumps: [], connectTimeoutSeconds: 3, maxChannels: 2,
    });
  });

  it('reads another configuration when told so', () => {
    writeFileSync(join(home, 'other'), 'Host x\n  User other');
    expect(resolve({ host: 'x', configFile: '~/other' }).user).toBe('other');
  });

  it('lays included files in, and goes on with the section they stand in', () => {
    write('config', 'Include conf.d/*.conf absent', 'User top', 'Host x', '  Include extra', '  Port 7', 'Host y', '  Port 8');
    write('conf.d/one.conf', 'Host inner', '  User inner');
    write('conf.d/ignored.txt', 'Host *', '  User wrong');
    write('extra', 'ConnectTimeout 9');
    expect(resolve({ host: 'inner' }).user).toBe('inner');
    expect(resolve({ host: 'x' })).toMatchObject({ user: 'top', port: 7, connectTimeoutSeconds: 9 });
    expect(resolve({ host: 'y' })).toMatchObject({ user: 'top', port: 8, connectTimeoutSeconds: 15 });
  });

  it('checks host keys though the configuration turns that off', () => {
    write('config', 'Host *', '  StrictHostKeyChecking no', '  UserKnownHostsFile /dev/null');
    expect(resolve({ host: 'x' }).knownHostsFiles).toEqual([ssh('known_hosts'), ssh('known_hosts2'), '/etc/ssh/ssh_known_hosts']);
  });

  it('uses no agent where the configuration says none, and runs nothing for Match exec', () => {
    write('config', `Match exec "touch ${home}/ran"`, '  User wrong', 'Host *', '  IdentityAgent none');
    expect(resolve({ host: 'x' })).toMatchObject({ agentSocket: null, user: 'me' });
    expect(() => execFileSync('ls', [join(home, 'ran')], { stdio: 'ignore' })).toThrow();
  });

  it('passes through jump hosts in order: a list, aliases and what leads to them', () => {
    write('config', 'Host login', '  HostName login.edu', '  ProxyJump gate,two@middle:2222', 'Host gate', '  HostName gate.edu', '  User guard', '  ProxyJump outer', 'Host outer', '  Port 99',
      'Host middle', '  HostName middle.edu', '  ProxyJump never');
    const { jumps } = resolve({ host: 'login' });
    expect(jumps.map(({ host, port, user }) => `${user}@${host}:${port}`)).toEqual(['me@outer:99', 'guard@gate.edu:22', 'two@middle.edu:2222']);
  });

  it('reads every form of a jump host', () => {
    const jumps = (proxyJump: string) => resolve({ host: 'x', proxyJump }).jumps.map(({ host, port, user }) => `${user} ${host} ${port}`);
    expect(jumps('a, b:2,c@d')).toEqual(['me a 22', 'me b 2', 'c d 22']);
    expect(jumps('ssh://u@h:2200')).toEqual(['u h 2200']);
    expect(jumps('u@[::1]:2200,[fe80::2]')).toEqual(['u ::1 2200', 'me fe80::2 22']);
  });

  it('gives a jump host the key and the known hosts of the request where it has none of its own', () => {
    write('mine', 'key');
    write('theirs', 'key');
    write('config', 'Host b', '  IdentityFile ~/.ssh/theirs', '  UserKnownHostsFile ~/.ssh/kh_b');
    const { jumps } = resolve({ host: 'x', identityFile: ssh('mine'), knownHostsFile: '/kh', proxyJump: 'a,b' });
    expect(jumps.map(({ identityFile, knownHostsFiles }) => [identityFile, knownHostsFiles[0]])).toEqual([[ssh('mine'), '/kh'], [ssh('theirs'), ssh('kh_b')]]);
  });

  it('refuses jump hosts that lead back to themselves', () => {
    write('config', 'Host a', '  ProxyJump b', 'Host b', '  ProxyJump c', 'Host c', '  ProxyJump b', 'Host *', '  ProxyJump gate');
    expect(faultsOf({ host: 'a' })).toEqual([{ field: ['host'], code: 'BAD_USER_INPUT', message: expect.stringContaining('a:22 -> b:22 -> c:22 -> b:22') }]);
    expect(faultsOf({ host: 'other' })[0]?.message).toContain('gate:22 -> gate:22');
    expect(faultsOf({ host: 'x', proxyJump: 'x' })[0]).toMatchObject({ field: ['proxyJump'] });
  });

  it('names all that is wrong with a request at once', () => {
    const faults = faultsOf({ host: 'me@x', user: 'a b', port: 70_000, connectTimeoutSeconds: 0, maxChannels: 1.5, configFile: '/no/such/config' });
    expect(faults.map((fault) => fault.field[0])).toEqual(['host', 'user', 'port', 'connectTimeoutSeconds', 'maxChannels', 'configFile']);
    const later = faultsOf({ host: 'x', identityFile: '/no/such/key', proxyJump: 'a,b:99999,-oProxyCommand=x,' });
    expect(later.map((fault) => fault.field[0])).toEqual(['identityFile', 'proxyJump', 'proxyJump', 'proxyJump']);
  });

  it('names what is wrong in the ssh configuration', () => {
    write('config', 'Host x', '  Port many', '  ConnectTimeout soon', '  IdentityAgent $MINE', '  ProxyCommand nc %h %p', 'Host y', '  HostName -oBad');
    expect(faultsOf({ host: 'x' }).map((fault) => fault.message)).toEqual([
      expect.stringContaining('Port of x'), expect.stringContaining('IdentityAgent of x'), expect.stringContaining('ProxyCommand'), expect.stringContaining('ConnectTimeout of x'),
    ]);
    expect(faultsOf({ host: 'y' })[0]?.message).toContain('HostName of y');
    write('config', 'Host "unended', '  Port 1');
    expect(faultsOf({ host: 'x' })).toMatchObject([{ field: ['host'], message: expect.stringContaining('config cannot be understood') }]);
    write('config', 'Include config');
    expect(faultsOf({ host: 'x' })[0]?.message).toContain('include each other');
  });
});
