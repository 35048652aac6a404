import { Field, Float, InputType, Int } from 'type-graphql';
import { UserError, type UserFault } from '../domain/errors.ts';
import type { Json } from '../domain/job-spec.ts';
import type { SweepSpace } from '../domain/sweep.ts';
import type { RandomParameter } from '../domain/sweep-draws.ts';
import { plainInput } from './input.ts';
import { JSONValue, Long } from './scalars.ts';

@InputType('GridAxisInput', { description: 'One configuration key and the values it takes.' })
class GridAxisInput {
  @Field(() => String, { description: 'Dotted configuration key, such as `optim.lr`.' })
  key!: string;

  @Field(() => [JSONValue], { nullable: 'items', description: 'Its values.' })
  values!: Json[];
}

@InputType('NumberRangeInput', { description: 'From one number to another, both included.' })
class NumberRangeInput {
  @Field(() => Float, { description: 'The least value.' })
  min!: number;

  @Field(() => Float, { description: 'The greatest value.' })
  max!: number;
}

@InputType('RandomParameterInput', { description: 'One configuration key that is drawn: exactly one of `range`, `logRange` and `choice`.' })
class RandomParameterInput {
  @Field(() => String, { description: 'Dotted configuration key.' })
  key!: string;

  @Field(() => NumberRangeInput, { nullable: true, description: 'Evenly from this range.' })
  range?: NumberRangeInput | null;

  @Field(() => NumberRangeInput, { nullable: true, description: 'Evenly from the logarithm of this range, as for learning rates.' })
  logRange?: NumberRangeInput | null;

  @Field(() => Boolean, { nullable: true, description: 'With a range: only whole numbers.' })
  integer?: boolean | null;

  @Field(() => [JSONValue], { nullable: 'itemsAndList', description: 'One of these values.' })
  choice?: Json[] | null;
}

@InputType('RandomSpaceInput', { description: 'Random draws.' })
class RandomSpaceInput {
  @Field(() => Int, { description: 'How many.' })
  count!: number;

  @Field(() => Long, { nullable: true, description: 'The same seed draws the same values; chosen and recorded when left out.' })
  seed?: number | null;

  @Field(() => [RandomParameterInput], { description: 'What is drawn.' })
  parameters!: RandomParameterInput[];
}

@InputType('SeedAxisInput', { description: 'Seeds that every configuration is run with.' })
class SeedAxisInput {
  @Field(() => String, { nullable: true, description: 'The configuration key that takes the seed; `seed` when left out.' })
  key?: string | null;

  @Field(() => [Long], { description: 'The seeds.' })
  values!: number[];
}

@InputType('SweepSpaceInput', { description: 'A search space: list times random draws times grid times seeds, each laid over `base`.' })
export class SweepSpaceInput {
  @Field(() => JSONValue, { nullable: true, description: 'What all configurations share: an object, nested or with dotted keys.' })
  base?: Json;

  @Field(() => [GridAxisInput], { nullable: true, description: 'Every combination of these values.' })
  grid?: GridAxisInput[] | null;

  @Field(() => [JSONValue], { nullable: true, description: 'Explicit configurations.' })
  list?: Json[] | null;

  @Field(() => RandomSpaceInput, { nullable: true, description: 'Random draws.' })
  random?: RandomSpaceInput | null;

  @Field(() => SeedAxisInput, { nullable: true, description: 'Seeds.' })
  seeds?: SeedAxisInput | null;
}

/** The space as the domain takes it. Throws UserError unless each parameter is drawn in exactly one way. */
export function toSweepSpace(input: SweepSpaceInput): SweepSpace {
  const faults: UserFault[] = [];
  const { random, ...rest } = plainInput(input);
  const parameters = random?.parameters.map((parameter, index): RandomParameter => {
    const { key, range, logRange, choice, integer } = parameter;
    if ([range, logRange, choice].filter((way) => way !== undefined).length !== 1) {
      faults.push({
        field: ['space', 'random', 'parameters', String(index)], code: 'BAD_USER_INPUT', message: 'give exactly one of range, logRange and choice',
      });
    }
    const whole = integer === undefined ? {} : { integer };
    if (range !== undefined) return { key, range, ...whole };
    if (logRange !== undefined) return { key, logRange, ...whole };
    return { key, choice: (choice ?? []) as Json[] };
  });
  if (faults.length > 0) throw new UserError(faults);
  return { ...rest, ...(random && { random: { ...random, parameters: parameters ?? [] } }) } as SweepSpace;
}
