/** Configurations out of texts, and the faults in them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import type { ConfigSources } from '../../src/config.ts';
import { UserError } from '../../src/domain/errors.ts';
import { readEnvironment } from '../../src/environment.ts';

const folders: string[] = [];
afterAll(() => { for (const folder of folders) rmSync(folder, { recursive: true }); });

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'expgraph-config-'));
  folders.push(folder);
  return folder;
}

export function sources(yaml: string | null, env: NodeJS.ProcessEnv = {}, overrides: Partial<ConfigSources> = {}): ConfigSources {
  return {
    environment: readEnvironment({ HOME: '/home/ada', ...env }),
    configFileText: yaml, configFilePath: '/srv/lab/expgraph.yaml', workingDirectory: '/srv/lab',
    isRoot: false, obstacle: () => null,
    ...overrides,
  };
}

export function faultsOf(run: () => unknown): Record<string, string> {
  try {
    run();
  } catch (error) {
    if (error instanceof UserError) return Object.fromEntries(error.faults.map((fault) => [fault.field.join('.'), fault.message]));
    throw error;
  }
  throw new Error('no fault was found');
}
