/** `lockstep worker`: one per GPU, anywhere. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { Command, Option } from 'commander';
import { readToken } from '../../coordinator/run-folder.js';
import { parseEndpoint } from '../../transport/endpoint.js';
import { runWorker } from '../../worker/worker.js';
import { loadJob } from '../job-file.js';
import { jsonLog, textLog } from '../log.js';
import { addLimits, coordinatorLimits, limitsOf, type WorkerLimits } from '../options.js';

interface WorkerCommandOptions extends WorkerLimits {
  readonly join: string;
  readonly tokenFile?: string;
  readonly listen?: string;
  readonly id?: string;
  readonly device: 'auto' | 'cpu' | 'gpu';
  readonly json: boolean;
}

export function workerCommand(): Command {
  const command = new Command('worker')
    .description('join a run as one worker')
    .argument('[job]', "the job file on this machine (default: at the coordinator's path)")
    .requiredOption('--join <url>', 'where the coordinator listens')
    .option('--token-file <file>', "the coordinator's secret")
    .option('--listen <host:port>', 'where workers of other hosts reach this one (default: this host only)')
    .option('--id <name>', 'a name of its own (default: made from the host and a random number)')
    .addOption(new Option('--device <kind>', 'what to compute on').choices(['auto', 'cpu', 'gpu']).default('auto'))
    .option('--json', 'log JSON lines on stdout', false);
  return addLimits(command, coordinatorLimits).action(
    async (jobPath: string | undefined, options: WorkerCommandOptions) => {
      const log = options.json ? jsonLog('lockstep-worker') : textLog({});
      // Who reads what this one prints may die, and the run goes on.
      for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
      const leave = new AbortController();
      // The second one ends the process, as ever.
      process.once('SIGTERM', () => {
        leave.abort();
      });
      await runWorker({
        workerId: options.id ?? `${hostname()}-${randomBytes(4).toString('hex')}`,
        coordinator: parseEndpoint(options.join),
        token: options.tokenFile === undefined ? null : await readToken(options.tokenFile),
        limits: limitsOf(options),
        listen: options.listen === undefined ? null : parseEndpoint(options.listen),
        device: options.device,
        jobPath,
        loadJob,
        leave: leave.signal,
        log,
      });
    },
  );
}
