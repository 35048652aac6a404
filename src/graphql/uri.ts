/** Where a file on a cluster is, in one text. */
import type { ClusterSettings } from '../domain/cluster-settings.ts';

/** `ssh://user@host[:port]/path`, or `file:///path` where the cluster is this machine or is no longer configured. */
export function fileUri(cluster: Pick<ClusterSettings, 'ssh'> | undefined, path: string): string {
  const encoded = path.split('/').map(encodeURIComponent).join('/');
  const ssh = cluster?.ssh ?? null;
  if (ssh === null) return `file://${encoded}`;
  const host = ssh.host.includes(':') ? `[${ssh.host}]` : ssh.host;
  return `ssh://${encodeURIComponent(ssh.user)}@${host}${ssh.port === 22 ? '' : `:${ssh.port}`}${encoded}`;
}
