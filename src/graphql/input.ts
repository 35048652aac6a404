/** Inputs as the other rooms take them: plain objects in which what was not given is absent. */

/**
 * A copy of an input without its null and absent fields, at every level that is an input type. Values of the JSON scalar,
 * which are plain objects and lists, stay as they are: in them null means null.
 */
export function plainInput<Input>(input: Input): Given<Input> {
  return copied(input) as Given<Input>;
}

/** The type of an input once null is gone. */
export type Given<Input> = Input extends Date ? Input
  : Input extends (infer Item)[] ? Given<Item>[]
    : Input extends object ? { [Key in keyof Input]: Given<Exclude<Input[Key], null>> }
      : Input;

function copied(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copied);
  if (typeof value !== 'object' || value === null || value instanceof Date || isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== null && item !== undefined).map(([key, item]) => [key, copied(item)]));
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
