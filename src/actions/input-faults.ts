/** Checks that several actions share. Each answers every fault it finds. */
import { textProblem } from '../domain/config-values.ts';
import { UserError, type UserFault } from '../domain/errors.ts';
import { GOALS, type Objective } from '../domain/job-spec.ts';
import { metricKeyProblem } from '../domain/readers/reader.ts';

const MAX_NAME_LENGTH = 200;
const MAX_TAG_LENGTH = 100;
/** Tags are for grouping; a job with more of them needs a config value instead. */
export const MAX_TAGS = 100;
const MAX_DESCRIPTION_LENGTH = 10_000;
const MAX_IDEMPOTENCY_KEY_LENGTH = 255;
/** More say the same again. */
const MAX_FAULTS = 50;

/** Throws UserError with the faults, each once, if there are any. */
export function throwFaults(faults: readonly UserFault[]): void {
  const different = [...new Map(faults.map((fault) => [JSON.stringify([fault.field, fault.message]), fault])).values()];
  if (different.length === 0) return;
  const shown = different.slice(0, MAX_FAULTS);
  if (different.length > MAX_FAULTS) {
    shown.push({ field: [], message: `and ${different.length - MAX_FAULTS} more faults of this kind`, code: 'BAD_USER_INPUT' });
  }
  throw new UserError(shown);
}

/** A name for people: one line of 1 to 200 characters. */
export function nameFaults(name: string, field: string[]): UserFault[] {
  return lineFaults(name, field, MAX_NAME_LENGTH);
}

export function tagFaults(tags: readonly string[], field: string[]): UserFault[] {
  const faults = tags.flatMap((tag, index) => lineFaults(tag, [...field, String(index)], MAX_TAG_LENGTH));
  if (new Set(tags).size > MAX_TAGS) faults.push(badInput(field, `has ${new Set(tags).size} tags; the limit is ${MAX_TAGS}`));
  return faults;
}

/** The same that is asked of keys in files and streams, so that every way in takes the same metrics. */
export function metricKeyFaults(key: string, field: string[]): UserFault[] {
  const problem = metricKeyProblem(key);
  return problem === null ? [] : [badInput(field, `is ${problem}`)];
}

export function objectiveFaults(objective: Objective | null | undefined, field: string[]): UserFault[] {
  if (objective === null || objective === undefined) return [];
  const faults = metricKeyFaults(objective.metric, [...field, 'metric']);
  if (!GOALS.includes(objective.goal)) faults.push(badInput([...field, 'goal'], `must be one of ${GOALS.join(', ')}`));
  return faults;
}

/** Throws UserError CONFLICT when an experiment that has an objective is given another. */
export function refuseOtherObjective(had: Objective | null, asked: Objective | null): void {
  if (had === null || asked === null || (had.metric === asked.metric && had.goal === asked.goal)) return;
  throw UserError.of('CONFLICT', `the experiment has the objective ${had.goal} of "${had.metric}"; leave it out, or use another experiment`, ['objective']);
}

export function descriptionFaults(description: string | null | undefined, field: string[]): UserFault[] {
  if (description === null || description === undefined) return [];
  const problem = textProblem(description)
    ?? (description.length > MAX_DESCRIPTION_LENGTH ? `is ${description.length} characters long; the limit is ${MAX_DESCRIPTION_LENGTH}` : null);
  return problem === null ? [] : [badInput(field, problem)];
}

export function badInput(field: string[], message: string): UserFault {
  return { field, message, code: 'BAD_USER_INPUT' };
}

/** One line of text with something in it. */
function lineFaults(text: string, field: string[], maxLength: number): UserFault[] {
  const problem = textProblem(text);
  if (problem !== null) return [badInput(field, problem)];
  if (text.trim() === '') return [badInput(field, 'is empty')];
  if (text.length > maxLength) return [badInput(field, `is ${text.length} characters long; the limit is ${maxLength}`)];
  if (/\p{Cc}/u.test(text)) return [badInput(field, 'contains a control character (such as a newline or tab); remove it')];
  return [];
}

/** What is wrong with a key under which a request is carried out once. */
export function idempotencyKeyFaults(key: string | null | undefined): UserFault[] {
  if (key === null || key === undefined) return [];
  const fine = key.length > 0 && key.length <= MAX_IDEMPOTENCY_KEY_LENGTH && /^[\x20-\x7e]+$/.test(key);
  return fine ? [] : [badInput(['idempotencyKey'], `must be 1 to ${MAX_IDEMPOTENCY_KEY_LENGTH} printable ASCII characters, such as a UUID`)];
}
