import { selectOrphans, type OrphanFilter, type OrphanRow, type OrphanSelection } from '../db/read/orphans.ts';
import { transact } from '../db/transaction.ts';
import { ignoreOrphans, wishForOrphans } from '../db/write/orphans.ts';
import { UserError, type UserFault } from '../domain/errors.ts';
import { describeOrphanAction, orphanActionProblem, possibleOrphanActions, type OrphanAction } from '../domain/orphan.ts';
import type { ActionContext } from './action-context.ts';
import { unknownTargets } from './filter-faults.ts';
import { throwFaults } from './input-faults.ts';

/** Bounds one answer; a filter that selects more is carried out in parts. */
const MAX_ORPHANS_PER_CALL = 1_000;
/** So many are named in an error. */
const MAX_NAMED = 20;

/** Exactly one of `ids` and `filter`. */
export interface ResolveOrphansInput {
  ids?: string[] | null;
  filter?: Omit<OrphanFilter, 'includeIgnored'> | null;
  action: OrphanAction;
  /** True: answers what would be done and does nothing. */
  dryRun?: boolean | null;
}

export interface ResolvedOrphan {
  orphan: OrphanRow;
  /** False when the action is impossible for it, as `message` then says. */
  possible: boolean;
  /** What is or would be done, or why nothing is. */
  message: string;
}

/**
 * Records what is wished about orphans; the reconciler of their cluster carries it out. Throws UserError: NOT_FOUND for orphans that are not there (any more) and
 * for an unknown cluster, CONFLICT where an action is impossible for one of the ids, BAD_USER_INPUT for a selection that is none,
 * LIMIT_EXCEEDED for more than 1,000.
 */
export async function resolveOrphans(
  { database, clusters, tokenName }: Pick<ActionContext, 'database' | 'clusters' | 'tokenName'>, { ids, filter, action, dryRun }: ResolveOrphansInput,
): Promise<ResolvedOrphan[]> {
  const selection = selectionOf(ids, filter);
  if (filter?.clusters) throwFaults(await unknownTargets({ database, clusters }, { clusters: filter.clusters }));
  return transact(database, async (transaction) => {
    const selected = await selectOrphans(transaction, selection, MAX_ORPHANS_PER_CALL + 1);
    if (selected.length > MAX_ORPHANS_PER_CALL) throw tooMany('filter');
    if ('ids' in selection) refuseImpossible(selection.ids, selected, action);
    const resolved = selected.map((orphan): ResolvedOrphan => {
      const problem = orphanActionProblem(orphan, action);
      return { orphan, possible: problem === null, message: problem ?? describeOrphanAction(orphan, action) };
    });
    const possibleIds = resolved.filter(({ possible }) => possible).map(({ orphan }) => orphan.id);
    if (dryRun === true) return resolved;
    if (action === 'IGNORE') await ignoreOrphans(transaction, possibleIds);
    else await wishForOrphans(transaction, possibleIds, action, tokenName);
    const now = new Map((await selectOrphans(transaction, { ids: possibleIds }, MAX_ORPHANS_PER_CALL)).map((orphan) => [orphan.id, orphan]));
    return resolved.map((each) => ({ ...each, orphan: now.get(each.orphan.id) ?? each.orphan }));
  });
}

function selectionOf(ids: string[] | null | undefined, filter: ResolveOrphansInput['filter']): OrphanSelection {
  if (ids && filter) throw UserError.of('BAD_USER_INPUT', 'give either ids or filter, not both');
  if (ids) {
    const different = [...new Set(ids.map((id) => id.toLowerCase()))];
    if (different.length > MAX_ORPHANS_PER_CALL) throw tooMany('ids');
    return { ids: different };
  }
  if (!filter) throw UserError.of('BAD_USER_INPUT', 'say which orphans: give ids or filter');
  if (Object.keys(filter).length === 0) {
    throw UserError.of('BAD_USER_INPUT', 'names no condition and would mean every orphan; if that is meant, name the clusters', ['filter']);
  }
  return { filter };
}

function refuseImpossible(ids: readonly string[], selected: OrphanRow[], action: OrphanAction): void {
  const found = new Map(selected.map((orphan) => [orphan.id, orphan]));
  const faults = ids.flatMap((id): UserFault[] => {
    const orphan = found.get(id);
    if (orphan === undefined) return [{ field: ['ids'], message: `there is no orphan ${id}; those whose reason is gone disappear by themselves`, code: 'NOT_FOUND' }];
    const problem = orphanActionProblem(orphan, action);
    if (problem === null) return [];
    return [{ field: ['action'], message: `${action} is impossible for ${id}: ${problem}. Possible: ${possibleOrphanActions(orphan).join(', ') || 'nothing'}`, code: 'CONFLICT' }];
  });
  if (faults.length > MAX_NAMED) faults.splice(MAX_NAMED, Infinity, { field: [], message: `and ${faults.length - MAX_NAMED} more`, code: 'CONFLICT' });
  throwFaults(faults);
}

function tooMany(field: string): UserError {
  return UserError.of('LIMIT_EXCEEDED', `selects more than ${MAX_ORPHANS_PER_CALL} orphans; resolve them in parts`, [field]);
}
