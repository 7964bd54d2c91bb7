/** `lockstep coordinator`: one per run, on its own; workers join from anywhere. */
import { hostname } from 'node:os';
import { Command } from 'commander';
import { formatEndpoint, parseEndpoint, type Endpoint } from '../../transport/endpoint.js';
import { addLimits, limitsOf, positiveInteger } from '../options.js';
import { addRunOptions, makeView, runOptionsOf, type CommonRunOptions } from '../run-options.js';
import { runJob, type Launcher } from '../run.js';

interface CoordinatorOptions extends CommonRunOptions {
  readonly workers: number;
  readonly listen: string;
}

export function coordinatorCommand(): Command {
  const command = new Command('coordinator')
    .description('coordinate a run whose workers are started elsewhere')
    .argument('<job>', 'the job file, .ts or .js')
    .requiredOption('--workers <n>', 'workers that the run wants, and starts with', positiveInteger)
    .option('--listen <host:port>', 'where workers connect; port 0 takes a free one', '127.0.0.1:0');
  return addLimits(addRunOptions(command)).action(async (job: string, options: CoordinatorOptions) => {
    const { view, log } = makeView(options.json);
    const launcher: Launcher = {
      start: ({ coordinator, tokenFile }) => {
        const url = formatEndpoint(reachableFrom(coordinator.endpoint));
        view.note(`Start ${options.workers} worker(s): lockstep worker --join ${url} --token-file ${tokenFile}`);
      },
      scale: (numWorkers) => {
        view.note(`The run wants ${numWorkers} worker(s): those that are too many leave, and others may join.`);
      },
      explainLoss: () => Promise.resolve(null),
      end: () => undefined,
      kill: () => undefined,
      release: () => undefined,
      close: () => Promise.resolve(),
    };
    const listen = parseEndpoint(options.listen);
    const common = runOptionsOf(options);
    const numWorkers = options.workers;
    const summary = await runJob(
      { job, numWorkers, listen, limits: limitsOf(options), view, log, ...common },
      launcher,
    );
    view.done(summary);
  });
}

/** A wildcard address is where to listen; others dial a name. */
function reachableFrom(endpoint: Endpoint): Endpoint {
  const isWildcard = endpoint.kind === 'tcp' && (endpoint.host === '0.0.0.0' || endpoint.host === '::');
  return isWildcard ? { ...endpoint, host: hostname() } : endpoint;
}
