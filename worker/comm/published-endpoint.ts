/** Where the coordinator of a run says that it listens, in the run's folder: another one than before may be elsewhere. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { parseEndpoint, type Endpoint } from '../../transport/endpoint.js';

const publishedSchema = z.object({ runId: z.string(), url: z.string() });

/** Null where this host does not have the folder, or another run is in it. */
export async function publishedEndpoint(runDir: string, runId: string): Promise<Endpoint | null> {
  try {
    const run = publishedSchema.parse(JSON.parse(await readFile(join(runDir, 'run.json'), 'utf8')));
    return run.runId === runId ? parseEndpoint(run.url) : null;
  } catch {
    return null;
  }
}
