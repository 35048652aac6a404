/** What the kernel says of the memory of a process. */
import { readFile } from 'node:fs/promises';

/** Bytes in memory now (`VmRSS`), or the most there ever were (`VmHWM`). */
export async function memoryBytes(pid: number, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return 1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]);
}
