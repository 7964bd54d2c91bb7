/** `lockstep train`: a coordinator in this process, and workers as its children. */
import { Command } from 'commander';
import { parseEndpoint } from '../../transport/endpoint.js';
import { listGpus } from '../gpus.js';
import { LocalWorkers } from '../local-workers.js';
import { addLimits, limitsOf, positiveInteger } from '../options.js';
import { addRunOptions, makeView, runOptionsOf, type CommonRunOptions } from '../run-options.js';
import { runJob } from '../run.js';
import { isSupervised, supervise } from '../supervisor.js';

interface TrainOptions extends CommonRunOptions {
  readonly workers?: number;
  readonly replace: boolean;
  readonly maxReplacements: number;
}

export function trainCommand(): Command {
  const command = new Command('train')
    .description('train a job on this machine')
    .argument('<job>', 'the job file, .ts or .js')
    .option('--workers <n>', 'worker processes (default: one for each GPU, or 1)', positiveInteger)
    .option('--no-replace', 'start no other worker for one that dies')
    .option('--max-replacements <n>', 'at most so many in 10 minutes', positiveInteger, 10);
  return addLimits(addRunOptions(command)).action(async (job: string, options: TrainOptions) => {
    const common = runOptionsOf(options);
    const numCoordinatorFaults = common.faults.filter(({ kind }) => kind === 'coordinator').length;
    if (numCoordinatorFaults > 0 && !isSupervised()) await supervise(1 + numCoordinatorFaults);
    const gpus = await listGpus();
    const numWorkers = options.workers ?? Math.max(1, gpus.length);
    const { view, log } = makeView(options.json);
    const limits = limitsOf(options);
    const launcher = new LocalWorkers({
      numWorkers,
      gpus,
      command: [process.execPath, process.argv[1] ?? ''],
      json: options.json,
      limits,
      maxReplacements: options.replace ? options.maxReplacements : 0,
    });
    const listen = parseEndpoint('127.0.0.1:0');
    const summary = await runJob({ job, numWorkers, listen, limits, view, log, ...common }, launcher);
    view.done(summary);
  });
}
