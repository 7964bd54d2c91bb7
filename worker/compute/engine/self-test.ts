/** Proves that an engine computes, in a process of its own: a library that does not suit the processor kills its process. */
import { z } from 'zod';
import { LockstepError } from '../../../src/errors.js';
import { run as runCommand, type Run } from './command.js';
import { tensorflowEnvironment } from './environment.js';
import { linkTfjsNode } from './links.js';

const program = `
require('node:util').isNullOrUndefined = (value) => value === null || value === undefined;
const tf = require(process.argv[1]);
const product = tf.matMul(tf.tensor2d([[1, 2], [3, 4]]), tf.tensor2d([[5, 6], [7, 8]])).dataSync();
const { binding, isUsingGpuDevice } = tf.backend();
const result = { product: [...product], tensorflow: binding.TF_Version, device: isUsingGpuDevice ? 'gpu' : 'cpu' };
process.stdout.write(JSON.stringify(result));
`;

const expectedProduct = [19, 22, 43, 50];
/** The first use of a GPU by a new TensorFlow compiles kernels for it. */
const timeoutMs = 180_000;

const resultSchema = z.object({
  product: z.array(z.number()),
  /** As the library says: "2.21.0". */
  tensorflow: z.string(),
  device: z.enum(['cpu', 'gpu']),
});

export type SelfTest = Readonly<z.output<typeof resultSchema>>;

/**
 * Multiplies two matrices with the engine in `directory`.
 *
 * @throws LockstepError ERR_ENGINE_INSTALL, with what the process said when it died, or the wrong product
 */
export async function testEngine(directory: string, run: Run = runCommand): Promise<SelfTest> {
  const env = tensorflowEnvironment({ threads: 1, device: 'auto' });
  const output = await run(process.execPath, ['-e', program, linkTfjsNode(directory)], { env, timeoutMs });
  const result = resultSchema.parse(JSON.parse(output));
  if (JSON.stringify(result.product) !== JSON.stringify(expectedProduct))
    throw new LockstepError(
      'ERR_ENGINE_INSTALL',
      `A matrix product is ${String(result.product)}, not ${String(expectedProduct)}`,
    );
  return result;
}
