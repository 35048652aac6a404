import { createHash } from 'node:crypto';

/**
 * A name for directories and SLURM jobs made of any text: only `[A-Za-z0-9._-]`, 1 to `maxLength` characters, never
 * `.` or `..`, never hidden, never mistaken for an option. Accents are dropped; what has no ASCII form at all becomes
 * `x` and a short hash, so that two such names differ. Different texts may share a slug: it is no key.
 */
export function slug(text: string, maxLength = 60): string {
  const ascii = text.normalize('NFKD').replace(/\p{M}/gu, '').replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[-.]+/, '');
  const cut = ascii.slice(0, maxLength).replace(/[-.]+$/, '');
  return cut === '' ? `x${createHash('sha256').update(text).digest('hex')}`.slice(0, Math.min(9, maxLength)) : cut;
}
