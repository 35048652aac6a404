/** 2001-09-09 and 5138-11-16 in unix seconds: numbers outside are durations or other measurements, not moments. */
const EARLIEST_UNIX_SECONDS = 1e9;
const LATEST_UNIX_SECONDS = 1e11;
const ISO_8601 = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2})?)(?:[.,](\d{1,9}))?\s*(Z|[+-]\d{2}(?::?\d{2})?)?$/i;

/** The moment a value names: ISO 8601 (UTC where it names no zone), unix seconds or unix milliseconds. Else null. */
export function parseMetricTime(value: unknown): Date | null {
  const milliseconds = parseMetricTimeMs(value);
  return milliseconds === null ? null : new Date(milliseconds);
}

/** The same, as whole milliseconds since 1970: for those who read many. */
export function parseMetricTimeMs(value: unknown): number | null {
  if (typeof value === 'number') {
    if (value >= EARLIEST_UNIX_SECONDS && value < LATEST_UNIX_SECONDS) return Math.trunc(value * 1000);
    if (value >= EARLIEST_UNIX_SECONDS * 1000 && value < LATEST_UNIX_SECONDS * 1000) return Math.trunc(value);
    return null;
  }
  if (typeof value !== 'string') return null;
  const match = ISO_8601.exec(value.trim());
  if (match === null) return null;
  const [, date, clock = '', fraction = '0', zone = 'Z'] = match;
  const seconds = clock.length === 5 ? `${clock}:00` : clock;
  const offset = zone.toUpperCase() === 'Z' ? 'Z' : zone.replace(/^([+-]\d{2}):?(\d{2})?$/, (_, hours: string, minutes = '00') => `${hours}:${minutes}`);
  const time = new Date(`${date}T${seconds}.${fraction.slice(0, 3).padEnd(3, '0')}${offset}`);
  // The database has no year 0.
  return Number.isNaN(time.getTime()) || time.getUTCFullYear() < 1 ? null : time.getTime();
}
