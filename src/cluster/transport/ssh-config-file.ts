import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { parse, type SSHConfig } from 'ssh-config';
import { wildcardExpression } from './wildcard.ts';

/** OpenSSH's own bound on files that include each other. */
const MAX_INCLUDE_DEPTH = 16;

/** What an OpenSSH client configuration says of one host alias, keys in lower case. */
export type HostOptions = Record<string, string | string[]>;

/** An OpenSSH client configuration with its `Include` files laid in. `Match exec` never holds: reading a configuration runs nothing. */
export class SshConfigFile {
  readonly #config: SSHConfig;

  /** Throws Error, naming the file, where one cannot be read or parsed. A file that is not there is empty. */
  constructor(path: string, home: string) {
    const text = existsSync(path) ? withIncludes(path, home, 0) : '';
    try {
      this.#config = parse(text);
    } catch (error) {
      throw new Error(`${path} cannot be understood: ${(error as Error).message}`, { cause: error });
    }
  }

  optionsOf(alias: string, user: string | undefined): HostOptions {
    return this.#config.compute({ Host: alias, ...(user === undefined ? {} : { User: user }) }, { ignoreCase: true, matchExec: false });
  }
}

function withIncludes(path: string, home: string, depth: number): string {
  if (depth > MAX_INCLUDE_DEPTH) throw new Error(`${path} is included ${MAX_INCLUDE_DEPTH} levels deep: do the files include each other?`);
  let section = 'Host *';
  return readFileSync(path, 'utf8').split(/\r?\n/).map((line) => {
    if (/^\s*(Host|Match)[\s=]/i.test(line)) section = line;
    const include = /^\s*Include[\s=]+(.+)$/i.exec(line)?.[1];
    if (include === undefined) return line;
    const files = [...include.matchAll(/"([^"]*)"|(\S+)/g)].flatMap((words) => includedFiles(words[1] ?? words[2] ?? '', home));
    // What follows belongs to the section it was written in, whatever sections the included file has.
    return [...files.map((file) => withIncludes(file, home, depth + 1)), section].join('\n');
  }).join('\n');
}

/** Relative names are meant below `~/.ssh`; wildcards are understood in the last part of a path. */
function includedFiles(pattern: string, home: string): string[] {
  const expanded = pattern.replace(/^~(?=\/)/, home);
  const path = isAbsolute(expanded) ? expanded : join(home, '.ssh', expanded);
  if (!/[*?]/.test(basename(path))) return existsSync(path) ? [path] : [];
  if (!existsSync(dirname(path))) return [];
  const names = readdirSync(dirname(path), { withFileTypes: true }).filter((entry) => !entry.isDirectory()).map((entry) => entry.name);
  const expression = wildcardExpression(basename(path));
  return names.filter((name) => !name.startsWith('.') && expression.test(name)).sort().map((name) => join(dirname(path), name));
}
