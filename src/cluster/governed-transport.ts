/** A transport that keeps to the rules of a good guest: no calls while the breaker is open, no more commands of the scheduler than allowed. */
import type { Breaker } from './breaker.ts';
import type { CommandBudget } from './command-budget.ts';
import { commandUseOf, needsController, slurmCommandOf } from './slurm/commands.ts';
import { controllerFaultIn } from './slurm/controller-fault.ts';
import type { ExecOptions, ExecResult, Transport } from './transport.ts';

export interface Governors {
  breaker: Breaker;
  budget: CommandBudget;
  /** Counts the commands of the scheduler that were sent. */
  commandCounts: Map<string, number>;
}

export function governTransport(transport: Transport, { breaker, budget, commandCounts }: Governors): Transport {
  const toMachine = <Answer>(work: () => Promise<Answer>): Promise<Answer> => breaker.run('machine', work, () => null);
  async function exec(argv: string[], options?: ExecOptions): Promise<ExecResult> {
    const command = slurmCommandOf(argv);
    if (command === null) return toMachine(() => transport.exec(argv, options));
    const scope = needsController(command) ? 'scheduler' : 'machine';
    breaker.check(scope);
    await budget.take(commandUseOf(argv));
    // It may have opened while this one waited for its turn.
    return breaker.run(scope, () => {
      commandCounts.set(command, (commandCounts.get(command) ?? 0) + 1);
      return transport.exec(argv, options);
    }, controllerFaultIn);
  }
  return {
    exec,
    stream: (argv) => toMachine(() => transport.stream(argv)),
    put: (path, content) => toMachine(() => transport.put(path, content)),
    read: (ranges) => toMachine(() => transport.read(ranges)),
    list: (request) => toMachine(() => transport.list(request)),
    close: () => transport.close(),
  };
}
