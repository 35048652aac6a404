import { readFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import ssh2 from 'ssh2';
import type { Client, ServerHostKeyAlgorithm } from 'ssh2';
import type { SshHost } from '../../domain/cluster-settings.ts';
import { TransportError } from '../transport.ts';
import { readKnownHosts, refuseHostKey } from './host-key.ts';
import { knownKeyTypes } from './known-hosts.ts';

/** A connection that stays silent for interval x count is dead; firewalls forget one that is idle for minutes. */
const KEEPALIVE_INTERVAL_MS = 15_000;
const KEEPALIVE_COUNT = 3;

const HOST_KEY_ALGORITHMS: ServerHostKeyAlgorithm[] = [
  'ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'rsa-sha2-512', 'rsa-sha2-256',
];

/** How a hop is reached: its hosts before it, the channel through the last of them (null: directly), and how long it may take. */
export interface HopRoute {
  through: SshHost[];
  socket: Duplex | null;
  timeoutSeconds: number;
}

/** `user@host:port`, for messages. */
export function hopName(hop: SshHost): string {
  return `${hop.user}@${hop.host}:${hop.port}`;
}

/** Connects and logs in to one host whose key is known. Rejects with TransportError `unreachable`, `authentication` or `host-key`. */
export async function connectHop(hop: SshHost, route: HopRoute): Promise<Client> {
  const [known, identity] = await Promise.all([readKnownHosts(hop.knownHostsFiles), readIdentity(hop)]);
  const preferred = knownKeyTypes(known, hop.host, hop.port).flatMap(algorithmsOfKeyType);
  const client = new ssh2.Client();
  let keyRefusal: TransportError | null = null;
  let agentProblem = '';
  return new Promise<Client>((resolve, reject) => {
    const fail = (error: Error & { level?: string }): void => {
      if (error.level === 'agent') {
        agentProblem = `; the agent at ${hop.agentSocket} could not be used: ${error.message}`;
        return;
      }
      client.destroy();
      reject(keyRefusal ?? connectionError(hop, error, identity.problem + agentProblem));
    };
    client.on('error', fail);
    client.once('close', () => fail(new Error('the connection was closed during the handshake')));
    client.once('ready', () => {
      // Commands are small packets, each of which would else wait until the other side acknowledged the one before.
      client.setNoDelay(true);
      resolve(client);
    });
    client.connect({
      host: hop.host,
      port: hop.port,
      username: hop.user,
      ...(route.socket === null ? {} : { sock: route.socket }),
      ...(identity.privateKey === null ? {} : { privateKey: identity.privateKey }),
      ...(hop.agentSocket === null ? {} : { agent: hop.agentSocket }),
      algorithms: { serverHostKey: [...new Set([...preferred, ...HOST_KEY_ALGORITHMS])] },
      hostVerifier: (key: Buffer) => {
        keyRefusal = refuseHostKey(known, hop, route.through, key);
        return keyRefusal === null;
      },
      readyTimeout: route.timeoutSeconds * 1000,
      keepaliveInterval: KEEPALIVE_INTERVAL_MS,
      keepaliveCountMax: KEEPALIVE_COUNT,
    });
  });
}

/** An RSA key signs in several ways; the oldest (SHA-1) is not offered. */
function algorithmsOfKeyType(keyType: string): ServerHostKeyAlgorithm[] {
  if (keyType === 'ssh-rsa') return ['rsa-sha2-512', 'rsa-sha2-256'];
  return HOST_KEY_ALGORITHMS.filter((algorithm) => algorithm === keyType);
}

interface Identity {
  privateKey: Buffer | null;
  /** Why the key file is not used though the agent may do, for the message when that fails too. */
  problem: string;
}

/** Throws TransportError `authentication` when there is neither a usable key file nor an agent. */
async function readIdentity(hop: SshHost): Promise<Identity> {
  if (hop.identityFile === null) {
    if (hop.agentSocket !== null) return { privateKey: null, problem: '' };
    throw new TransportError('authentication', `no way to log in to ${hopName(hop)}: there is neither a private key file nor an SSH agent`);
  }
  const problem = await identityProblem(hop.identityFile);
  if (typeof problem !== 'string') return { privateKey: problem, problem: '' };
  if (hop.agentSocket !== null) return { privateKey: null, problem: `; ${problem}` };
  throw new TransportError('authentication', `cannot log in to ${hopName(hop)}: ${problem}`);
}

async function identityProblem(file: string): Promise<string | Buffer> {
  const content = await readFile(file).catch((error: Error) => `the private key ${file} cannot be read: ${error.message}`);
  if (typeof content === 'string') return content;
  const parsed = ssh2.utils.parseKey(content);
  if (!(parsed instanceof Error)) return content;
  if (/encrypted/i.test(parsed.message) || content.includes('ENCRYPTED')) {
    return `the private key ${file} is encrypted with a passphrase: add it to the SSH agent (ssh-add ${file}) or use a key without one`;
  }
  return `the private key ${file} cannot be used: ${parsed.message}`;
}

function connectionError(hop: SshHost, error: Error & { level?: string; code?: unknown }, notes: string): TransportError {
  if (error.level === 'client-authentication' || /too many authentication failures/i.test(error.message)) {
    const offered = [hop.identityFile === null ? null : `the key ${hop.identityFile}`, hop.agentSocket === null ? null : 'the keys of the agent'];
    return new TransportError('authentication',
      `${hopName(hop)} accepts neither user nor key: offered was ${offered.filter((offer) => offer !== null).join(' and ')}${notes}`, { cause: error });
  }
  // A host name with several addresses fails with an AggregateError, which has no message of its own.
  const words = error.message || String(error.code ?? error.name);
  return new TransportError('unreachable', `cannot reach ${hopName(hop)}: ${words}`, { cause: error });
}
