import { Field, InputType, ObjectType, registerEnumType } from 'type-graphql';
import type { TokenScope } from '../db/tables/index.ts';
import { DateTime } from './scalars.ts';

export const ScopeEnum = { READ: 'read', WRITE: 'write' } as const satisfies Record<string, TokenScope>;
registerEnumType(ScopeEnum, {
  name: 'Scope', description: 'What a token may do.',
  valuesConfig: { READ: { description: 'Queries and subscriptions.' }, WRITE: { description: 'Mutations.' } },
});

@ObjectType('Token', { description: 'Something that may call us. The token itself is shown once, when it is made.' })
export class TokenType {
  @Field(() => String, { description: 'Its name: what `submittedBy` shows.' })
  name!: string;

  @Field(() => [ScopeEnum], { description: 'What it may do.' })
  scopes!: TokenScope[];

  @Field(() => DateTime, { description: 'When it was made.' })
  createdAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When it was last used, to within some minutes; null if never.' })
  lastUsedAt!: Date | null;
}

@InputType({ description: 'A new token.' })
export class CreateTokenInput {
  @Field(() => String, { description: 'A name that no valid token has, such as the notebook or the person that will use it.' })
  name!: string;

  @Field(() => [ScopeEnum], { description: 'What it may do.' })
  scopes!: TokenScope[];
}

@InputType({ description: 'A token that is to end.' })
export class RevokeTokenInput {
  @Field(() => String, { description: 'Its name.' })
  name!: string;
}
