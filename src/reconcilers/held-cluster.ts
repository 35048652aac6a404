import type { Cluster, Executor } from '../cluster/executor.ts';

/** The cluster for whoever holds it: nothing is done to its jobs any more once it may be another process's. */
export function heldCluster(cluster: Cluster, isCurrent: () => boolean): Cluster {
  const { executor } = cluster;
  const whileHeld = <Result>(act: () => Promise<Result>): Promise<Result> => {
    if (isCurrent()) return act();
    return Promise.reject(new Error(`cluster ${cluster.settings.name} may be reconciled by another process by now; nothing was done`));
  };
  const held: Executor = {
    submit: (batch, script) => whileHeld(() => executor.submit(batch, script)),
    cancel: (slurmJobIds) => whileHeld(() => executor.cancel(slurmJobIds)),
    cancelWaiting: (slurmJobIds) => whileHeld(() => executor.cancelWaiting(slurmJobIds)),
    setHeld: (slurmJobIds, held) => whileHeld(() => executor.setHeld(slurmJobIds, held)),
    findByName: (name) => executor.findByName(name),
    readScript: (slurmJobId) => executor.readScript(slurmJobId),
    observe: (attempts) => executor.observe(attempts),
    describe: () => executor.describe(),
    limits: () => executor.limits(),
  };
  return { ...cluster, executor: held };
}
