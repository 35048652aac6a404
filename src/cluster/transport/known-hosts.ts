/** known_hosts files as OpenSSH reads them (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"), without touching a file or a connection. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { wildcardExpression } from './wildcard.ts';

const DEFAULT_PORT = 22;

export interface KnownHost {
  /** A certificate authority signs host certificates, which are not used here: its lines match no key. */
  marker: 'revoked' | 'cert-authority' | null;
  /** The host field as written: patterns with commas between them, or one hash. */
  hosts: string;
  keyType: string;
  key: Buffer;
  file: string;
  lineNumber: number;
}

/** Lines that cannot be understood are left out, as OpenSSH does. */
export function parseKnownHosts(text: string, file: string): KnownHost[] {
  return text.split('\n').flatMap((line, index) => {
    const fields = line.trim().split(/[ \t]+/);
    if (fields[0] === '' || fields[0]?.startsWith('#')) return [];
    const marker = fields[0]?.startsWith('@') ? fields.shift()?.slice(1) : null;
    const [hosts, keyType, base64] = fields;
    if (hosts === undefined || keyType === undefined || base64 === undefined) return [];
    if (marker !== null && marker !== 'revoked' && marker !== 'cert-authority') return [];
    const key = Buffer.from(base64, 'base64');
    return hostKeyType(key) === keyType ? [{ marker, hosts, keyType, key, file, lineNumber: index + 1 }] : [];
  });
}

/** The type that a public key in wire form says it has, or null where it is no key. */
export function hostKeyType(key: Buffer): string | null {
  if (key.length < 4) return null;
  const length = key.readUInt32BE(0);
  return length > 0 && length <= key.length - 4 ? key.toString('latin1', 4, 4 + length) : null;
}

/** `SHA256:...` as ssh and ssh-keygen print it. */
export function hostKeyFingerprint(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}

/** The name that a host has in known_hosts: `host`, or `[host]:port` off the standard port. */
export function knownHostName(host: string, port: number): string {
  const name = host.toLowerCase();
  return port === DEFAULT_PORT ? name : `[${name}]:${port}`;
}

function matchesName(hosts: string, name: string): boolean {
  if (hosts.startsWith('|')) return matchesHash(hosts, name);
  const patterns = hosts.toLowerCase().split(',');
  const isMatch = (pattern: string): boolean => wildcardExpression(pattern).test(name);
  if (patterns.some((pattern) => pattern.startsWith('!') && isMatch(pattern.slice(1)))) return false;
  return patterns.some((pattern) => !pattern.startsWith('!') && isMatch(pattern));
}

function matchesHash(hosts: string, name: string): boolean {
  const [, version, salt, hash] = hosts.split('|');
  if (version !== '1' || salt === undefined || hash === undefined) return false;
  const expected = Buffer.from(hash, 'base64');
  const actual = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest();
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

/** The lines that speak of a host. Off the standard port, a host with no line of its own is looked up without the port, as OpenSSH does. */
function entriesFor(known: KnownHost[], host: string, port: number): { own: KnownHost[]; withoutPort: KnownHost[] } {
  const matching = (name: string): KnownHost[] => known.filter((entry) => entry.marker !== 'cert-authority' && matchesName(entry.hosts, name));
  return {
    own: matching(knownHostName(host, port)),
    withoutPort: port === DEFAULT_PORT ? [] : matching(knownHostName(host, DEFAULT_PORT)),
  };
}

/** The key types under which a host is known: to be asked for first, so that it shows a key that can be compared. */
export function knownKeyTypes(known: KnownHost[], host: string, port: number): string[] {
  const { own, withoutPort } = entriesFor(known, host, port);
  const trusted = (entries: KnownHost[]): string[] => entries.filter((entry) => entry.marker === null).map((entry) => entry.keyType);
  const ownTypes = trusted(own);
  return [...new Set(ownTypes.length > 0 ? ownTypes : trusted(withoutPort))];
}

/**
 * - `known`: a line has this very key
 * - `revoked`: a line says that this key must not be trusted
 * - `changed`: the host has another key of the same type
 * - `unknown`: the host has no key of this type; `others` are its keys of other types
 */
export type HostKeyVerdict =
  | { verdict: 'known' }
  | { verdict: 'revoked'; entry: KnownHost }
  | { verdict: 'changed'; entries: KnownHost[] }
  | { verdict: 'unknown'; others: KnownHost[] };

export function checkHostKey(known: KnownHost[], host: string, port: number, key: Buffer): HostKeyVerdict {
  const { own, withoutPort } = entriesFor(known, host, port);
  const revoked = [...own, ...withoutPort].find((entry) => entry.marker === 'revoked' && entry.key.equals(key));
  if (revoked !== undefined) return { verdict: 'revoked', entry: revoked };
  const trusted = own.filter((entry) => entry.marker === null);
  if (trusted.some((entry) => entry.key.equals(key))) return { verdict: 'known' };
  const conflicting = trusted.filter((entry) => entry.keyType === hostKeyType(key));
  if (conflicting.length > 0) return { verdict: 'changed', entries: conflicting };
  if (trusted.length === 0 && withoutPort.some((entry) => entry.marker === null && entry.key.equals(key))) return { verdict: 'known' };
  return { verdict: 'unknown', others: trusted };
}
