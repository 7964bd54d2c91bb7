/** All commands. Each is loaded when it is wanted: every module costs time at a start, and a worker needs none of the others. */
import type { Command } from 'commander';

const loaders = {
  train: async () => (await import('./train.js')).trainCommand(),
  coordinator: async () => (await import('./coordinator.js')).coordinatorCommand(),
  worker: async () => (await import('./worker.js')).workerCommand(),
  status: async () => (await import('./status.js')).statusCommand(),
  flight: async () => (await import('./flight.js')).flightCommand(),
  scale: async () => (await import('./scale.js')).scaleCommand(),
  generate: async () => (await import('./generate.js')).generateCommand(),
  evaluate: async () => (await import('./evaluate.js')).evaluateCommand(),
  predict: async () => (await import('./predict.js')).predictCommand(),
  export: async () => (await import('./export.js')).exportCommand(),
  bench: async () => (await import('./bench.js')).benchCommand(),
  engine: async () => (await import('./engine.js')).engineCommand(),
  doctor: async () => (await import('./doctor.js')).doctorCommand(),
} satisfies Record<string, () => Promise<Command>>;

export type CommandName = keyof typeof loaders;

/** In the order in which help lists them. */
export const commandNames = Object.keys(loaders) as CommandName[]; // they are its keys

export async function loadCommands(names: readonly CommandName[] = commandNames): Promise<Command[]> {
  return Promise.all(names.map(async (name) => loaders[name]()));
}
