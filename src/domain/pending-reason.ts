/** Why a job waits: SLURM's words for it, explained. A word that is not in the table is shown as it is, and nothing is guessed. */

export interface PendingReason {
  /** As SLURM writes it, without its details. */
  reason: string;
  /** Null for a word that is not known. */
  explanation: string | null;
  advice: string | null;
  /** Whether it starts without anybody doing something; null where that is not known. */
  willStartByItself: boolean | null;
}

/** What follows a reason after a comma or in brackets, such as the nodes that are not available. */
interface SplitReason {
  word: string;
  details: string | null;
}

interface Explanation {
  /** Matched against the word in lower case, with `_` for spaces. */
  words: RegExp;
  explanation: string;
  advice: string;
  willStartByItself: boolean | null;
}

const WAIT = 'Nothing to do: it starts when its turn comes.';
const FEWER = 'Nothing to do: it starts when jobs of that group end. To start earlier, ask for less or cancel what is not needed.';
const NEVER = 'Cancel it and submit it again with a request that the limit allows.';

/** The first row that matches stands, so special words come before the families they belong to. */
const EXPLANATIONS: readonly Explanation[] = [
  {
    words: /^resources$/, explanation: 'It is next in line and waits until enough nodes, GPUs, CPUs or memory are free at once.',
    advice: 'Nothing to do. A shorter time limit, fewer GPUs or any GPU type can start earlier, in the gaps before larger jobs.', willStartByItself: true,
  },
  { words: /^priority$/, explanation: 'Jobs of higher priority wait before it in its partition.', advice: 'Nothing to do. A shorter time limit can start earlier, in the gaps before larger jobs.', willStartByItself: true },
  { words: /^dependencyneversatisfied$/, explanation: 'The job it depends on ended in a way that its dependency rules out.', advice: 'Cancel it, mend the job it depends on, and submit both again.', willStartByItself: false },
  { words: /^dependency$/, explanation: 'It waits for another job to end, as its dependency option asks.', advice: 'Nothing to do: it starts after that job.', willStartByItself: true },
  { words: /^jobhelduser$/, explanation: 'It is held by its user.', advice: 'Release it (releaseJobs) when it may run.', willStartByItself: false },
  { words: /^jobheldadmin$/, explanation: 'It is held by an administrator, or its priority is 0.', advice: 'Ask the site; a release by its user has no effect.', willStartByItself: false },
  {
    words: /^(?:launch_failed_requeued_held|job_requeued_in_held_state|jobholdmaxrequeue|.*max_requeue.*)$/, explanation: 'Its start failed or it was requeued too often, and SLURM holds it.',
    advice: 'Release it (releaseJobs) to try again; if it comes back, a node or the prolog is broken: tell the site, and exclude the node.', willStartByItself: false,
  },
  { words: /^begintime$/, explanation: 'Its earliest start has not come: it asked for one, or it was requeued a moment ago.', advice: WAIT, willStartByItself: true },
  { words: /^jobarraytasklimit$/, explanation: 'As many tasks of its array run as the array allows at once.', advice: WAIT, willStartByItself: true },
  { words: /^partitiontimelimit$/, explanation: 'Its time limit is longer than its partition allows.', advice: 'Cancel it and submit it again with a shorter time limit (resources.timeLimitMinutes), or in another partition.', willStartByItself: false },
  { words: /^partitionnodelimit$/, explanation: 'It asks for more (or fewer) nodes than its partition allows.', advice: 'Cancel it and submit it again with a number of nodes that the partition allows, or in another partition.', willStartByItself: false },
  { words: /^partitionconfig$/, explanation: 'What it asks for exceeds what its partition has or allows.', advice: NEVER, willStartByItself: false },
  { words: /^(?:partitiondown|partitioninactive)$/, explanation: 'Its partition is switched off.', advice: 'Wait until the site brings it back, or submit to another partition.', willStartByItself: null },
  { words: /^maxmemperlimit$/, explanation: 'It asks for more memory for each CPU or node than its partition allows.', advice: NEVER, willStartByItself: false },
  { words: /^qosjoblimit$/, explanation: 'As many jobs run under its QOS as the QOS allows at once.', advice: WAIT, willStartByItself: true },
  { words: /^qos(?:usage|resource|time)\w*$/, explanation: 'It asks for more, or its QOS has used more, than the QOS allows.', advice: 'Ask the site for the limits of the QOS, or use another QOS.', willStartByItself: null },
  { words: /^qosnotallowed$/, explanation: 'Its account or partition may not use its QOS.', advice: 'Cancel it and submit it again with a QOS that is allowed (resources.qos).', willStartByItself: false },
  { words: /^(?:qosmax\w*per(?:job|node)|qosmin)\w*$/, explanation: 'It asks for more (or less) than its QOS allows one job.', advice: NEVER, willStartByItself: false },
  { words: /^(?:qos)?max\w*per(?:user|account)\w*$/, explanation: 'You (or your account) already use as much as the QOS allows at once.', advice: 'Nothing to do: it starts when your own jobs (or those of your account) end.', willStartByItself: true },
  { words: /^(?:qos)?max\w*$/, explanation: 'It, or all your jobs together, ask for more than the QOS allows.', advice: 'Compare its request with the limits of the QOS: less than one job may have starts by itself when others end, more never does.', willStartByItself: null },
  { words: /^qosgrp\w*runminutes\w*$/, explanation: 'The running jobs of the QOS have reserved as much compute time as it allows at once.', advice: FEWER, willStartByItself: true },
  { words: /^qosgrp\w*(?:minutes|mins|wall)\w*$/, explanation: 'The QOS has used up its budget of compute time.', advice: 'Wait until the budget is renewed, or use another QOS.', willStartByItself: null },
  { words: /^qosgrp\w*$/, explanation: 'All jobs of the QOS together use as much as it allows at once.', advice: FEWER, willStartByItself: true },
  { words: /^assocgrp\w*runminutes\w*$/, explanation: 'The running jobs of your account have reserved as much compute time as it may have at once.', advice: FEWER, willStartByItself: true },
  { words: /^assocgrp\w*(?:minutes|mins|wall)\w*$/, explanation: 'Your account has used up its budget of compute time.', advice: 'Wait until the budget is renewed, ask the site for more, or use another account.', willStartByItself: null },
  { words: /^assocgrp\w*$/, explanation: 'All jobs of your account together use as much as it may at once.', advice: FEWER, willStartByItself: true },
  { words: /^assocmax\w*per(?:job|node)\w*$/, explanation: 'It asks for more than your account allows one job.', advice: NEVER, willStartByItself: false },
  { words: /^assoc(?:max|iation)(?:submit)?jobs?(?:limit)?$/, explanation: 'You already have as many jobs as your account allows at once.', advice: WAIT, willStartByItself: true },
  { words: /^assoc(?:max|iation)\w*$/, explanation: 'It, or all your jobs together, ask for more than your account allows.', advice: 'Compare its request with the limits of your account: less than one job may have starts by itself when others end, more never does.', willStartByItself: null },
  { words: /^reqnodenotavail$|^nodes_required_for_job_are_down.*/, explanation: 'A node that it needs is down, drained, reserved or kept for a maintenance that begins before it could end.', advice: 'A shorter time limit may end before the maintenance. If it names nodes, constraints or a GPU type itself, widen them.', willStartByItself: null },
  { words: /^(?:nodedown|frontenddown)$/, explanation: 'A node that it needs is down.', advice: 'Wait until the site brings the node back; if the job names the node itself, choose others.', willStartByItself: null },
  { words: /^constraints$/, explanation: 'No node that has what it asks for is free or up at the moment.', advice: 'Wait until such a node is back, or submit it again with other constraints.', willStartByItself: null },
  { words: /^power(?:notavail|reserved)$/, explanation: 'The power that the site may use at once is taken or reserved.', advice: WAIT, willStartByItself: true },
  { words: /^badconstraints$/, explanation: 'No node has what it asks for (GPUs, features, memory and CPUs together).', advice: 'Cancel it and submit it again with other constraints, a smaller request or another partition.', willStartByItself: false },
  { words: /^licenses$/, explanation: 'It waits for a licence that others use.', advice: WAIT, willStartByItself: true },
  { words: /^reservationdeleted$/, explanation: 'The reservation that it asked for is gone.', advice: 'Cancel it and submit it again without the reservation.', willStartByItself: false },
  { words: /^reservation$/, explanation: 'It waits for its reservation to begin.', advice: WAIT, willStartByItself: true },
  { words: /^cleaning$/, explanation: 'It was requeued, and its earlier run is still being cleaned up.', advice: WAIT, willStartByItself: true },
  { words: /^prolog$/, explanation: 'Its nodes are being made ready.', advice: WAIT, willStartByItself: true },
  { words: /^(?:invalidaccount|accountnotallowed)$/, explanation: 'Its account is not valid, or may not use the partition.', advice: 'Cancel it and submit it again with an account that is valid (resources.account).', willStartByItself: false },
  { words: /^invalidqos$/, explanation: 'Its QOS is not valid.', advice: 'Cancel it and submit it again with a valid QOS (resources.qos).', willStartByItself: false },
  { words: /^deadline$/, explanation: 'It cannot end before its deadline.', advice: 'Cancel it and submit it again with a later deadline or a shorter time limit.', willStartByItself: false },
  { words: /^burstbufferoperation$/, explanation: 'The staging of its data failed.', advice: 'Ask the site; cancel it and submit it again when the storage works.', willStartByItself: null },
  { words: /^burstbuffer\w*$/, explanation: 'It waits for its data to be staged.', advice: WAIT, willStartByItself: true },
  { words: /^waitingforscheduling$/, explanation: 'The scheduler has not looked at it yet.', advice: WAIT, willStartByItself: null },
  { words: /^fedjoblock$/, explanation: 'The clusters of the federation are agreeing on which of them runs it.', advice: WAIT, willStartByItself: true },
  { words: /^scheddefer$/, explanation: 'The site does not start jobs at the moment of their submission; it is looked at in the next round of the scheduler.', advice: WAIT, willStartByItself: true },
  { words: /^block(?:maxerror|freeaction)$/, explanation: 'The hardware that it needs is being freed, or fails too often.', advice: 'Wait; if it stays like this, ask the site.', willStartByItself: null },
  { words: /^accountingpolicy$/, explanation: 'A limit of its account or QOS does not allow it now; SLURM does not say which.', advice: 'Ask the site for the limits of the account and the QOS.', willStartByItself: null },
];

/** What a reason that SLURM gives for a waiting job means; null when it gives none. */
export function explainPending(reason: string | null): PendingReason | null {
  if (reason === null || reason.trim() === '' || reason === 'None') return null;
  const { word, details } = split(reason);
  const key = word.toLowerCase().replaceAll(/[ -]/g, '_');
  const known = EXPLANATIONS.find(({ words }) => words.test(key));
  if (known === undefined) return { reason: word, explanation: null, advice: null, willStartByItself: null };
  const { explanation, advice, willStartByItself } = known;
  return { reason: word, explanation: details === null ? explanation : `${explanation} SLURM adds: ${details}`, advice, willStartByItself };
}

/** Why a job waits in our own queue when its cluster is one that this server does not drive. */
export function explainUnconfigured(cluster: string): PendingReason {
  return {
    reason: 'ClusterNotConfigured', explanation: `Its cluster ${JSON.stringify(cluster)} is not in the configuration of this server.`,
    advice: 'Add the cluster to expgraph.yaml and start the server again; or cancel the job and submit it to a cluster that is configured.', willStartByItself: false,
  };
}

/** `ReqNodeNotAvail, UnavailableNodes:n1` and `(launch failed requeued held)`. */
function split(reason: string): SplitReason {
  const plain = reason.trim().replace(/^\((.*)\)$/, '$1');
  const [, word = plain, details = null] = /^([A-Za-z_]+)[,(:] ?(.*?)\)?$/.exec(plain) ?? [];
  return { word, details: details === '' ? null : details };
}
