/** As whom PostgreSQL runs, and what that user can reach. */
import { readFile, stat } from 'node:fs/promises';
import { userInfo, type UserInfo } from 'node:os';
import { dirname } from 'node:path';
import { UserError } from '../../domain/errors.ts';

export interface ServerUser {
  uid: number;
  gid: number;
  name: string;
  /** True when it is another user than the one this process runs as. */
  isOther: boolean;
}

/** PostgreSQL refuses to run as root, so root lends it another account. */
const ACCOUNTS_FOR_ROOT = ['postgres', 'nobody'];

/** The user PostgreSQL is to run as. Throws UserError when there is none. */
export async function serverUser(): Promise<ServerUser> {
  if (process.getuid?.() !== 0) {
    const { uid, gid, username } = ownAccount();
    return { uid, gid, name: username, isOther: false };
  }
  const accounts = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const name of ACCOUNTS_FOR_ROOT) {
    const account = accounts.find((fields) => fields[0] === name);
    if (account !== undefined) return { uid: Number(account[2]), gid: Number(account[3]), name, isOther: true };
  }
  throw UserError.of('CONFLICT', 'PostgreSQL does not run as root, and there is neither a user "postgres" nor "nobody"; add one, or set DATABASE_URL');
}

function ownAccount(): UserInfo<string> {
  try {
    return userInfo();
  } catch {
    throw UserError.of('CONFLICT', `the user id ${process.getuid?.()} has no entry in /etc/passwd, which PostgreSQL insists on; add one, or set DATABASE_URL`);
  }
}

const READ = 4;
const SEARCH = 1;

/** Whether the user may read the file or folder and pass through everything above it, by permission bits. */
export async function canReach(user: ServerUser, path: string): Promise<boolean> {
  if (!user.isOther) return true;
  if (!allows(user, await stat(path), READ)) return false;
  return await firstClosedFolder(user, path) === null;
}

/** The topmost folder above the path that the user may not pass through; null when there is none. */
export async function firstClosedFolder(user: ServerUser, path: string): Promise<string | null> {
  if (!user.isOther) return null;
  const folders: string[] = [];
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    folders.unshift(folder);
    if (folder === dirname(folder)) break;
  }
  for (const folder of folders) {
    if (!allows(user, await stat(folder), SEARCH)) return folder;
  }
  return null;
}

function allows(user: ServerUser, entry: { uid: number; gid: number; mode: number }, permission: number): boolean {
  const shift = entry.uid === user.uid ? 6 : entry.gid === user.gid ? 3 : 0;
  return ((entry.mode >> shift) & permission) === permission;
}
