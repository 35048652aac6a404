/** Facts reach a subscriber at once, over real SSH from a real SLURM, though polling would take a minute; and when the push fails, polling goes on. */
import { mkdir, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureRig, rigCluster, rigUnavailableReason, slurm, type Rig } from '../rig/rig.ts';
import { isAlive, until } from '../rig/processes.ts';
import { collectUntil } from '../support/graphql-client.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';

const SUBMIT_JOB = `mutation ($input: SubmitJobInput!) { submitJob(input: $input) { job { id } userErrors { field message code } } }`;
const JOB = `query ($id: ID!) { job(id: $id) { state stateReason attempts { state exitCode slurmJobId nodeList startedAt elapsedSeconds } } }`;
const EVENTS = `subscription ($filter: JobEventFilter) { jobEvents(filter: $filter, after: "0") { kind toState } }`;
const CLUSTERS = '{ clusters { name watch watchReason } }';
const ENDS = ['COMPLETED', 'FAILED', 'CANCELLED', 'LOST'];

interface JobEvent {
  kind: string;
  toState: string | null;
}

const skipReason = rigUnavailableReason();
if (skipReason !== null && process.env['CI']) throw new Error(`in CI the cluster tests must run: ${skipReason}`);

describe.skipIf(skipReason !== null)(`push and poll on a SLURM cluster${skipReason === null ? '' : ` (skipped: ${skipReason})`}`, () => {
  let rig: Rig;
  let pushed: TestSshd;
  let polled: TestSshd;
  let server: TestServer;

  /** A door of our own to the rig's SLURM, which may be closed without disturbing others. */
  function openDoor(environment: string): Promise<TestSshd> {
    return startSshd({ user: rig.user, configLines: [`SetEnv SLURM_CONF=${rigCluster(rig, 'alpha').slurmConf}${environment}`] });
  }

  const clusterText = (name: string, { host, port, user, identityFile, knownHostsFile }: TestSshd, pollSeconds: string) => `
  ${name}:
    kind: slurm
    rootDirectory: ${rigCluster(rig, 'alpha').rootDirectory}/push-test
    ssh: { host: ${host}, port: ${port}, user: ${user}, identityFile: ${identityFile}, knownHostsFile: ${knownHostsFile} }
    defaults: { partition: gpu, account: cds, cpus: 1, memoryMiB: 100, timeLimitMinutes: 10 }
    pollSeconds: ${pollSeconds}`;

  beforeAll(async () => {
    rig = await ensureRig();
    pushed = await openDoor('');
    // Every command there is, but no Python.
    const commands = join(pushed.folder, 'no-python');
    await mkdir(commands);
    for (const name of await readdir('/usr/bin')) if (!name.startsWith('python')) await symlink(join('/usr/bin', name), join(commands, name));
    polled = await openDoor(` PATH=${commands}`);
    server = await startTestServer({
      configText: `defaultCluster: pushed\nclusters:${clusterText('pushed', pushed, '{ min: 60, max: 60 }')}${clusterText('polled', polled, '{ min: 1, max: 2 }')}\n`,
    });
    await watchIs('pushed', 'LIVE');
  }, 180_000);
  afterAll(async () => {
    await server?.stop();
    await Promise.all([pushed?.remove(), polled?.remove()]);
  }, 60_000);

  async function watchOf(name: string): Promise<{ watch: string; watchReason: string | null }> {
    const { clusters } = await server.client.request(CLUSTERS);
    return clusters.find((cluster: { name: string }) => cluster.name === name);
  }
  const watchIs = (name: string, state: string) => until(`${name} to be ${state}`, 30_000, async () => (await watchOf(name)).watch === state);

  async function submit(name: string, command: string[], cluster = 'pushed'): Promise<string> {
    const { submitJob } = await server.client.request(SUBMIT_JOB, { input: { project: 'tests', experiment: 'push', name, config: { name }, cluster, command } });
    expect(submitJob.userErrors).toEqual([]);
    return submitJob.job.id;
  }

  const events = (jobId: string, last: (event: JobEvent) => boolean, deadlineMs: number) => (
    collectUntil<JobEvent>(server.client, EVENTS, { filter: { jobIds: [jobId] } }, (all) => all.some(last), deadlineMs));
  const states = (all: JobEvent[]) => all.filter(({ kind }) => kind === 'JOB_STATE_CHANGED').map(({ toState }) => toState);
  const ends = ({ kind, toState }: JobEvent) => kind === 'JOB_STATE_CHANGED' && ENDS.includes(toState ?? '');
  const readJob = async (id: string) => (await server.client.request(JOB, { id })).job;

  test('a start, a metric line, a checkpoint and an end reach a subscriber long before the next poll', async () => {
    const jobId = await submit('writes', ['sh', '-c', 'echo "{\\"step\\":1,\\"loss\\":0.5}" >> "$EXPGRAPH_METRICS"; echo x > "$EXPGRAPH_CHECKPOINTS_DIR/last.ckpt"; sleep 2']);
    const all = await events(jobId, ends, 30_000);
    expect(states(all)).toEqual(['QUEUED', 'SUBMITTING', 'PENDING', 'RUNNING', 'COMPLETED']);
    const kinds = all.map(({ kind, toState }) => toState ?? kind);
    for (const kind of ['METRICS_APPENDED', 'CHECKPOINT_CHANGED']) expect(kinds.slice(0, kinds.lastIndexOf('COMPLETED'))).toContain(kind);
    expect(await readJob(jobId)).toMatchObject({ state: 'COMPLETED', attempts: [{ exitCode: 0, nodeList: expect.stringMatching(/^a\d$/), startedAt: expect.any(String) }] });
  }, 60_000);

  test('a job that fails, and one that ends well only because it was told to end, get their state from SLURM without a poll', async () => {
    const failing = await submit('fails', ['sh', '-c', 'exit 3']);
    expect(states(await events(failing, ends, 40_000)).at(-1)).toBe('FAILED');
    expect(await readJob(failing)).toMatchObject({ stateReason: 'exit code 3', attempts: [{ state: 'FAILED', exitCode: 3 }] });
    const cancelled = await submit('obeys TERM', ['bash', '-c', 'trap "exit 0" TERM; sleep 600 & wait']);
    await events(cancelled, ({ toState }) => toState === 'RUNNING', 30_000);
    const { attempts: [{ slurmJobId }] } = await readJob(cancelled);
    await slurm(rig, 'alpha', ['scancel', slurmJobId]);
    expect(states(await events(cancelled, ends, 40_000)).at(-1)).toBe('CANCELLED');
  }, 120_000);

  test('what the exit record of a job does not know is filled in from accounting', async () => {
    const jobId = await submit('is accounted for', ['sleep', '1']);
    await events(jobId, ends, 30_000);
    const elapsed = async (): Promise<number> => (await readJob(jobId)).attempts[0].elapsedSeconds;
    expect(Number.isInteger(await elapsed())).toBe(false);
    // Whoever asks SLURM about another job asks about this one, too.
    await events(await submit('fails again', ['sh', '-c', 'exit 3']), ends, 40_000);
    await until('whole seconds, as accounting has them', 40_000, async () => Number.isInteger(await elapsed()));
    expect(await readJob(jobId)).toMatchObject({ state: 'COMPLETED', attempts: [{ state: 'COMPLETED', exitCode: 0 }] });
  }, 120_000);

  test('without python3 the cluster says so, and polling tells the same', async () => {
    expect(await watchOf('polled')).toMatchObject({ watch: 'POLLING', watchReason: 'there is no python3 on the machine that is watched' });
    const jobId = await submit('polled', ['sh', '-c', 'echo "{\\"step\\":1,\\"loss\\":0.5}" >> "$EXPGRAPH_METRICS"; sleep 1'], 'polled');
    const all = await events(jobId, ends, 40_000);
    expect(states(all)).toEqual(['QUEUED', 'SUBMITTING', 'PENDING', 'RUNNING', 'COMPLETED']);
    expect(all.map(({ kind }) => kind)).toContain('METRICS_APPENDED');
  }, 60_000);

  test('when sshd goes the cluster is POLLING and says why, when it is back LIVE, and what was missed is told', async () => {
    const jobId = await submit('ends unseen', ['sleep', '6']);
    await events(jobId, ({ toState }) => toState === 'RUNNING', 30_000);
    await pushed.stop();
    await watchIs('pushed', 'POLLING');
    expect((await watchOf('pushed')).watchReason).toMatch(/connection|reach/);
    await pushed.start();
    await watchIs('pushed', 'LIVE');
    expect(states(await events(jobId, ends, 40_000)).at(-1)).toBe('COMPLETED');
  }, 120_000);

  test('the commands of the scheduler are counted, and nothing is left on the cluster when the server stops', async () => {
    const answer = await fetch(server.url.replace(/graphql$/, 'metrics'), { headers: { authorization: `Bearer ${server.token}` } });
    const metrics = await answer.text();
    for (const command of ['sbatch', 'squeue', 'sacct', 'sinfo', 'scontrol']) {
      expect(metrics).toMatch(new RegExp(`expgraph_cluster_commands_total\\{cluster="pushed",command="${command}"\\} [1-9]`));
    }
    const running = pushed.processes();
    expect(running.length).toBeGreaterThan(0);
    await server.stop();
    await until('everything on the cluster to be gone', 30_000, () => !running.some((process) => isAlive(process)) && pushed.processes().length === 0);
  }, 60_000);
});
