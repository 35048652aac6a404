/** A headless Chromium, spoken to by its DevTools protocol: as much of it as opening a page and running scripts in it takes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import WebSocket from 'ws';

export interface Page {
  /** Value of an expression in the page; a promise is awaited. */
  evaluate<Value>(expression: string): Promise<Value>;
  /** Waits until an expression is true in the page. */
  until(expression: string): Promise<void>;
  type(text: string): Promise<void>;
  /** Everything the page complained about: failed scripts, refused resources. */
  complaints: string[];
  close(): Promise<void>;
}

const DEADLINE_MS = 20_000;

/** The path of an installed Chromium, or null. */
export async function findChromium(): Promise<string | null> {
  for (const folder of (process.env['PATH'] ?? '').split(':')) {
    for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
      const path = join(folder, name);
      if (await access(path).then(() => true, () => false)) return path;
    }
  }
  return null;
}

class Session {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (answer: any) => void>();
  #lastId = 0;
  sessionId: string | undefined;

  constructor(socket: WebSocket, onEvent: (method: string, params: any) => void) {
    this.#socket = socket;
    socket.on('message', (data) => {
      const { id, method, params, result, error } = JSON.parse(String(data));
      if (id === undefined) return onEvent(method, params);
      this.#waiting.get(id)?.(error ? Promise.reject(new Error(error.message)) : result);
      this.#waiting.delete(id);
    });
  }

  send(method: string, params: object = {}): Promise<any> {
    const id = (this.#lastId += 1);
    this.#socket.send(JSON.stringify({ id, method, params, sessionId: this.sessionId }));
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }
}

export async function openPage(executable: string, url: string): Promise<Page> {
  const folder = await mkdtemp(join(tmpdir(), 'expgraph-browser-'));
  const browser = spawn(executable, ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--remote-debugging-port=0', `--user-data-dir=${folder}`, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const address = await new Promise<string>((resolve, reject) => {
    createInterface(browser.stderr).on('line', (line) => { const found = /DevTools listening on (ws:\S+)/.exec(line); if (found?.[1]) resolve(found[1]); });
    browser.once('exit', (code) => reject(new Error(`the browser ended with ${code}`)));
  });
  const socket = new WebSocket(address);
  await once(socket, 'open');
  const complaints: string[] = [];
  const session = new Session(socket, (method, params) => {
    if (method === 'Log.entryAdded' && params.entry.level === 'error') complaints.push(`${params.entry.text} ${params.entry.url ?? ''}`);
    if (method === 'Runtime.exceptionThrown') complaints.push(JSON.stringify(params.exceptionDetails));
  });
  const { targetId } = await session.send('Target.createTarget', { url: 'about:blank' });
  session.sessionId = (await session.send('Target.attachToTarget', { targetId, flatten: true })).sessionId;
  for (const domain of ['Page', 'Runtime', 'Log']) await session.send(`${domain}.enable`);
  await session.send('Page.navigate', { url });
  const evaluate = async (expression: string) => {
    const { result, exceptionDetails } = await session.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  return {
    evaluate, complaints,
    async until(expression) {
      const end = Date.now() + DEADLINE_MS;
      // While a page loads, what the expression asks for is not there yet.
      while (!(await evaluate(`Boolean(${expression})`).catch(() => false))) {
        if (Date.now() > end) throw new Error(`${expression} did not become true; the page shows: ${await evaluate('document.body.innerText')}; it complained: ${complaints.join('; ')}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    type: (text) => session.send('Input.insertText', { text }),
    async close() {
      const ended = once(browser, 'close');
      session.sessionId = undefined;
      session.send('Browser.close').catch(() => browser.kill('SIGKILL'));
      await ended;
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
