/** Free loopback ports for daemons that may be stopped and started again on the same port. */
import { randomInt } from 'node:crypto';
import { createConnection, createServer } from 'node:net';
import { until } from './processes.ts';

/** Below the kernel's ephemeral range, so that an outgoing connection never takes the port of a stopped daemon. */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;

/** That many distinct ports nobody listens on now. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  let candidate = randomInt(FIRST_PORT, LAST_PORT - 2_000);
  while (ports.length < count) {
    if (candidate > LAST_PORT) throw new Error(`fewer than ${count} free ports between ${FIRST_PORT} and ${LAST_PORT}`);
    if (await isFree(candidate)) ports.push(candidate);
    candidate += 1;
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Waits until something accepts connections on the loopback port; throws after the deadline. */
export async function untilListening(port: number, what: string, timeoutMs: number): Promise<void> {
  await until(`${what} to listen on port ${port}`, timeoutMs, () => new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    socket.once('connect', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => resolve(false));
  }));
}
