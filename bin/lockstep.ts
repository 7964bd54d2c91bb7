#!/usr/bin/env node
/** The `lockstep` command. An error becomes one line and the exit code that its code stands for. */
import { setTimeout as delay } from 'node:timers/promises';
import { Command, CommanderError } from 'commander';
import { toLockstepError } from '../src/errors.js';
import { lockstepVersion } from '../src/version.js';
import { benchCommand } from './commands/bench.js';
import { coordinatorCommand } from './commands/coordinator.js';
import { doctorCommand } from './commands/doctor.js';
import { engineCommand } from './commands/engine.js';
import { evaluateCommand } from './commands/evaluate.js';
import { exportCommand } from './commands/export.js';
import { flightCommand } from './commands/flight.js';
import { generateCommand } from './commands/generate.js';
import { predictCommand } from './commands/predict.js';
import { scaleCommand } from './commands/scale.js';
import { statusCommand } from './commands/status.js';
import { trainCommand } from './commands/train.js';
import { workerCommand } from './commands/worker.js';

const program = new Command('lockstep')
  .description('Train TensorFlow.js models on many GPUs and hosts, with the same bits whatever fails.')
  .version(lockstepVersion)
  .showHelpAfterError('(add --help for the options)');

const commands = [
  trainCommand,
  coordinatorCommand,
  workerCommand,
  statusCommand,
  flightCommand,
  scaleCommand,
  generateCommand,
  evaluateCommand,
  predictCommand,
  exportCommand,
  benchCommand,
  engineCommand,
  doctorCommand,
];
for (const command of commands) program.addCommand(command());
for (const command of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)]) {
  command.exitOverride();
}

/** For whoever reads them to take them. */
const lastOutputMs = 10_000;

let exitCode = 0;
try {
  await program.parseAsync();
} catch (thrown) {
  exitCode = thrown instanceof CommanderError ? usageExitCode(thrown) : report(thrown);
}
// A job file may hold a timer or a connection open; the command is over all the same, once its words are out.
const written = [process.stdout, process.stderr].map((stream) => new Promise((done) => stream.write('', done)));
await Promise.race([Promise.all(written), delay(lastOutputMs)]);
process.exit(exitCode);

/** Commander has written its message already; help and version are no errors. */
function usageExitCode({ exitCode }: CommanderError): number {
  return exitCode === 0 ? 0 : 2;
}

function report(thrown: unknown): number {
  const error = toLockstepError(thrown);
  process.stderr.write(`error: ${error.message} [${error.code}]\n`);
  if (process.env['LOCKSTEP_DEBUG'] !== undefined) console.error(thrown);
  return error.exitCode;
}
