/** Renders the program of one run over checkpoints, and reads what it told. */
import { bashQuote } from '../script/shell-quote.ts';
import { PROGRAM } from './program-text.ts';
import type { CheckpointAction } from './request.ts';

/** One checkpoint of a run. */
export interface ProgramItem {
  checkpointId: string;
  action: CheckpointAction;
  /** Absolute. */
  jobDirectory: string;
  /** Absolute; below the job directory. */
  path: string;
  /** The names, in the folder of the path, of what it is made of. */
  members: readonly string[];
  /** It is one file, which needs no tar. */
  isOneFile: boolean;
  /** Of RESTORE, and of DELETE of an archived one: where its archive lies. */
  archivePath: string | null;
  /** Archives of what lay there before, absolute: they are none of what lies there now. */
  earlierArchives: readonly string[];
  /** Of all but RESTORE: what it was when somebody asked, of an archived one its archive. What is anything else by now is left as it is. */
  recorded: RecordedContent | null;
  /** Nothing new is begun with: what earlier runs left half done is put in order, and unless that finished it, it has failed for this reason. */
  giveUpReason: string | null;
}

export interface RecordedContent {
  fileCount: number;
  sizeBytes: number;
  /** When the newest of its files, folders and links was written; parts of a millisecond are left out. */
  writtenAt: Date;
  /** So deep below its job directory it was looked at: 1 is what lies in that directory itself. */
  lookedDepth: number;
}

export interface ProgramRun {
  /** Tells the half-done files of this run from those of others. */
  runId: string;
  rootDirectory: string;
  /** After this no further checkpoint is begun. */
  limitSeconds: number;
  threads: number;
  /** Where it is told what was done; null: on standard output. */
  reportPath: string | null;
  /** Once something is there, nothing more is begun with: nobody waits for this run any more. Null for a run that is waited for. */
  overPath: string | null;
  items: readonly ProgramItem[];
}

/** What became of a checkpoint. */
export type ItemReport =
  | { kind: 'ARCHIVED'; suffix: string; bytes: number; sha256: string | null }
  /** Null: an earlier run had done it. */
  | { kind: 'DELETED'; freedBytes: number | null }
  | { kind: 'RESTORED' }
  | { kind: 'DIGEST'; sha256: string }
  /** It is not on disk, and neither is an archive of it. */
  | { kind: 'GONE' }
  | { kind: 'FAILED'; problem: string };

export interface RunReport {
  /** By checkpoint. */
  items: Map<string, ItemReport>;
  /** Those that were begun with, in order. */
  begun: string[];
  /** Those that were not begun with, as somebody else was at work in their folder all the time. */
  busy: string[];
  /** It came to its end: what is not mentioned was not begun with. */
  hasEnded: boolean;
}

/** A bash program that needs nothing but its own text. */
export function renderProgram({ runId, rootDirectory, limitSeconds, threads, reportPath, overPath, items }: ProgramRun): string {
  const redirect = reportPath === null ? '' : `exec >> ${bashQuote(reportPath)} 2>&1\n`;
  const settings = `ROOT=${bashQuote(rootDirectory)} RUN=${bashQuote(runId)} LIMIT_SECONDS=${limitSeconds} THREADS=${threads} OVER=${bashQuote(overPath ?? '')}\n`;
  const calls = items.map((item) => `  item ${callArguments(item).map(bashQuote).join(' ')}\n`).join('');
  // Its own text may come on standard input: nothing that it starts may read that.
  return `#!/bin/bash\n${redirect}${settings}${PROGRAM}\nmain() {\n${calls}  printf 'end\\n'\n}\nmain < /dev/null\nexit 0\n`;
}

function callArguments({ checkpointId, action, jobDirectory, path, members, isOneFile, archivePath, earlierArchives, recorded, giveUpReason }: ProgramItem): string[] {
  const end = path.lastIndexOf('/');
  const folder = path.slice(jobDirectory.length + 1, Math.max(end, jobDirectory.length + 1)) || '.';
  const suffix = archivePath?.slice(path.length + (isOneFile ? 0 : '.tar'.length)) ?? '';
  const depth = (recorded?.lookedDepth ?? 0) - path.slice(jobDirectory.length + 1).split('/').length;
  const content = [recorded?.fileCount ?? 0, recorded?.sizeBytes ?? 0, recorded?.writtenAt.getTime() ?? 0, Math.max(depth, 0)];
  // No name holds a slash.
  const earlier = earlierArchives.map((each) => `/${each.slice(end + 1)}/`).join('');
  return [action.toLowerCase(), checkpointId, jobDirectory, folder, path.slice(end + 1), isOneFile ? '' : '.tar', suffix, giveUpReason ?? '', earlier, ...content.map(String), ...members];
}

/** What it has told so far; lines that are none of its own are left out. */
export function parseReport(text: string): RunReport {
  const report: RunReport = { items: new Map(), begun: [], busy: [], hasEnded: false };
  for (const line of text.split('\n').slice(0, -1)) {
    const [kind = '', id = '', ...values] = line.split('\t');
    if (kind === 'end') report.hasEnded = true;
    else if (kind === 'begin') report.begun.push(id);
    else if (kind === 'busy') report.busy.push(id);
    else {
      const item = itemReport(kind, values);
      if (item !== null) report.items.set(id, item);
    }
  }
  return report;
}

function itemReport(kind: string, [first = '', second = '', third = '']: string[]): ItemReport | null {
  switch (kind) {
    case 'archived': return { kind: 'ARCHIVED', suffix: first, bytes: Number(second), sha256: third === '-' ? null : third };
    case 'deleted': return { kind: 'DELETED', freedBytes: first === '' ? null : Number(first) };
    case 'restored': return { kind: 'RESTORED' };
    case 'digest': return { kind: 'DIGEST', sha256: first };
    case 'gone': return { kind: 'GONE' };
    case 'failed': return { kind: 'FAILED', problem: first };
    default: return null;
  }
}
