/** Up to `count` candidates that look most like `word`, nearest first: the "did you mean" of error messages. */
export function nearestWords(word: string, candidates: readonly string[], count = 3): string[] {
  const lower = word.toLowerCase();
  const farthest = Math.max(1, Math.ceil(word.length * 0.4));
  return candidates
    .map((candidate) => ({ candidate, distance: distanceTo(lower, candidate.toLowerCase()) }))
    .filter(({ distance }) => distance <= farthest)
    .toSorted((a, b) => a.distance - b.distance)
    .slice(0, count)
    .map(({ candidate }) => candidate);
}

/** Levenshtein distance; a candidate that ends in the word (`lr` for `optim.lr`) counts as near. */
function distanceTo(word: string, candidate: string): number {
  if (candidate.endsWith(`.${word}`) || word.endsWith(`.${candidate}`)) return 1;
  let row = Array.from({ length: candidate.length + 1 }, (_, index) => index);
  for (let i = 1; i <= word.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= candidate.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (word[i - 1] === candidate[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[candidate.length] ?? 0;
}
