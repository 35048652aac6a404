/** What a checkpoint's name says about it. */
export interface CheckpointName {
  /** Null where the name does not say. */
  step: number | null;
  epoch: number | null;
  /** Words such as `last` and `best` by which people ask for it. */
  aliases: string[];
  /** Whether the step is a number without a word that says what it is. */
  isBareNumber: boolean;
}

const ALIASES = ['best', 'last', 'latest', 'final'];
const STEP_WORD = /(?<![a-z])(?:global[_-]?step|steps?|iterations?|iter|it|updates?)[=_-]?(\d+)/;
const STEP_AFTER = /(?<![\d.])(\d+)[_-]?(?:steps?|iters?|iterations?)(?![a-z])/;
const EPOCH_WORD = /(?<![a-z])(?:epochs?|ep)[=_-]?(\d+)/;
/** `checkpoint-500`, `model_500`, `500`: a number alone is taken for a step. */
const BARE_NUMBER = /^(?:(?:checkpoint|ckpt|model|weights|state|params|net|snapshot)[=_.-]?)?(\d+)$/;
const MAX_EPOCH = 2 ** 31 - 1;

/** Reads `epoch=3-step=500-v1.ckpt`, `checkpoint-500`, `iter_0000500`, `best.ckpt` and their like. */
export function parseCheckpointName(name: string): CheckpointName {
  const base = name.toLowerCase().replace(/(?:\.[a-z][a-z0-9]{0,15})+$/, '').replace(/-v\d+$/, '');
  const worded = STEP_WORD.exec(base)?.[1] ?? STEP_AFTER.exec(base)?.[1];
  const words = new Set(base.split(/[^a-z0-9]+/));
  return {
    step: wholeNumber(worded ?? BARE_NUMBER.exec(base)?.[1], Number.MAX_SAFE_INTEGER),
    epoch: wholeNumber(EPOCH_WORD.exec(base)?.[1], MAX_EPOCH),
    aliases: ALIASES.filter((alias) => words.has(alias)),
    isBareNumber: worded === undefined,
  };
}

function wholeNumber(digits: string | undefined, max: number): number | null {
  const number = digits === undefined ? NaN : Number(digits);
  return Number.isSafeInteger(number) && number <= max ? number : null;
}
