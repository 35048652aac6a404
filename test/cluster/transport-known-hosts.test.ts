import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { afterAll, describe, expect, it } from 'vitest';
import { checkHostKey, hostKeyFingerprint, hostKeyType, knownHostName, knownKeyTypes, parseKnownHosts } from '../../src/cluster/transport/known-hosts.ts';

const folder = mkdtempSync(join(tmpdir(), 'expgraph-known-hosts-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function newKey(kind: 'rsa' | 'ed25519'): { wire: Buffer; field: string } {
  const { public: text } = kind === 'rsa' ? ssh2.utils.generateKeyPairSync('rsa', { bits: 2048 }) : ssh2.utils.generateKeyPairSync('ed25519');
  const field = text.split(' ').slice(0, 2).join(' ');
  return { field, wire: Buffer.from(field.split(' ')[1] as string, 'base64') };
}

const ed = newKey('ed25519');
const otherEd = newKey('ed25519');
const rsa = newKey('rsa');
const verdict = (text: string, host: string, port = 22, key = ed.wire) => checkHostKey(parseKnownHosts(text, 'known_hosts'), host, port, key).verdict;

describe('known hosts', () => {
  it('knows a host by name, by one of several names and without regard to case', () => {
    expect(verdict(`login ${ed.field}\n`, 'login')).toBe('known');
    expect(verdict(`a,login,10.0.0.1 ${ed.field} a comment`, '10.0.0.1')).toBe('known');
    expect(verdict(`Login.Cluster.edu ${ed.field}`, 'LOGIN.cluster.EDU')).toBe('known');
    expect(verdict(`login ${ed.field}`, 'login2')).toBe('unknown');
  });

  it('understands wildcards and their exceptions, and takes nothing else for a pattern', () => {
    expect(verdict(`*.nyu.edu ${ed.field}`, 'log-1.hpc.nyu.edu')).toBe('known');
    expect(verdict(`login? ${ed.field}`, 'login3')).toBe('known');
    expect(verdict(`login? ${ed.field}`, 'login')).toBe('unknown');
    expect(verdict(`*.nyu.edu,!bad.nyu.edu ${ed.field}`, 'bad.nyu.edu')).toBe('unknown');
    expect(verdict(`a.b ${ed.field}`, 'axb')).toBe('unknown');
  });

  it('tells ports apart, and falls back to the plain name where a port has no line', () => {
    expect(verdict(`[login]:2222 ${ed.field}`, 'login', 2222)).toBe('known');
    expect(verdict(`[login]:2222 ${ed.field}`, 'login', 22)).toBe('unknown');
    expect(verdict(`[login]:2222 ${ed.field}`, 'login', 2223)).toBe('unknown');
    expect(verdict(`login ${ed.field}`, 'login', 2222)).toBe('known');
    expect(verdict(`login ${otherEd.field}`, 'login', 2222)).toBe('unknown');
    expect(verdict(`login ${ed.field}\n[login]:2222 ${otherEd.field}`, 'login', 2222)).toBe('changed');
    expect(knownHostName('Login', 2222)).toBe('[login]:2222');
  });

  it('reads what ssh-keygen hashed', () => {
    const file = join(folder, 'hashed');
    writeFileSync(file, `login,10.0.0.1 ${ed.field}\n[login]:2222 ${otherEd.field}\n`);
    execFileSync('ssh-keygen', ['-H', '-f', file], { stdio: 'ignore' });
    const hashed = readFileSync(file, 'utf8');
    expect(hashed).not.toContain('login');
    expect(verdict(hashed, 'login')).toBe('known');
    expect(verdict(hashed, '10.0.0.1')).toBe('known');
    expect(verdict(hashed, 'login', 2222, otherEd.wire)).toBe('known');
    expect(verdict(hashed, 'other')).toBe('unknown');
  });

  it('calls another key of the same type a change and names the line; of another type it is unknown', () => {
    const known = parseKnownHosts(`# a comment\n\nlogin ${otherEd.field}\n`, 'file');
    expect(checkHostKey(known, 'login', 22, ed.wire)).toMatchObject({ verdict: 'changed', entries: [{ file: 'file', lineNumber: 3 }] });
    expect(checkHostKey(known, 'login', 22, rsa.wire)).toMatchObject({ verdict: 'unknown', others: [{ keyType: 'ssh-ed25519' }] });
  });

  it('is content with one matching line among several', () => {
    expect(verdict(`login ${otherEd.field}\nlogin ${ed.field}\nlogin ${rsa.field}`, 'login')).toBe('known');
  });

  it('heeds a revocation before anything else, and no certificate authority', () => {
    expect(verdict(`login ${ed.field}\n@revoked * ${ed.field}`, 'login')).toBe('revoked');
    expect(verdict(`login ${ed.field}\n@revoked login ${ed.field}`, 'login', 2222)).toBe('revoked');
    expect(verdict(`login ${ed.field}\n@revoked * ${otherEd.field}`, 'login')).toBe('known');
    expect(verdict(`@cert-authority * ${ed.field}`, 'login')).toBe('unknown');
  });

  it('lists the types to ask for: those of the host with its port, else those of its plain name', () => {
    const known = parseKnownHosts(`login ${rsa.field}\n[login]:2222 ${ed.field}\n@revoked login ${ed.field}\n@cert-authority * ${ed.field}`, 'file');
    expect(knownKeyTypes(known, 'login', 22)).toEqual(['ssh-rsa']);
    expect(knownKeyTypes(known, 'login', 2222)).toEqual(['ssh-ed25519']);
    expect(knownKeyTypes(known, 'login', 3333)).toEqual(['ssh-rsa']);
    expect(knownKeyTypes(known, 'elsewhere', 22)).toEqual([]);
  });

  it('passes over lines that it cannot understand', () => {
    const text = ['nonsense', 'login ssh-ed25519', 'login ssh-ed25519 AAAA', `login ssh-rsa ${ed.field.split(' ')[1]}`, `@unheard login ${ed.field}`, '|1|x login', `\tlogin\t${ed.field}\r`].join('\n');
    expect(parseKnownHosts(text, 'file')).toHaveLength(1);
    expect(verdict(text, 'login')).toBe('known');
  });

  it('prints the fingerprint that ssh-keygen prints', () => {
    const file = join(folder, 'key.pub');
    writeFileSync(file, `${rsa.field}\n`);
    expect(execFileSync('ssh-keygen', ['-l', '-E', 'sha256', '-f', file], { encoding: 'utf8' })).toContain(` ${hostKeyFingerprint(rsa.wire)} `);
    expect(hostKeyType(rsa.wire)).toBe('ssh-rsa');
    expect(hostKeyType(generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' }))).toBeNull();
  });
});
