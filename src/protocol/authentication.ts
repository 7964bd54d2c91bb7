/**
 * The proof of the token: a challenge and HMAC-SHA256 (RFC 2104) in both directions, so that the token never travels and
 * neither side talks to a stranger. It is over before the WebSocket opens: a stranger never gets one. Without a token
 * (loopback only) the same goes with an empty key.
 *
 *   dialler  → GET /challenge
 *   listener → { protocol, nonce }
 *   dialler  → GET / Upgrade: websocket, with both nonces and HMAC(token, "dialler" listenerNonce diallerNonce)
 *   listener → 101, with HMAC(token, "listener" listenerNonce diallerNonce)
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';

export type Token = string;

const digestSchema = z.string().regex(/^[0-9a-f]{64}$/);

export const challengeSchema = z.object({ protocol: z.int(), nonce: digestSchema });

/** The header in which each side sends its proof. */
export const proofHeader = 'x-lockstep-proof';

/** What a dialler says in the headers of its upgrade request. */
export const credentialsSchema = z.object({
  'x-lockstep-protocol': z.coerce.number().int(),
  'x-lockstep-listener-nonce': digestSchema,
  'x-lockstep-dialler-nonce': digestSchema,
  [proofHeader]: digestSchema,
});

export interface Nonces {
  readonly listener: string;
  readonly dialler: string;
}

export function makeNonce(): string {
  return randomBytes(32).toString('hex');
}

export function proveToken(token: Token, side: keyof Nonces, nonces: Nonces): string {
  return createHmac('sha256', token).update(`${side} ${nonces.listener} ${nonces.dialler}`).digest('hex');
}

/** Compares in constant time; anything but a proof is none. */
export function isProof(found: unknown, token: Token, side: keyof Nonces, nonces: Nonces): boolean {
  const digest = digestSchema.safeParse(found);
  if (!digest.success) return false;
  return timingSafeEqual(Buffer.from(digest.data, 'hex'), Buffer.from(proveToken(token, side, nonces), 'hex'));
}
