/**
 * What sbatch says when it submits nothing, or cannot tell, in the words of SLURM's own sources, and what each means for us.
 * The first row that matches counts; what a site's own plugin says matches none.
 */
import type { SubmitFailure } from '../executor.ts';

interface SubmitErrorRow {
  words: RegExp;
  failure: SubmitFailure;
}

export const SUBMIT_ERRORS: readonly SubmitErrorRow[] = [
  // The request had been sent before this went wrong: nobody knows whether it was taken.
  { words: /socket timed out on send\/recv operation/i, failure: 'ambiguous' },
  { words: /unable to contact slurm controller \((?:send|receive|shutdown) failure\)/i, failure: 'ambiguous' },
  { words: /zero bytes were transmitted or received/i, failure: 'ambiguous' },
  { words: /unexpected message received|insane message length|header lengths are longer/i, failure: 'ambiguous' },
  { words: /message (?:send|receive) failure|communication shutdown failure/i, failure: 'ambiguous' },
  { words: /connection timed out (?:writing|reading)|connection reset|broken pipe|incomplete reply/i, failure: 'ambiguous' },
  { words: /delayed socket error|forced closed by quiesce timeout|closing all communications/i, failure: 'ambiguous' },

  // The site says that there are too many jobs of this user, account or QOS.
  { words: /(?:assoc|qos)(?:max|grp)submitjob\w*/i, failure: 'limit' },
  { words: /maxsubmitjob\w*/i, failure: 'limit' },
  // Another word of accounting stands for what one job may ask for.
  { words: /^sbatch: error: (?:assoc|qos)\w+\s*$/im, failure: 'refused' },
  // The message without any word is about the number of jobs or the size of one: the dispatch finds out which.
  { words: /job violates accounting\/qos policy/i, failure: 'limit' },
  // The queue of the whole cluster is full. sbatch itself has tried for two minutes by then.
  { words: /unable to create job record, try again|job queue full|maxjobcount limit reached/i, failure: 'limit' },

  // Nothing was submitted, and the same may go later.
  { words: /unable to contact slurm controller|communication connection failure|connection timed out establishing/i, failure: 'transient' },
  { words: /resource temporarily unavailable|temporarily unable to accept|creation temporarily disabled/i, failure: 'transient' },
  { words: /rate limit exceeded/i, failure: 'transient' },
  { words: /required partition not available|partition in down state|requested partition configuration not available now/i, failure: 'transient' },
  { words: /requested nodes are busy|required node not available/i, failure: 'transient' },
  { words: /reservation not usable now|reservation is in use|licenses currently unavailable/i, failure: 'transient' },
  { words: /submissions disabled|presently disabled|controller is in standby|controller in standby|backup mode/i, failure: 'transient' },
  { words: /munge|auth\w* credential|protocol authentication|incompatible versions of client and server/i, failure: 'transient' },
  { words: /i\/o error writing|no space left|disk quota/i, failure: 'transient' },
  { words: /unable to resolve|could not resolve|slurm\.conf|slurm_persist|slurmdbd|unable to connect to database/i, failure: 'transient' },
  { words: /command not found|sbatch: not found|no such file or directory/i, failure: 'transient' },
  { words: /cannot fork|out of memory|cannot allocate memory/i, failure: 'transient' },

  // Whatever else sbatch itself complains of is wrong with the job, and would be again: an account, partition, QOS or feature that is not
  // there, more than a node has, a dependency, an array or an option that it does not understand.
  { words: /^sbatch: /im, failure: 'refused' },
];
