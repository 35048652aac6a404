/** What is asked about a SLURM site as a whole: who we are there, what there is, and how much of it we may use. */
import type { AccountingLimits } from '../../domain/submit-limits.ts';
import type { ClusterDescription } from '../executor.ts';
import type { Transport } from '../transport.ts';
import { associationsCommand, CONFIG_COMMAND, NODES_COMMAND, OVERVIEW_COMMAND, QOS_COMMAND } from './commands.ts';
import { failed } from './complaint.ts';
import { readOverview } from './overview.ts';
import { parseConfig, parsePartitions, type SlurmConfig } from './parse-cluster.ts';
import { parseLimits } from './parse-limits.ts';

/** How often the configuration of the cluster is asked at the most. */
const CONFIG_PERIOD_MS = 10 * 60_000;

export class SlurmSite {
  readonly #transport: Transport;
  #user: Promise<string> | null = null;
  #config: { askedAt: number; config: SlurmConfig } | null = null;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Asked once: jobs are listed by the name of the account that submits them. */
  userName(): Promise<string> {
    // The last line: a login shell may have printed a greeting before.
    this.#user ??= textOf(this.#transport, ['id', '-un']).then((text) => text.trim().split('\n').at(-1) ?? '').catch((error: unknown) => {
      this.#user = null;
      throw error;
    });
    return this.#user;
  }

  async describe(): Promise<Omit<ClusterDescription, 'hasAccounting'> & Pick<SlurmConfig, 'keepsAccounts'>> {
    const [nodes, overview, config, user] = await Promise.all([
      textOf(this.#transport, NODES_COMMAND), textOf(this.#transport, OVERVIEW_COMMAND), this.#slurmConfig(), this.userName(),
    ]);
    const { maxArraySize, maxJobCount, schedulerVersion, keepsAccounts, showsEverybody } = config;
    return { partitions: parsePartitions(nodes), ...readOverview(overview, user, showsEverybody), maxArraySize, maxJobCount, schedulerVersion, keepsAccounts };
  }

  /** Null where sacctmgr does not answer. */
  async limits(): Promise<AccountingLimits | null> {
    const { clusterName } = await this.#slurmConfig();
    const associations = await this.#transport.exec(associationsCommand(await this.userName()));
    if (associations.exitCode !== 0) return null;
    const qos = await this.#transport.exec(QOS_COMMAND);
    return qos.exitCode === 0 ? parseLimits(associations.stdout.toString('utf8'), qos.stdout.toString('utf8'), clusterName) : null;
  }

  /** Sites change it seldom, and it is long. */
  async #slurmConfig(): Promise<SlurmConfig> {
    if (this.#config === null || Date.now() - this.#config.askedAt > CONFIG_PERIOD_MS) {
      this.#config = { askedAt: Date.now(), config: parseConfig(await textOf(this.#transport, CONFIG_COMMAND)) };
    }
    return this.#config.config;
  }
}

/** Runs a command that must succeed for its output to mean anything: an empty listing is not "no jobs" when squeue failed. */
export async function textOf(transport: Transport, argv: string[]): Promise<string> {
  const result = await transport.exec(argv);
  if (result.exitCode !== 0) throw failed(argv, result);
  return result.stdout.toString('utf8');
}
