/** A pattern of OpenSSH's files as an expression for the whole text: `*` is anything, `?` one character, all else stands for itself. */
export function wildcardExpression(pattern: string): RegExp {
  const source = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*+/g, '.*').replaceAll('?', '.');
  return new RegExp(`^${source}$`, 's');
}
