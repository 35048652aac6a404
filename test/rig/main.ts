/** `up`, `down` and `status` of the test rig. The last line that `up` prints is the path of its `expgraph.yaml`. */
import { defineCommand, runMain } from 'citty';
import { ensureRig, rigDirectory, rigStatus, rigUnavailableReason, takeDownRig } from './rig.ts';

const say = (line: string) => process.stdout.write(`${line}\n`);

function refuseWhereUnavailable(): void {
  const reason = rigUnavailableReason();
  if (reason === null) return;
  process.stderr.write(`${reason}\n`);
  process.exit(1);
}

const up = defineCommand({
  meta: { name: 'up', description: 'Build two SLURM clusters with an sshd each, or answer with the ones that run' },
  async run() {
    refuseWhereUnavailable();
    const rig = await ensureRig(say);
    for (const { name, nodes, sshPort } of rig.clusters) {
      say(`${name}: ${nodes.length} nodes, ssh -p ${sshPort} -i ${rig.identityFile} -o UserKnownHostsFile=${rig.knownHostsFile} ${rig.user}@127.0.0.1`);
    }
    say(rig.configPath);
  },
});

const down = defineCommand({
  meta: { name: 'down', description: 'Stop everything the rig started and remove its folder' },
  async run() {
    refuseWhereUnavailable();
    say(await takeDownRig() ? `${rigDirectory()} is gone` : `no rig in ${rigDirectory()}`);
  },
});

const status = defineCommand({
  meta: { name: 'status', description: 'Show what runs; exit code 1 unless the rig is whole' },
  run() {
    const { rig, daemons } = rigStatus();
    for (const daemon of daemons) say(`${daemon.isAlive ? 'up  ' : 'DOWN'} ${daemon.name} (pid ${daemon.pid})`);
    say(rig === null ? `no whole rig in ${rigDirectory()}` : rig.configPath);
    process.exitCode = rig === null ? 1 : 0;
  },
});

await runMain(defineCommand({ meta: { name: 'rig', description: 'Two real SLURM clusters for tests' }, subCommands: { up, down, status } }));
