/** Column shapes that several tables share. */
import { customType, timestamp } from 'drizzle-orm/pg-core';

/** A moment in UTC with microseconds. */
export const moment = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' });

/** A jsonb column typed as `T`. */
export const json = <T>(name: string) => customType<{ data: T; driverData: string }>({
  dataType: () => 'jsonb',
  toDriver: (value) => JSON.stringify(value),
  fromDriver: (value) => (typeof value === 'string' ? JSON.parse(value) : value) as T,
})(name);
