import { Arg, Ctx, Field, Mutation, ObjectType, Query, Resolver } from 'type-graphql';
import { createToken } from '../actions/create-token.ts';
import { revokeToken } from '../actions/revoke-token.ts';
import { validTokens } from '../db/read/tokens.ts';
import type { GraphqlContext } from './context.ts';
import { withUserErrors } from './errors.ts';
import { CreateTokenInput, RevokeTokenInput, TokenType } from './token.type.ts';
import { UserErrorType } from './user-error.type.ts';

@ObjectType('CreateTokenPayload', { description: 'What became of a new token.' })
class CreateTokenPayload {
  @Field(() => String, { nullable: true, description: 'The token, shown only here: we keep no more than its hash. Null when there are errors.' })
  token!: string | null;

  @Field(() => [UserErrorType], { description: 'What is wrong with the input; nothing was made when there is any.' })
  userErrors!: UserErrorType[];
}

@ObjectType('RevokeTokenPayload', { description: 'What became of a token that was to end.' })
class RevokeTokenPayload {
  @Field(() => String, { nullable: true, description: 'Name of the token, which is refused within seconds. Null when there are errors.' })
  name!: string | null;

  @Field(() => [UserErrorType], { description: 'What is wrong with the input; nothing was changed when there is any.' })
  userErrors!: UserErrorType[];
}

@Resolver()
export class TokenResolver {
  @Query(() => [TokenType], { description: 'Everything that may call us, by name.' })
  tokens(@Ctx() { database }: GraphqlContext): Promise<TokenType[]> {
    return validTokens(database);
  }

  @Mutation(() => CreateTokenPayload, { description: 'Makes a token.' })
  createToken(
    @Ctx() { actions }: GraphqlContext,
    @Arg('input', () => CreateTokenInput, { description: 'The token.' }) input: CreateTokenInput,
  ): Promise<CreateTokenPayload> {
    return withUserErrors<Omit<CreateTokenPayload, 'userErrors'>>({ token: null }, async () => ({ token: (await createToken(actions, input)).token }));
  }

  @Mutation(() => RevokeTokenPayload, { description: 'Ends the validity of a token; open connections that use it are closed.' })
  revokeToken(
    @Ctx() { actions }: GraphqlContext,
    @Arg('input', () => RevokeTokenInput, { description: 'The token.' }) input: RevokeTokenInput,
  ): Promise<RevokeTokenPayload> {
    return withUserErrors<Omit<RevokeTokenPayload, 'userErrors'>>({ name: null }, async () => {
      await revokeToken(actions, input);
      return { name: input.name };
    });
  }
}
