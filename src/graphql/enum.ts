/** GraphQL enums out of the closed lists of the domain: the compiler sees to it that each value is there and described. */

export interface EnumDefinition<Value extends string> {
  /** The enum object, whose names are its values. */
  values: { [Name in Value]: Name };
  descriptions: { [Name in Value]: { description: string } };
}

/** An enum with a description for every value of the union. */
export function enumOf<Value extends string>(descriptions: Record<Value, string>): EnumDefinition<Value> {
  const entries = Object.entries<string>(descriptions);
  return {
    values: Object.fromEntries(entries.map(([name]) => [name, name])) as EnumDefinition<Value>['values'],
    descriptions: Object.fromEntries(entries.map(([name, description]) => [name, { description }])) as EnumDefinition<Value>['descriptions'],
  };
}
