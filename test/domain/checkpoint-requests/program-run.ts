/** Runs the program that archives checkpoints, by a real bash on real files. */
import { spawn } from 'node:child_process';
import { chmod, lstat, mkdir, mkdtemp, readdir, realpath, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { parseReport, renderProgram, type ItemReport, type ProgramItem, type RecordedContent } from '../../../src/domain/checkpoint-requests/program.ts';
import type { CheckpointAction } from '../../../src/domain/checkpoint-requests/request.ts';

export let root: string;
export let job: string;
/** Commands that take the place of those of the system. */
export let commands: string;
let isFaked: boolean;

/** Whether the commands in `commands` are used, as they are at first, or those of the system. */
export function useFakes(isUsed: boolean): void {
  isFaked = isUsed;
}

/** A new job directory for each test. */
export function freshJobDirectory(): void {
  beforeEach(makeJobDirectory);
  afterEach(() => rm(root, { recursive: true, force: true }));
}

async function makeJobDirectory(): Promise<void> {
  isFaked = true;
  root = await realpath(await mkdtemp(join(tmpdir(), 'expgraph-archive-')));
  job = `${root}/vision/base/0198`;
  commands = `${root}/bin`;
  await mkdir(`${job}/checkpoints`, { recursive: true });
  await mkdir(commands);
}

export const content = 'weights '.repeat(20_000);
export const writtenAt = new Date('2026-01-02T03:04:05.678Z');

export async function put(path: string, text = content): Promise<void> {
  await mkdir(dirname(`${job}/${path}`), { recursive: true });
  await writeFile(`${job}/${path}`, text);
  await utimes(`${job}/${path}`, writtenAt, writtenAt);
}

export const ID = '01980000-0000-7000-8000-000000000001';
export const file = (path: string): Partial<ProgramItem> => ({ path: `${job}/${path}`, members: [path.slice(path.lastIndexOf('/') + 1)], isOneFile: true });
export const folder = (path: string): Partial<ProgramItem> => ({ ...file(path), isOneFile: false });

/** Of what was there when it was last whole: by path. */
const recordedAt = new Map<string, RecordedContent>();

export async function record({ path = '', members = [] }: Partial<ProgramItem>): Promise<RecordedContent> {
  const content = { fileCount: 0, sizeBytes: 0, writtenAt: new Date(0), lookedDepth: 6 };
  const visit = async (at: string): Promise<void> => {
    const status = await lstat(at);
    if (status.mtime > content.writtenAt) content.writtenAt = new Date(Math.floor(status.mtimeMs));
    if (status.isFile()) Object.assign(content, { fileCount: content.fileCount + 1, sizeBytes: content.sizeBytes + status.size });
    if (status.isDirectory()) for (const name of await readdir(at)) await visit(`${at}/${name}`);
  };
  try {
    for (const member of members) await visit(`${dirname(path)}/${member}`);
    recordedAt.set(path, content);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return recordedAt.get(path) ?? content;
}

interface Ran {
  report: ItemReport | undefined;
  begun: string[];
  busy: string[];
  exitCode: number | null;
}

/** @param uid whose run it is, where that is not ours */
export async function run(action: CheckpointAction, item: Partial<ProgramItem>, runId = 'r1', { uid, overPath = null }: { uid?: number; overPath?: string | null } = {}): Promise<Ran> {
  const recorded = action === 'RESTORE' ? null : await record(item);
  // What was archived last.
  const suffixes = ['.zst', '.gz'].map((ending) => (item.isOneFile ? ending : `.tar${ending}`));
  const present = await readdir(dirname(item.path ?? job)).catch((): string[] => []);
  const suffix = suffixes.find((each) => present.includes(`${item.path?.slice(item.path.lastIndexOf('/') + 1)}${each}`)) ?? suffixes[0];
  const script = renderProgram({
    runId, rootDirectory: root, limitSeconds: 60, threads: 1, reportPath: null, overPath,
    items: [{ checkpointId: ID, action, jobDirectory: job, path: '', members: [], isOneFile: true, archivePath: action === 'RESTORE' ? `${item.path}${suffix}` : null, earlierArchives: [], recorded, giveUpReason: null, ...item }],
  });
  const child = spawn('bash', ['-s'], { env: { PATH: isFaked ? `${commands}:${process.env['PATH']}` : process.env['PATH'] }, detached: true, stdio: ['pipe', 'pipe', 'ignore'], ...(uid !== undefined && { uid, gid: uid }) });
  let stdout = '';
  child.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString(); });
  const exit = new Promise<number | null>((resolve) => child.on('close', resolve));
  child.stdin.end(script);
  const exitCode = await exit;
  const { items, begun, busy } = parseReport(stdout);
  return { report: items.get(ID), begun, busy, exitCode };
}
export const names = async (path = 'checkpoints'): Promise<string[]> => (await readdir(`${job}/${path}`)).filter((name) => name !== '.expgraph-lock').sort();

/** A command of the system that first does something else. */
export async function fake(name: string, text: string): Promise<void> {
  await writeFile(`${commands}/${name}`, `#!/bin/bash\n${text}\n`);
  await chmod(`${commands}/${name}`, 0o755);
}
/** The paths of the real commands, without a name among them. */
export async function onlyCommandsBut(...missing: string[]): Promise<void> {
  const wanted = ['bash', 'sh', 'tar', 'find', 'sort', 'sha256sum', 'cut', 'tr', 'mv', 'rm', 'mkdir', 'rmdir', 'chmod', 'touch', 'stat', 'sync', 'wc', 'xargs', 'renice', 'ionice', 'gzip', 'zstd', 'cat'];
  for (const name of wanted.filter((each) => !missing.includes(each))) {
    for (const place of ['/usr/bin', '/bin']) await symlink(`${place}/${name}`, `${commands}/${name}`).catch(() => undefined);
  }
}
