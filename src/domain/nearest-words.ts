/** Comparing takes as long as both lengths multiplied, and the words may be anybody's: of longer ones nothing is near. */
const MAX_WORD_CHARACTERS = 100;
const MAX_CANDIDATES = 5_000;

/** Up to `count` candidates that look most like `word`, nearest first: the "did you mean" of error messages. */
export function nearestWords(word: string, candidates: readonly string[], count = 3): string[] {
  if (word.length > MAX_WORD_CHARACTERS) return [];
  const lower = word.toLowerCase();
  const farthest = Math.max(1, Math.floor(word.length * 0.4));
  return candidates.slice(0, MAX_CANDIDATES)
    .filter((candidate) => candidate.length <= MAX_WORD_CHARACTERS)
    .map((candidate) => ({ candidate, distance: distanceTo(lower, candidate.toLowerCase()) }))
    .filter(({ distance }) => distance <= farthest)
    .toSorted((a, b) => a.distance - b.distance)
    .slice(0, count)
    .map(({ candidate }) => candidate);
}

/** Edits from one to the other, two letters that changed places being one edit; a candidate that ends in the word (`lr` for `optim.lr`, `loss` for `val/loss`) counts as near. */
function distanceTo(word: string, candidate: string): number {
  if (['.', '/'].some((separator) => candidate.endsWith(`${separator}${word}`) || word.endsWith(`${separator}${candidate}`))) return 1;
  let before: number[] = [];
  let row = Array.from({ length: candidate.length + 1 }, (_, index) => index);
  for (let i = 1; i <= word.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= candidate.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (word[i - 1] === candidate[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && word[i - 1] === candidate[j - 2] && word[i - 2] === candidate[j - 1] ? (before[j - 2] ?? 0) + 1 : Infinity;
      next.push(Math.min(replaced, swapped, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    before = row;
    row = next;
  }
  return row[candidate.length] ?? 0;
}
