import { Field, ObjectType, registerEnumType } from 'type-graphql';
import type { ErrorCode, UserFault } from '../domain/errors.ts';
import { enumOf } from './enum.ts';

const ErrorCodeEnum = enumOf<ErrorCode>({
  BAD_USER_INPUT: 'The input is wrong; the message says what would be right.',
  NOT_FOUND: 'Something named in the input does not exist.',
  ALREADY_EXISTS: 'What should be made is there already.',
  CONFLICT: 'The thing is in a state that does not allow this, or somebody changed it at the same time.',
  LIMIT_EXCEEDED: 'More was asked for than one request may take; the message has the numbers.',
  UNAUTHENTICATED: 'No valid token came with the request.',
  FORBIDDEN: 'The token may not do this.',
  IDEMPOTENCY_KEY_REUSED: 'The idempotency key was used before with another input.',
  CLUSTER_UNAVAILABLE: 'The cluster cannot be reached at the moment.',
  DATABASE_UNAVAILABLE: 'The database cannot be reached at the moment; try again.',
  CURSOR_EXPIRED: 'The cursor is too old to go on from; begin anew without it.',
});
registerEnumType(ErrorCodeEnum.values, { name: 'ErrorCode', description: 'What kind of error this is, for programs.', valuesConfig: ErrorCodeEnum.descriptions });

/** One fault in a mutation's input. */
@ObjectType('UserError', { description: 'One fault in the input of a mutation. Nothing was changed when there is any.' })
export class UserErrorType implements UserFault {
  @Field(() => [String], { description: 'Path into `input`, such as `["resources", "gpus"]`; empty for the input as a whole.' })
  field!: string[];

  @Field(() => String, { description: 'What is wrong and what would be right.' })
  message!: string;

  @Field(() => ErrorCodeEnum.values, { description: 'The kind of fault.' })
  code!: ErrorCode;
}
