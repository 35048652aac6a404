/** Counts the scheduler's commands from the server's own metrics. */
import type { ServerProcess } from '../src/cli/server-process.ts';

const SAMPLE_EVERY_MS = 2000;
const MINUTE_MS = 60_000;

interface Sample {
  at: number;
  counts: Record<string, number>;
}

export class CommandMeter {
  readonly #server: ServerProcess;
  readonly #cluster: string;
  readonly #samples: Sample[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(server: ServerProcess, cluster: string) {
    this.#server = server;
    this.#cluster = cluster;
    this.#timer = setInterval(() => void this.#sample(), SAMPLE_EVERY_MS);
  }

  /** Takes no further samples by itself. */
  end(): void {
    clearInterval(this.#timer);
  }

  /** The most runs of each command within any minute until now. */
  async most(): Promise<Record<string, number>> {
    await this.#sample();
    const most: Record<string, number> = {};
    for (const [index, { at, counts }] of this.#samples.entries()) {
      const before = this.#samples.slice(0, index).findLast((sample) => at - sample.at >= MINUTE_MS)?.counts ?? {};
      for (const [command, count] of Object.entries(counts)) most[command] = Math.max(most[command] ?? 0, count - (before[command] ?? 0));
    }
    return most;
  }

  async #sample(): Promise<void> {
    this.#samples.push({ at: Date.now(), counts: await commandCounts(this.#server, this.#cluster) });
  }
}

/** How often the server has run each command of the scheduler on a cluster. */
export async function commandCounts(server: ServerProcess, cluster: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const [, labels = '', value] of (await metricsText(server)).matchAll(/^expgraph_cluster_commands_total\{(.*)\} (\d+)$/gm)) {
    const command = /command="(\w+)"/.exec(labels)?.[1];
    if (command !== undefined && labels.includes(`cluster="${cluster}"`)) counts[command] = Number(value);
  }
  return counts;
}

/** CPU time that the server has taken since it was started, without PostgreSQL's. */
export async function serverCpuMs(server: ServerProcess): Promise<number> {
  return Number(/^process_cpu_seconds_total (\S+)/m.exec(await metricsText(server))?.[1]) * 1000;
}

async function metricsText(server: ServerProcess): Promise<string> {
  const answer = await fetch(server.url.replace(/graphql$/, 'metrics'), { headers: { authorization: `Bearer ${server.token}` } });
  return answer.text();
}
