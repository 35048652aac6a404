import { readFile } from 'node:fs/promises';
import type { SshHost } from '../../domain/cluster-settings.ts';
import { shellQuote } from '../../domain/script/shell-quote.ts';
import { TransportError } from '../transport.ts';
import { checkHostKey, hostKeyFingerprint, hostKeyType, knownHostName, parseKnownHosts, type KnownHost } from './known-hosts.ts';

/** Read anew for each connection, so that a key that was just accepted is accepted without a restart. A file that is not there is empty. */
export async function readKnownHosts(files: string[]): Promise<KnownHost[]> {
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return '';
    throw new TransportError('host-key', `cannot read the known hosts in ${file}: ${error.message}`, { cause: error });
  })));
  return texts.flatMap((text, index) => parseKnownHosts(text, files[index] ?? ''));
}

/**
 * Null when the host may be trusted; else the refusal, with what the key is and the command that would accept it.
 * `through` are the hosts passed on the way: behind them ssh-keyscan cannot see the host, so the command writes the key itself.
 */
export function refuseHostKey(known: KnownHost[], hop: SshHost, through: SshHost[], key: Buffer): TransportError | null {
  const verdict = checkHostKey(known, hop.host, hop.port, key);
  const keyType = hostKeyType(key) ?? 'of an unknown type';
  const what = `${hop.host} port ${hop.port} shows the host key ${keyType} ${hostKeyFingerprint(key)}`;
  const compare = 'Compare the fingerprint with the one its administrators publish; if it is theirs, accept it with';
  switch (verdict.verdict) {
    case 'known':
      return null;
    case 'revoked':
      return refusal(`${what}, which ${placeOf(verdict.entry)} marks as revoked. It cannot be accepted.`);
    case 'changed': {
      const files = [...new Set(verdict.entries.map((entry) => entry.file))];
      const name = word(knownHostName(hop.host, hop.port));
      const removals = files.map((file) => `ssh-keygen -R ${name} -f ${word(file)}`);
      return refusal(`${what}, but ${verdict.entries.map(placeOf).join(' and ')} has another key for it: the host was set up anew, or another machine`
        + ` answers in its place. ${compare}: ${[...removals, acceptCommand(hop, through, key, files[0])].join(' && ')}`);
    }
    case 'unknown': {
      const others = verdict.others.map((entry) => `${entry.keyType} (${placeOf(entry)})`).join(', ');
      const known = others === '' ? 'which is not known' : `which is not known, though other keys of it are: ${others}`;
      return refusal(`${what}, ${known}. ${compare}: ${acceptCommand(hop, through, key, hop.knownHostsFiles[0])}`);
    }
  }
}

function refusal(message: string): TransportError {
  return new TransportError('host-key', message);
}

function placeOf(entry: KnownHost): string {
  return `${entry.file}:${entry.lineNumber}`;
}

function acceptCommand(hop: SshHost, through: SshHost[], key: Buffer, file = '~/.ssh/known_hosts'): string {
  const target = file.startsWith('~') ? file : word(file);
  if (through.length === 0) return `ssh-keyscan -p ${hop.port} ${word(hop.host)} >> ${target}`;
  return `echo ${shellQuote(`${knownHostName(hop.host, hop.port)} ${hostKeyType(key)} ${key.toString('base64')}`)} >> ${target}`;
}

/** Quoted only where it must be, for a command that is read by people. */
function word(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : shellQuote(value);
}
