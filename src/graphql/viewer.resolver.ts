import { Ctx, Field, ObjectType, Query, Resolver } from 'type-graphql';
import type { TokenScope } from '../db/tables/index.ts';
import { UserError } from '../domain/errors.ts';
import type { GraphqlContext } from './context.ts';
import { ScopeEnum } from './token.type.ts';

@ObjectType('Viewer', { description: 'Whoever calls.' })
class ViewerType {
  @Field(() => String, { description: 'Name of the token.' })
  tokenName!: string;

  @Field(() => [ScopeEnum], { description: 'What it may do.' })
  scopes!: TokenScope[];
}

@Resolver()
export class ViewerResolver {
  @Query(() => ViewerType, { description: 'Whoever calls.' })
  viewer(@Ctx() { viewer }: GraphqlContext): ViewerType {
    if (viewer === null) throw UserError.of('UNAUTHENTICATED', 'no valid token came with the request');
    return viewer;
  }
}
