/** The arguments of the programs: flags only, each with its help; any other word is refused. */
import { stripVTControlCharacters } from 'node:util';
import { renderUsage, runMain, type BooleanArgDef } from 'citty';

const HELP = ['--help', '-h'];
const USAGE_EXIT_CODE = 2;

interface Program<Flag extends string> {
  /** How it is called on the command line. */
  name: string;
  description: string;
  /** What each of its flags does. */
  flags: Record<Flag, string>;
  run(flags: Record<Flag, boolean>): Promise<void>;
}

/** Runs a program. `--help` and unknown arguments end the process before it runs. */
export async function runProgram<Flag extends string>({ name, description, flags, run }: Program<Flag>): Promise<void> {
  const given = process.argv.slice(2);
  const known = (Object.keys(flags) as Flag[]).map((flag) => ({ flag, word: `--${flag}` }));
  const unknown = given.filter((word) => !HELP.includes(word) && !known.some((each) => each.word === word));
  if (unknown.length > 0) {
    const valid = [...known.map(({ word }) => word), ...HELP].join(', ');
    process.stderr.write(`unknown: ${unknown.map((word) => JSON.stringify(word)).join(', ')}; valid after "${name}" are ${valid}\n`);
    process.exit(USAGE_EXIT_CODE);
  }
  const args: Record<string, BooleanArgDef> = Object.fromEntries(known.map(({ flag }) => [flag, { type: 'boolean', description: flags[flag] }]));
  await runMain({
    meta: { name, description }, args,
    run: () => run(Object.fromEntries(known.map(({ flag, word }) => [flag, given.includes(word)])) as Record<Flag, boolean>),
  }, {
    showUsage: async (command) => {
      const usage = await renderUsage(command);
      process.stdout.write(`${process.stdout.isTTY ? usage : stripVTControlCharacters(usage)}\n`);
    },
  });
}
