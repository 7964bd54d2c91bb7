/**
 * What a worker that does not see the run directory asks about checkpoints there. Each is answered by `file`, which has its number. What is
 * written lies aside until it is to be kept.
 */
import { z } from 'zod';

const count = z.int().min(0);
export const bytesSchema = z.custom<Uint8Array>((value) => value instanceof Uint8Array, 'expected bytes');

/** Most bytes of a file in one message, so that heartbeats need not wait behind it. */
export const filePieceBytes = 2 ** 20;

/** As file systems have it. */
const maxNameLength = 255;
const asked = { request: count, name: z.string().max(maxNameLength) };

const readSchema = z.strictObject({
  ...{ type: z.literal('read-file'), ...asked },
  at: count,
  length: count.max(filePieceBytes),
});
const writeSchema = z.strictObject({ type: z.literal('write-file'), ...asked, at: count, bytes: bytesSchema });
const keepSchema = z.strictObject({ type: z.literal('keep-file'), ...asked });

export const fileQuestionSchemas = [readSchema, writeSchema, keepSchema] as const;

/** One, before it has its number. */
export type FileQuestion =
  | Omit<z.output<typeof readSchema>, 'request'>
  | Omit<z.output<typeof writeSchema>, 'request'>
  | Omit<z.output<typeof keepSchema>, 'request'>;
