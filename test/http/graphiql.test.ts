import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findChromium, openPage } from './browser.ts';
import type { Page } from './browser.ts';
import { eventually, startHttp } from './support.ts';
import type { TestHttp } from './support.ts';

let http: TestHttp;
beforeAll(async () => { http = await startHttp(); });
afterAll(() => http.stop());

const chromium = await findChromium();

describe('the page', () => {
  it('comes to a browser without a token, from our own files only', async () => {
    const response = await fetch(http.graphqlUrl, { headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } });
    const html = await response.text();
    expect(response.headers.get('content-type')).toContain('text/html');
    expect(response.headers.get('content-security-policy')).toMatch(/default-src 'none'.*script-src 'self';.*frame-ancestors 'none'/);
    const files = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file]) => file as string).filter((file) => file !== 'data:,');
    expect(files.length).toBeGreaterThan(5);
    for (const file of files) {
      expect(file).toMatch(/^\/graphiql\//);
      expect([file, (await fetch(http.url + file)).status]).toEqual([file, 200]);
    }
  });

  it('does not open other files', async () => {
    for (const path of ['/graphiql/', '/graphiql/index.html', '/graphiql/..%2f..%2fpackage.json', '/graphiql/../../package.json']) {
      expect((await fetch(http.url + path)).status).not.toBe(200);
    }
  });
});

describe.skipIf(chromium === null)(`in a real browser${chromium === null ? ' (skipped: no Chromium on PATH)' : ''}`, () => {
  let page: Page;
  const run = async (query: string, operation: string) => {
    const editor = `document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror`;
    await page.evaluate(`${editor}.setValue(${JSON.stringify(query)})`);
    // The editor takes a moment to understand what was typed.
    await page.until(`${editor}.documentAST?.definitions[0].operation === '${operation}'`);
    await page.evaluate(`document.querySelector('.graphiql-execute-button').click()`);
  };
  const shows = (text: string) => page.until(`document.querySelector('.result-window').innerText.replace(/[^\\w:"]/g, '').includes(${JSON.stringify(text)})`);
  const signIn = async (token: string) => {
    await page.until(`!document.getElementById('token-form').hidden`);
    await page.evaluate(`document.getElementById('token').value = ''; document.getElementById('token').focus()`);
    await page.type(token);
    await page.evaluate(`document.querySelector('#token-form button').click()`);
  };
  afterEach(() => page.close());

  it('asks for the token once, runs queries and subscriptions with it, and keeps it over a reload', async () => {
    page = await openPage(chromium as string, http.graphqlUrl);
    await signIn('eg_wrong');
    await page.until(`document.getElementById('token-fault').innerText.includes('not known or was revoked')`);
    await signIn(http.tokens.reader);
    await page.until(`document.querySelector('.graphiql-query-editor .CodeMirror')`);
    await run('{ whoami }', 'query');
    await shows('"whoami":"reader"');
    await run('subscription { told }', 'subscription');
    await eventually(() => http.signals.started === 1, 'the subscription');
    http.signals.emit('tick', 77);
    await shows('"told":77');
    await page.evaluate('location.reload()').catch(() => {});
    await page.until(`document.querySelector('.graphiql-query-editor .CodeMirror') && document.getElementById('token-form').hidden`);
    // The refused first token is the only thing a browser may complain about.
    expect(page.complaints.filter((complaint) => !complaint.includes('401'))).toEqual([]);
  });
});
