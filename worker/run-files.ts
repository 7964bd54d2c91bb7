/** Whether this worker sees the run directory that the coordinator has, and how it comes by the checkpoints there. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Log } from '../src/log.js';
import type { RunPlan } from '../src/protocol/messages.js';
import type { CheckpointFiles } from './checkpoint/checkpoint-files.js';
import { localFiles } from './checkpoint/local-files.js';
import { RemoteFiles } from './checkpoint/remote-files.js';
import type { CommLink } from './comm/comm-link.js';

const ownedSchema = z.object({ owner: z.string() });

/** By the mark that the coordinator has made there anew, at its start: a folder of the same name elsewhere has another one. */
export async function findFiles(plan: RunPlan, link: Pick<CommLink, 'openFiles'>, log: Log): Promise<CheckpointFiles> {
  if (await seesRunDir(plan)) return localFiles;
  log.info(`${plan.runDir} of the coordinator is not seen from this host: checkpoints go by way of the coordinator`);
  return new RemoteFiles(link.openFiles());
}

async function seesRunDir({ runDir, runDirMark }: RunPlan): Promise<boolean> {
  if (runDirMark === null) return true;
  try {
    const text = await readFile(join(runDir, 'journal.json'), 'utf8');
    return ownedSchema.parse(JSON.parse(text)).owner === runDirMark;
  } catch {
    return false;
  }
}
