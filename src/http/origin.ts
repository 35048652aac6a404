/** Which web pages may open a WebSocket: browsers let any page do so, and only the Origin header tells them apart. */
import type { IncomingMessage } from 'node:http';

/** True for programs (no Origin), for our own pages and for the origins that the configuration allows. */
export function isAllowedOrigin({ headers }: IncomingMessage, allowedOrigins: readonly string[]): boolean {
  const { origin, host } = headers;
  if (origin === undefined) return true;
  if (allowedOrigins.includes(origin)) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
}
