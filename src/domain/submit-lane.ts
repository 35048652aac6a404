/** What a submission asks for that a site's limits go by: jobs of one lane are taken or turned away together. Null: the cluster's default. */
export interface SubmitLane {
  partition: string | null;
  account: string | null;
  qos: string | null;
}

/** Jobs by lane. */
export interface LaneCount extends SubmitLane {
  count: number;
}

/** One text for a lane; no name has a bar in it. The database makes the same of a job's resources. */
export function laneKey({ partition, account, qos }: SubmitLane): string {
  return [partition, account, qos].map((name) => name ?? '').join('|');
}

export function parseLaneKey(key: string): SubmitLane {
  const [partition = '', account = '', qos = ''] = key.split('|');
  return { partition: partition || null, account: account || null, qos: qos || null };
}
