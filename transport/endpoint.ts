/** Where a listener is: a TCP address, or a Unix socket on this host. Written as a URL for people. */
import { LockstepError } from '../src/errors.js';

export type Endpoint =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/**
 * Reads "ws://host:port", "host:port" or "ws+unix:/path".
 *
 * @throws LockstepError ERR_USAGE
 */
export function parseEndpoint(text: string): Endpoint {
  const unix = /^ws\+unix:(\/.*)$/.exec(text);
  if (unix?.[1]) return { kind: 'unix', path: unix[1] };
  const tcp = /^(?:ws:\/\/)?(?:\[([0-9a-fA-F:.]+)\]|([^/:[\]]+)):(\d{1,5})\/?$/.exec(text);
  const host = tcp?.[1] ?? tcp?.[2];
  const port = Number(tcp?.[3]);
  if (host && port <= 65_535) return { kind: 'tcp', host, port };
  throw new LockstepError('ERR_USAGE', `"${text}" is no address; expected HOST:PORT, ws://HOST:PORT or ws+unix:/PATH.`);
}

export function formatEndpoint(endpoint: Endpoint): string {
  return endpoint.kind === 'unix' ? `ws+unix:${endpoint.path}` : `ws://${hostAndPort(endpoint.host, endpoint.port)}`;
}

export function hostAndPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether only processes of this host can reach the endpoint. */
export function isLocal(endpoint: Endpoint): boolean {
  if (endpoint.kind === 'unix') return true;
  return endpoint.host === 'localhost' || endpoint.host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(endpoint.host);
}
