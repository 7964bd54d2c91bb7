/** The messages with which two workers open their connection, a schema for each; frames follow. Docs: docs/protocol.md. */
import { z } from 'zod';

const count = z.int().min(0);
const text = z.string().max(65_536);

const sharedMemorySchema = z.strictObject({
  pid: z.int().positive(),
  /** By segment: the number of the file that backs its memory, and what tells whether another process sees the same. */
  files: z.array(z.strictObject({ file: count, inode: text })),
  /** The byte address of each region, by segment. */
  regions: z.record(text, z.array(count)),
});
/** The flat memory of a worker, as others of its host can mount it. */
export type SharedMemory = z.output<typeof sharedMemorySchema>;

/** The first message between two workers, from the one that dials. */
export const peerHelloSchema = z.strictObject({
  type: z.literal('peer-hello'),
  runId: text,
  generation: z.int().positive(),
  rank: count,
  workerId: text,
  memory: sharedMemorySchema.nullable(),
});
/** The answer. `mounts`: its sender reads the other's memory in place from now on. */
export const peerWelcomeSchema = z.strictObject({
  type: z.literal('peer-welcome'),
  generation: z.int().positive(),
  memory: sharedMemorySchema.nullable(),
  mounts: z.boolean(),
});
/** The dialler's last word, after which frames follow. */
export const peerReadySchema = z.strictObject({ type: z.literal('peer-ready'), mounts: z.boolean() });
