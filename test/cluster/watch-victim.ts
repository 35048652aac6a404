/** Watches over the sshd whose address is its argument, says LIVE, and goes on until it is killed. */
import { openSshTransport } from '../../src/cluster/transport/ssh.ts';
import { openWatch } from '../../src/cluster/watch/open-watch.ts';
import type { TestSshd } from '../support/sshd.ts';

const { host, port, user, identityFile, knownHostsFile } = JSON.parse(process.argv[2] ?? '') as TestSshd;
const transport = openSshTransport({
  host, port, user, identityFile, agentSocket: null, knownHostsFiles: [knownHostsFile], jumps: [], connectTimeoutSeconds: 5, maxChannels: 8,
});
openWatch(transport, { info: () => undefined, warn: () => undefined }).onStatus(({ state }) => process.stdout.write(`${state}\n`));
