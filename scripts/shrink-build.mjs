/**
 * Writes what tsc has built without its white space, a quarter of it, and in the shorter of two forms of syntax; source maps still
 * lead to the sources. The command may be run, as `npx lockstep` does in a checkout.
 */
import { chmod, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const dist = fileURLToPath(new URL('../dist', import.meta.url));
const files = await readdir(dist, { recursive: true });

await build({
  entryPoints: files.filter((name) => name.endsWith('.js')).map((name) => join(dist, name)),
  outdir: dist,
  outbase: dist,
  allowOverwrite: true,
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 120, // for the lines of a stack
  sourcemap: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
});

await chmod(join(dist, 'bin', 'lockstep.js'), 0o755);
