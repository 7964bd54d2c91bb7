/** Two workers beside PyTorch DDP and TensorFlow MultiWorkerMirrored: an MLP, one thread for each worker. */
import { join } from 'node:path';
import { z } from 'zod';
import { freePort, jsonLines } from '../child.js';
import { peersFolder, type PythonModule } from '../python.js';
import type { RowPlan, Side, Suite } from '../suite.js';
import { measureTraining } from '../training-run.js';
import type { Context } from './context.js';

interface Network {
  readonly job: string;
  readonly hidden: number;
  /** Of one worker. */
  readonly batchSize: number;
  /** Of a peer: some seconds. */
  readonly peerSteps: number;
  readonly target: number;
}

const networks: readonly Network[] = [
  { job: 'mlp.ts', hidden: 128, batchSize: 32, peerSteps: 3000, target: 2.5 },
  { job: 'mlp.ts', hidden: 128, batchSize: 256, peerSteps: 1000, target: 2 },
  { job: 'wide-mlp.ts', hidden: 2048, batchSize: 256, peerSteps: 40, target: 1.8 },
];

/** As the peers read theirs. */
const inFileOrder = ['shuffle=false'];

const figure = 'samples/s';
const lineSchema = z.object({ samplesPerSecond: z.number() });

const scripts = {
  'pytorch-ddp': { script: 'ddp_train.py', module: 'torch' },
  'tensorflow-mwms': { script: 'tf_train.py', module: 'tensorflow' },
} as const satisfies Record<string, { script: string; module: PythonModule }>;

export type Peer = keyof typeof scripts;

export function peerSuites(context: Context): Suite[] {
  return networks.map((network) => {
    const name = `two workers: MLP h=${network.hidden}, batch ${network.batchSize} each`;
    const row = (peer: Peer, target: number | null): RowPlan => ({
      name: name.replace(':', ','),
      unit: figure,
      ours: { side: 'lockstep', figure },
      peer: { side: peer, figure },
      better: 'higher',
      target,
    });
    return {
      name,
      sides: [
        oursSide(network, context),
        peerSide({ ...network, peer: 'pytorch-ddp', numWorkers: 2 }, context),
        peerSide({ ...network, peer: 'tensorflow-mwms', numWorkers: 2 }, context),
      ],
      rows: [row('pytorch-ddp', network.target), row('tensorflow-mwms', null)],
    };
  });
}

function oursSide({ job, batchSize }: Network, { seconds }: Context): Side {
  const measure = async () => {
    const global = 2 * batchSize;
    const { stepsPerSecond } = await measureTraining({
      job,
      numWorkers: 2,
      batchSize: global,
      seconds,
      set: inFileOrder,
    });
    return { [figure]: stepsPerSecond * global };
  };
  return { name: 'lockstep', measure };
}

interface PeerRun extends Pick<Network, 'hidden' | 'batchSize' | 'peerSteps'> {
  readonly peer: Peer;
  readonly numWorkers: number;
  /** @default the peer's */
  readonly name?: string;
}

/** A peer's training; the figure is samples/s over all its workers. */
export function peerSide({ peer, name = peer, ...run }: PeerRun, { python }: Context): Side {
  const { script, module } = scripts[peer];
  const measure = async () => {
    if ((await python.version(module)) === null) return null;
    const flags = { workers: run.numWorkers, hidden: run.hidden, batch: run.batchSize, steps: run.peerSteps };
    const args = Object.entries({ ...flags, port: await freePort() }).flatMap(([flag, value]) => [
      `--${flag}`,
      String(value),
    ]);
    const [line] = await jsonLines(lineSchema, python.executable, [join(peersFolder, script), ...args]);
    if (!line) throw new Error(`${script} wrote no JSON line`);
    return { [figure]: line.samplesPerSecond };
  };
  return { name, measure };
}
