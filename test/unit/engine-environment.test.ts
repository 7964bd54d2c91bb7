/** What TensorFlow is told through the environment before it is loaded. */
import { expect, test } from 'vitest';
import { tensorflowEnvironment } from '../../worker/compute/engine/environment.js';

const onGpu = { threads: 2, device: 'auto', driver: true } as const;

test('a worker sees one GPU, the first that it may see, and its bits do not change from run to run', () => {
  const gpuVariables = { TF_FORCE_GPU_ALLOW_GROWTH: 'true', TF_DETERMINISTIC_OPS: '1' };

  expect(tensorflowEnvironment({ ...onGpu, env: {} })).toMatchObject({ CUDA_VISIBLE_DEVICES: '0', ...gpuVariables });
  expect(tensorflowEnvironment({ ...onGpu, env: { CUDA_VISIBLE_DEVICES: '3,1' } })).toMatchObject({
    CUDA_VISIBLE_DEVICES: '3',
    ...gpuVariables,
  });
  expect(tensorflowEnvironment({ ...onGpu, env: { CUDA_VISIBLE_DEVICES: '' } })).toMatchObject({
    CUDA_VISIBLE_DEVICES: '',
  });
});

test('a worker on the CPU sees no GPU', () => {
  const env = { CUDA_VISIBLE_DEVICES: '1' };
  expect(tensorflowEnvironment({ ...onGpu, device: 'cpu', env })).toMatchObject({ CUDA_VISIBLE_DEVICES: '-1' });
  expect(tensorflowEnvironment({ ...onGpu, driver: false, env })).toMatchObject({ CUDA_VISIBLE_DEVICES: '-1' });
});

test("the number of threads is the run's, whatever the shell says, and the log level is the shell's", () => {
  const env = { TF_NUM_INTRAOP_THREADS: '8', OMP_NUM_THREADS: '8', TF_CPP_MIN_LOG_LEVEL: '0' };
  expect(tensorflowEnvironment({ threads: 2, device: 'cpu', driver: false, env })).toEqual({
    TF_NUM_INTRAOP_THREADS: '2',
    TF_NUM_INTEROP_THREADS: '2',
    OMP_NUM_THREADS: '2',
    TF_CPP_MIN_LOG_LEVEL: '0',
    CUDA_VISIBLE_DEVICES: '-1',
  });
});
