#!/usr/bin/env node
/** The `lockstep` command. An error becomes one line and the exit code that its code stands for. */
import { setTimeout as delay } from 'node:timers/promises';
import { Command, CommanderError } from 'commander';
import { toLockstepError } from '../src/errors.js';
import { lockstepVersion } from '../src/version.js';
import { commandNames, loadCommands } from './commands/index.js';

const program = new Command('lockstep')
  .description('Train TensorFlow.js models on many GPUs and hosts, with the same bits whatever fails.')
  .version(lockstepVersion)
  .showHelpAfterError('(add --help for the options)');

const called = commandNames.find((name) => name === process.argv[2]);
for (const command of await loadCommands(called && [called])) program.addCommand(command);
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
