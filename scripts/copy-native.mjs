/** The addon's C++ sources, beside what tsc has built: an engine is made where Lockstep is installed. */
import { cpSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';

const folder = 'worker/compute/engine/native';
const root = resolve(import.meta.dirname, '..');
rmSync(resolve(root, 'dist', folder), { recursive: true, force: true });
cpSync(resolve(root, folder), resolve(root, 'dist', folder), { recursive: true });
