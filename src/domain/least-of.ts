/** The `count` least of the items, in order. It takes a time that hardly grows with `count`, and no copy of the items. */
export function leastOf(items: ArrayLike<number>, count: number, compare: (a: number, b: number) => number): number[] {
  if (count === 0) return [];
  // A heap with the greatest of those kept on top: most items are greater, and looked at once.
  const kept: number[] = [];
  for (let index = 0; index < items.length; index += 1) {
    const item = items[index]!;
    if (kept.length < count) {
      kept.push(item);
      if (kept.length === count) for (let place = count >> 1; place >= 0; place -= 1) sink(kept, place, compare);
    } else if (compare(item, kept[0]!) < 0) {
      kept[0] = item;
      sink(kept, 0, compare);
    }
  }
  return kept.sort(compare);
}

function sink(heap: number[], start: number, compare: (a: number, b: number) => number): void {
  const item = heap[start]!;
  let place = start;
  for (;;) {
    let child = 2 * place + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && compare(heap[child + 1]!, heap[child]!) > 0) child += 1;
    if (compare(heap[child]!, item) <= 0) break;
    heap[place] = heap[child]!;
    place = child;
  }
  heap[place] = item;
}
