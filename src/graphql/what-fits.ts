/** GraphQL's own words about an input that does not fit its type, completed with what would fit. */
import { isEnumType, isInputObjectType, type GraphQLSchema } from 'graphql';

/** Of a longer list nobody finds what he means; none of ours is. */
const MAX_LISTED = 40;

/** The complaint with the values of the enum, or the fields of the input, that it is about; where it names a near one already, the fields are left out. */
export function withWhatFits(message: string, schema: GraphQLSchema): string {
  // The complaint comes last, behind the value that was given.
  const [, enumName] = [...message.matchAll(/(?:does not exist in|Enum) "(\w+)"(?= enum\.| cannot represent )/g)].at(-1) ?? [];
  const enumType = enumName === undefined ? undefined : schema.getType(enumName);
  if (isEnumType(enumType)) return `${message} ${listed(`Values of ${enumType.name}`, enumType.getValues().map(({ name }) => name))}`;
  const [, inputName] = [...message.matchAll(/ is not defined by type "(\w+)"\.(?! Did you mean)/g)].at(-1) ?? [];
  const inputType = inputName === undefined ? undefined : schema.getType(inputName);
  return isInputObjectType(inputType) ? `${message} ${listed(`Fields of ${inputType.name}`, Object.keys(inputType.getFields()))}` : message;
}

function listed(what: string, names: readonly string[]): string {
  return `${what}: ${names.slice(0, MAX_LISTED).join(', ')}${names.length > MAX_LISTED ? ', ...' : ''}.`;
}
