/** Two workers beside one, the same batch for each worker, one thread each; and the same of PyTorch DDP. */
import type { RowPlan, Side, Suite } from '../suite.js';
import { measureTraining } from '../training-run.js';
import type { Context } from './context.js';
import { peerSide } from './peers.js';

const figure = 'samples/s';

interface Network {
  readonly job: string;
  readonly name: string;
  /** Of one worker. */
  readonly batchSize: number;
  readonly target: number;
  /** Of ddp_train.py, where it has the network. */
  readonly hidden?: number;
}

const networks: readonly Network[] = [
  { job: 'cnn.ts', name: 'CNN 32-64, batch 64 each', batchSize: 64, target: 1.9 },
  { job: 'wide-mlp.ts', name: 'MLP h=2048, batch 256 each', batchSize: 256, target: 1.5, hidden: 2048 },
];

const peerSteps = 40;
const apart = 'lockstep, 2 apart';

/** In the names of its rows. */
export const runsApart = 'separate runs of one worker';

export function scalingSuites(context: Context): Suite[] {
  return networks.map((network) => ({
    name: `scaling: ${network.name}`,
    sides: [1, 2]
      .flatMap((numWorkers) => [oursSide(network, numWorkers, context), ...ddpSides(network, numWorkers, context)])
      .concat(apartSide(network, context)),
    rows: [
      row(`1 → 2 workers, ${network.name}`, ['lockstep, 2', 'lockstep, 1'], network.target),
      row(`1 → 2 ${runsApart}, ${network.name}`, [apart, 'lockstep, 1'], null),
      row(`1 → 2 workers of PyTorch DDP, ${network.name}`, ['pytorch-ddp, 2', 'pytorch-ddp, 1'], null),
    ],
  }));
}

function row(name: string, [two, one]: readonly [string, string], target: number | null): RowPlan {
  const of = (side: string) => ({ side, figure });
  return { name, unit: figure, ours: of(two), peer: of(one), better: 'higher', target };
}

function oursSide({ job, batchSize }: Network, numWorkers: number, { seconds }: Context): Side {
  const measure = async () => {
    const global = numWorkers * batchSize;
    const { stepsPerSecond } = await measureTraining({ job, numWorkers, batchSize: global, seconds });
    return { [figure]: stepsPerSecond * global };
  };
  return { name: `lockstep, ${numWorkers}`, measure };
}

/** What two computations at once have of this machine: no two workers that wait for each other can have more. */
function apartSide({ job, batchSize }: Network, { seconds }: Context): Side {
  const measure = async () => {
    const runs = [1, 2].map(() => measureTraining({ job, numWorkers: 1, batchSize, seconds }));
    const rates = (await Promise.all(runs)).map(({ stepsPerSecond }) => stepsPerSecond * batchSize);
    return { [figure]: rates.reduce((sum, rate) => sum + rate, 0) };
  };
  return { name: apart, measure };
}

function ddpSides({ hidden, batchSize }: Network, numWorkers: number, context: Context): Side[] {
  if (hidden === undefined) return [];
  const run = {
    hidden,
    batchSize,
    peerSteps,
    numWorkers,
    peer: 'pytorch-ddp',
    name: `pytorch-ddp, ${numWorkers}`,
  } as const;
  return [peerSide(run, context)];
}
