/** Why a start failed, for whoever can mend it. */
import { sqlStateOf } from './db/errors.ts';
import { UserError } from './domain/errors.ts';

/** What Node says of a failed system call. */
interface SystemError extends Error {
  code: string;
  syscall: string;
  path?: string;
  address?: string;
  port?: number;
  hostname?: string;
}

const OTHER_FOLDER = 'choose another directory (EXPGRAPH_DATA_DIR)';

/** One line a fault: what is wrong and what would be right. Null for an error that nobody outside can have caused. */
export function startFaults(error: unknown): string[] | null {
  if (error instanceof UserError) return error.faults.map(({ field, message }) => (field.length > 0 ? `${field.join('.')}: ${message}` : message));
  if (isSystemError(error)) return [addressFault(error) ?? fileFault(error) ?? error.message];
  if (sqlStateOf(error) !== null) return [`the database refuses: ${deepestMessage(error as Error)}`];
  return null;
}

function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && 'syscall' in error;
}

function addressFault({ code, syscall, address, port, hostname }: SystemError): string | null {
  if (syscall === 'getaddrinfo') return `the host name ${hostname} has no address (${code}); give another EXPGRAPH_HOST (or server.host), such as 127.0.0.1`;
  if (syscall !== 'listen' && syscall !== 'bind') return null;
  const where = `${address?.includes(':') ? `[${address}]` : address}:${port}`;
  switch (code) {
    case 'EADDRINUSE': return `${where} is in use; is expgraph running already? Choose another EXPGRAPH_PORT (or server.port); 0 lets the system choose`;
    case 'EADDRNOTAVAIL': return `${address} is no address of this machine; give another EXPGRAPH_HOST (or server.host), such as 127.0.0.1, or 0.0.0.0 for all of its addresses`;
    case 'EACCES': return `this user may not listen on ${where}; choose an EXPGRAPH_PORT (or server.port) of 1024 or more`;
    default: return null;
  }
}

function fileFault({ code, path, message }: SystemError): string | null {
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT': return `no space is left${path === undefined ? '' : ` for ${path}`}: free some (or ask for a larger quota), or ${OTHER_FOLDER}`;
    case 'EACCES':
    case 'EPERM': return path === undefined ? null : `this user (id ${process.getuid?.()}) may not use ${path}: change its owner or mode, or ${OTHER_FOLDER}`;
    case 'EROFS': return `${path} lies on a read-only file system; ${OTHER_FOLDER}`;
    case 'ENOTDIR':
    case 'EEXIST': return `${path} is a file, or lies below one, where a directory has to be; ${OTHER_FOLDER}`;
    case 'EMFILE':
    case 'ENFILE': return `too many files are open (${message}); raise the limit (ulimit -n)`;
    default: return null;
  }
}

/** A failed statement is wrapped in an error that repeats its SQL. */
function deepestMessage(error: Error): string {
  return error.cause instanceof Error ? deepestMessage(error.cause) : error.message;
}
