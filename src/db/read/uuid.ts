/** Ids from outside: Postgres raises an error for a malformed UUID, while to a caller it is just an id that nothing has. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Whether Postgres would take the text as a UUID in its canonical form. */
export function isUuid(text: string): boolean {
  return UUID.test(text);
}

/** The ids that can exist at all. */
export function onlyUuids(ids: readonly string[]): string[] {
  return ids.filter(isUuid);
}
