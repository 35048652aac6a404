/** The GraphiQL page, from files that were installed with the server. */
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

/** From `src/http` and from `dist/server` alike. */
const PAGE_DIRECTORY = fileURLToPath(new URL('../../static/graphiql', import.meta.url));
const installed = createRequire(import.meta.url);
const FILES = [
  join(dirname(installed.resolve('graphiql/package.json')), 'graphiql.min.js'),
  join(dirname(installed.resolve('graphiql/package.json')), 'graphiql.min.css'),
  join(dirname(installed.resolve('react/package.json')), 'umd', 'react.production.min.js'),
  join(dirname(installed.resolve('react-dom/package.json')), 'umd', 'react-dom.production.min.js'),
  join(dirname(installed.resolve('graphql-ws')), '..', 'umd', 'graphql-ws.min.js'),
  join(PAGE_DIRECTORY, 'start.js'),
  join(PAGE_DIRECTORY, 'page.css'),
];

/** Scripts only from here, connections only to here. The editor sets styles in attributes. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data:", "font-src 'self' data:",
  "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
].join('; ');

/** True for a browser that was pointed at the address; programs do not ask for HTML. */
export function wantsPage({ method, headers }: FastifyRequest): boolean {
  return method === 'GET' && (headers.accept ?? '').includes('text/html');
}

export async function sendPage(reply: FastifyReply): Promise<FastifyReply> {
  return reply.header('content-security-policy', CONTENT_SECURITY_POLICY).sendFile('index.html', PAGE_DIRECTORY);
}

/** Serves the page's files at `/graphiql/`. */
export async function serveGraphiqlFiles(server: FastifyInstance): Promise<void> {
  await server.register(fastifyStatic, { root: PAGE_DIRECTORY, serve: false });
  for (const file of FILES) {
    server.get(`/graphiql/${basename(file)}`, { config: { open: true } }, (_request, reply) => reply.sendFile(basename(file), dirname(file)));
  }
}
