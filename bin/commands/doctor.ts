/** `lockstep doctor`: what this machine offers, what it lacks, and how to mend it. */
import { Command } from 'commander';
import { LockstepError } from '../../src/errors.js';
import { formatResults, runChecks, type Check, type CheckResult } from '../doctor/check.js';
import { checkCompiler, checkEngine, checkGpus, checkPython, realProbes } from '../doctor/engine.js';
import { checkCores, checkMemory, checkNode, checkOpenFiles, checkSharedMemory } from '../doctor/machine.js';
import { checkPorts, checkUnixSocket } from '../doctor/network.js';

const checks: readonly Check[] = [
  () => checkNode(),
  () => checkCompiler(realProbes),
  () => checkPython(realProbes),
  () => checkEngine(realProbes),
  () => checkGpus(realProbes),
  () => checkCores(),
  () => checkMemory(),
  () => checkSharedMemory(),
  () => checkOpenFiles(),
  () => checkPorts(),
  () => checkUnixSocket(),
];

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('check what this machine offers to a run, and say how to mend what is missing')
    .option('--json', 'as one JSON object { ok, checks: [{ name, status, found, mend }] }')
    .action(examine);
}

async function examine({ json = false }: { readonly json?: boolean }): Promise<void> {
  const results = await runChecks(checks);
  const ok = results.every(({ status }) => status !== 'bad');
  process.stdout.write(`${json ? JSON.stringify({ ok, checks: results }) : formatResults(results)}\n`);
  if (!ok) throw missing(results.filter(({ status }) => status === 'bad'));
}

function missing(bad: readonly CheckResult[]): LockstepError {
  const names = bad.map(({ name }) => name);
  const code = names.includes('engine') ? 'ERR_ENGINE_MISSING' : 'ERR_MACHINE';
  return new LockstepError(code, `This machine lacks something that training needs: ${names.join(', ')}.`, {
    details: { checks: bad },
  });
}
