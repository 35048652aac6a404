/** What a command of SLURM said when it failed. */
import { TransportError, type ExecResult } from '../transport.ts';

export function failed(argv: string[], result: ExecResult): TransportError {
  const command = argv.find((word) => /^(squeue|sacct|scancel|scontrol|sinfo|id)$/.test(word)) ?? argv[0];
  return new TransportError('unreachable', `${command}: ${complaintOf(result)}`);
}

export function complaintOf(result: ExecResult): string {
  const how = result.signal === null ? `exit code ${result.exitCode}` : `signal ${result.signal}`;
  return `${result.stderr.toString('utf8').trim().slice(0, 2000) || 'no message'} (${how})`;
}
