/**
 * The environment variables that TensorFlow's C++ reads, once, when it is loaded. They are the only way to say these things
 * through tfjs-node, which passes no options. Setting `process.env` before the addon is loaded reaches C++ (it is `setenv`),
 * on the main thread only.
 */
import { existsSync } from 'node:fs';

export interface TensorFlowEnvironmentOptions {
  /** TensorFlow threads; part of the numbers. */
  readonly threads: number;
  readonly device: 'auto' | 'cpu' | 'gpu';
  /** @default whether this machine has an NVIDIA driver */
  readonly driver?: boolean;
  /** What is set already. @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** The variables to set before TensorFlow is loaded. */
export function tensorflowEnvironment(options: TensorFlowEnvironmentOptions): Record<string, string> {
  const { threads, device, driver = hasNvidiaDriver(), env = process.env } = options;
  return {
    TF_NUM_INTRAOP_THREADS: String(threads),
    TF_NUM_INTEROP_THREADS: String(threads),
    OMP_NUM_THREADS: String(threads),
    // Its warnings about CPU instructions and CUDA are worth less than a readable log; the device is checked after loading.
    TF_CPP_MIN_LOG_LEVEL: env.TF_CPP_MIN_LOG_LEVEL ?? '2',
    ...(driver && device !== 'cpu' ? gpuEnvironment(env) : { CUDA_VISIBLE_DEVICES: '-1' }),
  };
}

function gpuEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return {
    // tfjs-node takes the last GPU it sees, and TensorFlow opens all of them.
    CUDA_VISIBLE_DEVICES: (env.CUDA_VISIBLE_DEVICES ?? '0').split(',', 1).join(''),
    TF_FORCE_GPU_ALLOW_GROWTH: env.TF_FORCE_GPU_ALLOW_GROWTH ?? 'true',
    // Without it some CUDA kernels add in the order in which their threads arrive, and the bits change from run to run.
    TF_DETERMINISTIC_OPS: env.TF_DETERMINISTIC_OPS ?? '1',
  };
}

const driverFiles = ['/proc/driver/nvidia/version', '/dev/nvidiactl', '/usr/lib/wsl/lib/libcuda.so.1'];

/** Whether the kernel has an NVIDIA driver, in a container too. */
export function hasNvidiaDriver(): boolean {
  return driverFiles.some((file) => existsSync(file));
}
