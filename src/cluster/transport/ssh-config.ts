import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { SshHost, SshSettings } from '../../domain/cluster-settings.ts';
import { UserError, type UserFault } from '../../domain/errors.ts';
import { SshConfigFile, type HostOptions } from './ssh-config-file.ts';

const DEFAULT_PORT = 22;
const DEFAULT_CONNECT_TIMEOUT_SECONDS = 15;
/** sshd allows 10 sessions on a connection; the rest is left for a person's own `ssh` over a shared connection. */
const DEFAULT_MAX_CHANNELS = 8;
const DEFAULT_IDENTITY_NAMES = ['id_ed25519', 'id_ecdsa', 'id_rsa'];
const SYSTEM_KNOWN_HOSTS = '/etc/ssh/ssh_known_hosts';
/** People turn host key checking off with these; keys are always checked here, so they mean "the usual file". */
const NO_KNOWN_HOSTS = new Set(['none', '/dev/null']);

/** What the configuration says of one cluster's login node; `host` may be an alias of `~/.ssh/config`. Paths may begin with `~/`. */
export interface SshRequest {
  host: string;
  port?: number;
  user?: string;
  identityFile?: string;
  knownHostsFile?: string;
  /** As OpenSSH's ProxyJump: `[user@]host[:port]`, several with commas between them, or `none`. */
  proxyJump?: string;
  /** Default `~/.ssh/config`. */
  configFile?: string;
  connectTimeoutSeconds?: number;
  maxChannels?: number;
}

/** Who asks, as the composition root read it from the environment. */
export interface SshEnvironment {
  home: string;
  userName: string;
  agentSocket: string | null;
}

/** Fills what the request leaves open from the OpenSSH client configuration, then from the usual defaults. Throws UserError with all faults. */
export function resolveSshSettings(request: SshRequest, environment: SshEnvironment): SshSettings {
  const faults: UserFault[] = [];
  const report: Report = (field, message) => void faults.push({ field: [field], message, code: 'BAD_USER_INPUT' });
  checkRequest(request, report);
  const config = readConfig(request, environment, report);
  if (faults.length > 0) {
    // Jumps are resolved only when all this is right; what is wrong with them belongs beside it.
    for (const part of jumpParts(request.proxyJump)) if (parseJump(part) === null) report('proxyJump', notAJump(part));
    throw new UserError(faults);
  }

  const resolver = new HostResolver(request, environment, config, report);
  const { hop, options } = resolver.resolve(request.host, request, 'host');
  const jumps = resolver.jumpsOf(request.proxyJump ?? options.proxyjump, request.proxyJump === undefined ? 'host' : 'proxyJump', [hop]);
  if (request.proxyJump === undefined && options.proxyjump === undefined) refuseProxyCommand(options, request.host, report);
  const configuredTimeout = integerOption(options.connecttimeout, 1, 3600, (message) => report('host', `ConnectTimeout of ${request.host} ${message}`));
  if (faults.length > 0) throw new UserError(faults);
  return {
    ...hop,
    jumps,
    connectTimeoutSeconds: request.connectTimeoutSeconds ?? configuredTimeout ?? DEFAULT_CONNECT_TIMEOUT_SECONDS,
    maxChannels: request.maxChannels ?? DEFAULT_MAX_CHANNELS,
  };
}

type Report = (field: keyof SshRequest, message: string) => void;

function checkRequest(request: SshRequest, report: Report): void {
  if (!isHostName(request.host)) report('host', `${JSON.stringify(request.host)} is not a host: give a name, an address or an alias of ~/.ssh/config, without user or port`);
  if (request.user !== undefined && !isUserName(request.user)) report('user', `${JSON.stringify(request.user)} is not a user name`);
  const bounds = { port: 65_535, connectTimeoutSeconds: 3600, maxChannels: 1000 };
  for (const [field, most] of Object.entries(bounds) as [keyof typeof bounds, number][]) {
    const value = request[field];
    if (value !== undefined && !(Number.isInteger(value) && value >= 1 && value <= most)) report(field, `must be a whole number from 1 to ${most}, not ${value}`);
  }
}

function isHostName(text: string): boolean {
  return /^[^\s\0/@,-][^\s\0/@,]*$/.test(text);
}

function isUserName(text: string): boolean {
  return /^[^\s\0@:-][^\s\0@:]*$/.test(text);
}

function readConfig(request: SshRequest, environment: SshEnvironment, report: Report): SshConfigFile | null {
  const path = request.configFile === undefined ? join(environment.home, '.ssh', 'config') : expandHome(request.configFile, environment.home);
  const field = request.configFile === undefined ? 'host' : 'configFile';
  if (request.configFile !== undefined && !existsSync(path)) report('configFile', `${path} does not exist`);
  try {
    return new SshConfigFile(path, environment.home);
  } catch (error) {
    report(field, (error as Error).message);
    return null;
  }
}

function refuseProxyCommand(options: HostOptions, alias: string, report: Report): void {
  const command = firstOf(options.proxycommand);
  if (command === undefined || command === 'none') return;
  report('host', `${alias} is reached by ProxyCommand (${command}), which is not supported: say ProxyJump in the ssh configuration, or give proxyJump here`);
}

function expandHome(path: string, home: string): string {
  return path === '~' ? home : path.replace(/^~(?=\/)/, home);
}

function listOf(value: string | string[] | undefined): string[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

function firstOf(value: string | string[] | undefined): string | undefined {
  return listOf(value)[0];
}

function integerOption(value: string | string[] | undefined, least: number, most: number, complain: (message: string) => void): number | undefined {
  const text = firstOf(value);
  if (text === undefined || text === 'none') return undefined;
  const number = /^\d+$/.test(text) ? Number(text) : NaN;
  if (number >= least && number <= most) return number;
  complain(`in the ssh configuration must be a whole number from ${least} to ${most}, not ${text}`);
  return undefined;
}

/** What is said of a host where it is named, which wins over the ssh configuration. */
type Named = Pick<SshRequest, 'port' | 'user' | 'identityFile' | 'knownHostsFile'>;

class HostResolver {
  readonly #request: SshRequest;
  readonly #environment: SshEnvironment;
  readonly #config: SshConfigFile | null;
  readonly #report: Report;

  constructor(request: SshRequest, environment: SshEnvironment, config: SshConfigFile | null, report: Report) {
    this.#request = request;
    this.#environment = environment;
    this.#config = config;
    this.#report = report;
  }

  resolve(alias: string, named: Named, field: keyof SshRequest): { hop: SshHost; options: HostOptions } {
    const { home, userName } = this.#environment;
    const options = this.#config?.optionsOf(alias, named.user) ?? {};
    const host = (firstOf(options.hostname) ?? alias).replace(/%([%h])/g, (_, token: string) => (token === 'h' ? alias : '%'));
    if (!isHostName(host)) this.#report(field, `HostName of ${alias} in the ssh configuration is not a host: ${JSON.stringify(host)}`);
    const port = named.port ?? integerOption(options.port, 1, 65_535, (message) => this.#report(field, `Port of ${alias} ${message}`)) ?? DEFAULT_PORT;
    const user = named.user ?? firstOf(options.user) ?? userName;
    const tokens: Record<string, string> = { '%': '%', h: host, n: alias, p: String(port), r: user, u: userName, d: home };
    const expand = (path: string): string => expandHome(path, home).replace(/%(.)/g, (whole, token: string) => tokens[token] ?? whole);
    return {
      hop: {
        host, port, user,
        identityFile: this.#identityFile(named, listOf(options.identityfile).map(expand)),
        agentSocket: this.#agentSocket(firstOf(options.identityagent), alias, field, expand),
        knownHostsFiles: this.#knownHostsFiles(named, listOf(options.userknownhostsfile).map(expand), listOf(options.globalknownhostsfile).map(expand)),
      },
      options,
    };
  }

  /** Hosts to pass through, in order. `path` are the hosts that lead here, each of which must not be needed to reach itself. */
  jumpsOf(spec: string | string[] | undefined, field: keyof SshRequest, path: SshHost[]): SshHost[] {
    return jumpParts(spec).flatMap((part, index) => {
      const named = parseJump(part);
      if (named === null) {
        this.#report(field, notAJump(part));
        return [];
      }
      const { hop, options } = this.resolve(named.host, named, field);
      const loop = [...path, hop].map((each) => `${each.host}:${each.port}`);
      if (loop.indexOf(loop.at(-1) ?? '') < loop.length - 1) {
        this.#report(field, `the jump hosts lead back to themselves: ${loop.join(' -> ')}`);
        return [];
      }
      // Only the first of a list is reached its own way; each of the others is reached through the one before it.
      if (index > 0) return [hop];
      if (options.proxyjump === undefined) refuseProxyCommand(options, named.host, this.#report);
      return [...this.jumpsOf(options.proxyjump, field, [...path, hop]), hop];
    });
  }

  /** A jump host with no key of its own in the ssh configuration gets the key of the request. */
  #identityFile(named: Named, configured: string[]): string | null {
    const { home } = this.#environment;
    const candidates = configured.filter((file) => file !== 'none');
    const requested = this.#request.identityFile === undefined ? undefined : expandHome(this.#request.identityFile, home);
    if (named.identityFile !== undefined && requested !== undefined) {
      if (!isFile(requested)) this.#report('identityFile', `${requested} does not exist or is not a file: give the path of a private key`);
      return requested;
    }
    const usual = DEFAULT_IDENTITY_NAMES.map((name) => join(home, '.ssh', name)).find(isFile);
    return candidates.find(isFile) ?? candidates[0] ?? requested ?? usual ?? null;
  }

  #agentSocket(configured: string | undefined, alias: string, field: keyof SshRequest, expand: (path: string) => string): string | null {
    if (configured === undefined || configured === 'SSH_AUTH_SOCK' || configured === '$SSH_AUTH_SOCK') return this.#environment.agentSocket;
    if (configured === 'none') return null;
    if (configured.startsWith('$')) this.#report(field, `IdentityAgent of ${alias} in the ssh configuration must be a path, SSH_AUTH_SOCK or none, not ${configured}`);
    return expand(configured);
  }

  #knownHostsFiles(named: Named, configuredUser: string[], configuredSystem: string[]): string[] {
    const { home } = this.#environment;
    if (named.knownHostsFile !== undefined) return [expandHome(named.knownHostsFile, home)];
    const own = configuredUser.filter((file) => !NO_KNOWN_HOSTS.has(file));
    const requested = this.#request.knownHostsFile === undefined ? [] : [expandHome(this.#request.knownHostsFile, home)];
    const usual = requested.length > 0 ? requested : [join(home, '.ssh', 'known_hosts'), join(home, '.ssh', 'known_hosts2')];
    return [...(own.length > 0 ? own : usual), ...(configuredSystem.length > 0 ? configuredSystem : [SYSTEM_KNOWN_HOSTS])];
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** The hosts of a ProxyJump, as they are written. */
function jumpParts(spec: string | string[] | undefined): string[] {
  const text = listOf(spec).join(' ').trim();
  return text === '' || text === 'none' ? [] : text.split(',').map((part) => part.trim());
}

function notAJump(part: string): string {
  return `${JSON.stringify(part)} is not a host to jump through: say [user@]host[:port], several with commas between them`;
}

/** `[user@]host[:port]`, with an IPv6 address in brackets where a port follows; `ssh://` before it is allowed. */
function parseJump(text: string): { host: string; user?: string; port?: number } | null {
  const parts = /^(?:ssh:\/\/)?(?:([^@]+)@)?(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?\/?$/.exec(text);
  const host = parts?.[2] ?? parts?.[3];
  if (parts === null || host === undefined || !isHostName(host)) return null;
  const port = parts[4] === undefined ? undefined : Number(parts[4]);
  if (port !== undefined && (port < 1 || port > 65_535)) return null;
  if (parts[1] !== undefined && !isUserName(parts[1])) return null;
  return { host, ...(parts[1] === undefined ? {} : { user: parts[1] }), ...(port === undefined ? {} : { port }) };
}
