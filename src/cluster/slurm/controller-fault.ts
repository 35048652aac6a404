import type { ExecResult } from '../transport.ts';

/** What SLURM's commands say when they did not get an answer from the controller. */
const NO_ANSWER = /unable to contact slurm controller|socket timed out on send\/recv|zero bytes were transmitted|communication connection failure|connection timed out (?:establishing|writing|reading)|controller in standby|controller is in standby/i;

/** The line in which a command says that SLURM's controller did not answer it; null when it did. */
export function controllerFaultIn({ exitCode, stderr }: ExecResult): string | null {
  if (exitCode === 0) return null;
  const line = stderr.toString('utf8').split('\n').find((each) => NO_ANSWER.test(each));
  return line === undefined ? null : line.trim();
}
