/** The addons' C++ sources, beside what tsc has built: an engine is made where Lockstep is installed. */
import { cpSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';

const folders = ['worker/compute/engine/native', 'worker/comm/native'];
const root = resolve(import.meta.dirname, '..');
for (const folder of folders) {
  rmSync(resolve(root, 'dist', folder), { recursive: true, force: true });
  cpSync(resolve(root, folder), resolve(root, 'dist', folder), { recursive: true });
}
