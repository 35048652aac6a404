/**
 * Files on a machine that can only be asked to run commands: fixed POSIX scripts, with paths as parameters or on standard input, never in
 * the text of a script. A login shell may print a greeting first, so every answer is found between marks that nobody can guess.
 */
import { randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import { FileError, MAX_OUTPUT_BYTES, TransportError } from '../transport.ts';
import type { ExecResult, FileEntry, Listing, ListRequest, ReadRange, Transport } from '../transport.ts';
import { assertAbsolutePath } from './command.ts';

type Exec = Transport['exec'];

/** Ranges asked for in one command: bounds how long it runs, and what is lost when it is cut off. */
const RANGES_PER_COMMAND = 500;
/** Room for the marks around each range. */
const FRAME_BYTES = 64;

// The byte count guards against a connection lost halfway, which the script sees as an ordinary end of its input.
const PUT_SCRIPT = `
[ -d "$1" ] || mkdir -p -- "$1" || exit 1
if [ -d "$3" ]; then echo 'is a directory' >&2; exit 1; fi
trap 'rm -f -- "$2"' EXIT
trap 'exit 1' HUP INT TERM PIPE
cat > "$2" || exit 1
if [ "$(($(wc -c < "$2")))" -ne "$4" ]; then echo 'the content was cut short on its way' >&2; exit 1; fi
mv -f -- "$2" "$3" || exit 1
trap - EXIT`;

// A redirection that fails on a group only fails the group: that is how a file that cannot be opened is told from an empty one.
const READ_SCRIPT = `
mark=$1; shift
printf '\\n%s begin\\n' "$mark"
for range do
  offset=\${range%% *}; range=\${range#* }; count=\${range%% *}; path=\${range#* }
  if [ -f "$path" ] && {
    if [ "$offset" = 0 ]; then head -c "$count"; else tail -c "+$((offset + 1))" | head -c "$count"; fi
  } 2>/dev/null < "$path"; then answer=bytes; else answer=absent; fi 2>/dev/null
  printf '\\n%s %s\\n' "$mark" "$answer"
done`;

// head counts lines, names may hold newlines but no NUL: the two change places. What could not be read is told on standard error, in English.
const LIST_SCRIPT = `
export LC_ALL=C
find / -maxdepth 0 -printf '' || exit 1
printf '\\n%s\\n' "$1"
xargs -0 sh -c 'depth=$1; shift
exec find -H "$@" -mindepth 1 -maxdepth "$depth" -printf "%p\\\\0%y\\\\0%s\\\\0%i\\\\0%T@\\\\0%l\\\\0"' sh "$2" |
tr '\\000\\n' '\\n\\000' | head -n "$3"
printf '%s\\n' "$1"`;
const FIELDS_PER_ENTRY = 6;

/** `put`, `read` and `list` of a transport, by way of its `exec`. */
export function remoteFiles(exec: Exec): Pick<Transport, 'put' | 'read' | 'list'> {
  return {
    put: (path, content) => put(exec, path, content),
    read: (ranges) => read(exec, ranges),
    list: (request) => list(exec, request),
  };
}

function newMark(): string {
  return randomBytes(16).toString('hex');
}

function wordsOf(result: ExecResult): string {
  return result.stderr.toString('utf8').trim().slice(-500) || `exit code ${result.exitCode ?? result.signal}`;
}

async function put(exec: Exec, path: string, content: Buffer): Promise<void> {
  assertAbsolutePath(path);
  const directory = posix.dirname(path);
  const temporary = posix.join(directory, `.expgraph-${newMark()}.tmp`);
  const result = await exec(['sh', '-c', PUT_SCRIPT, 'sh', directory, temporary, path, String(content.length)], { stdin: content });
  if (result.exitCode === null) throw new TransportError('interrupted', `writing ${path} was ended by ${result.signal}`);
  if (result.exitCode !== 0) throw new FileError(`cannot write ${path}: ${wordsOf(result)}`);
}

async function read(exec: Exec, ranges: ReadRange[]): Promise<(Buffer | null)[]> {
  for (const range of ranges) {
    assertAbsolutePath(range.path);
    if (!isByteCount(range.offsetBytes) || !isByteCount(range.maxBytes)) throw new RangeError(`not a range of bytes: ${JSON.stringify(range)}`);
  }
  const answers: (Buffer | null)[] = [];
  for (let start = 0; start < ranges.length; start += RANGES_PER_COMMAND) {
    answers.push(...(await readTogether(exec, ranges.slice(start, start + RANGES_PER_COMMAND))));
  }
  return answers;
}

function isByteCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** Most files are shorter than what is asked of them, so the bound on the answer is met by halving when it is hit, not by cutting in advance. */
async function readTogether(exec: Exec, ranges: ReadRange[]): Promise<(Buffer | null)[]> {
  const mark = newMark();
  const largest = ranges.reduce((most, range) => Math.max(most, range.maxBytes), 0);
  const stdin = ranges.map((range) => `${range.offsetBytes} ${range.maxBytes} ${range.path}\0`).join('');
  try {
    const result = await exec(['xargs', '-0', 'sh', '-c', READ_SCRIPT, 'sh', mark], {
      stdin,
      maxOutputBytes: Math.max(MAX_OUTPUT_BYTES, largest) + (ranges.length + 1) * FRAME_BYTES,
    });
    return readFrames(result, mark, ranges.length);
  } catch (error) {
    if (!(error instanceof TransportError) || error.failure !== 'output-limit' || ranges.length === 1) throw error;
    const half = Math.ceil(ranges.length / 2);
    return [...(await readTogether(exec, ranges.slice(0, half))), ...(await readTogether(exec, ranges.slice(half)))];
  }
}

function readFrames(result: ExecResult, mark: string, count: number): (Buffer | null)[] {
  const answers: (Buffer | null)[] = [];
  const delimiter = Buffer.from(`\n${mark} `);
  let contentStart = 0;
  for (let at = result.stdout.indexOf(delimiter); at >= 0; at = result.stdout.indexOf(delimiter, contentStart)) {
    const wordStart = at + delimiter.length;
    const lineEnd = result.stdout.indexOf('\n', wordStart);
    if (lineEnd < 0) break;
    const word = result.stdout.toString('latin1', wordStart, lineEnd);
    // xargs may cut a list in several runs of the script, each of which begins anew.
    if (word === 'bytes') answers.push(result.stdout.subarray(contentStart, at));
    else if (word === 'absent') answers.push(null);
    contentStart = lineEnd + 1;
  }
  if (answers.length === count) return answers;
  if (result.exitCode === 126 || result.exitCode === 127) throw new FileError(`cannot read files: ${wordsOf(result)}`);
  throw new TransportError('interrupted', `reading ${count} ranges ended after ${answers.length}: ${wordsOf(result)}`);
}

async function list(exec: Exec, request: ListRequest): Promise<Listing> {
  request.directories.forEach(assertAbsolutePath);
  if (request.directories.length === 0) return { entries: [], truncated: false, unreadable: [] };
  const mark = newMark();
  const lineLimit = (request.maxEntries + 1) * FIELDS_PER_ENTRY;
  const result = await exec(['sh', '-c', LIST_SCRIPT, 'sh', mark, String(request.maxDepth), String(lineLimit)], {
    stdin: request.directories.map((directory) => `${directory}\0`).join(''),
  });
  const text = result.stdout.toString('utf8');
  const begin = text.indexOf(`\n${mark}\n`);
  const end = text.lastIndexOf(`\n${mark}\n`);
  if (begin < 0 && result.exitCode !== null) throw new FileError(`cannot list files (GNU find is needed): ${wordsOf(result)}`);
  const fieldsStart = begin + mark.length + 2;
  if (begin < 0 || end < fieldsStart - 1) throw new TransportError('interrupted', `listing files was cut short: ${wordsOf(result)}`);
  const fields = text.slice(fieldsStart, end + 1).split('\n');
  const entries: FileEntry[] = [];
  for (let index = 0; index + FIELDS_PER_ENTRY < fields.length; index += FIELDS_PER_ENTRY) {
    entries.push(entryOf(fields.slice(index, index + FIELDS_PER_ENTRY)));
  }
  const unreadable = unreadableOf(result.stderr.toString('utf8'), request.directories);
  return { entries: entries.slice(0, request.maxEntries), truncated: entries.length > request.maxEntries, unreadable };
}

/** The directories that the words of find are about, unless they say that there is nothing. All, where a name is written otherwise than it is. */
function unreadableOf(words: string, directories: readonly string[]): string[] {
  const faults = words.split('\n').filter((line) => line.startsWith('find: ') && !/: (?:No such file or directory|Not a directory)$/.test(line));
  const unreadable = new Set<string>();
  for (const fault of faults) {
    const named = directories.filter((directory) => [`'${directory}'`, `'${directory}/`].some((start) => fault.startsWith(start, 'find: '.length)));
    for (const directory of named.length > 0 ? named : directories) unreadable.add(directory);
  }
  return [...unreadable];
}

const KIND_OF_LETTER: Record<string, FileEntry['kind']> = { f: 'file', d: 'directory', l: 'link' };

function entryOf(fields: string[]): FileEntry {
  const [path = '', letter = '', size = '', inode = '', modified = '', target = ''] = fields.map((field) => field.replaceAll('\0', '\n'));
  const kind = KIND_OF_LETTER[letter] ?? 'other';
  const [seconds = '0', fraction = ''] = modified.split('.');
  return {
    path,
    kind,
    sizeBytes: Number(size),
    inode,
    modifiedAt: new Date(Number(seconds) * 1000 + Number(fraction.slice(0, 3).padEnd(3, '0'))),
    linkTarget: kind === 'link' ? target : null,
  };
}
