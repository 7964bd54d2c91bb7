import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

it('compiles the kernels to the very bytes that are checked in', { timeout: 60_000 }, async () => {
  const check = await execa('node', ['scripts/build-kernels.mjs', '--check'], { cwd: root, reject: false });
  expect(check.stderr).toBe('');
  expect(check.exitCode).toBe(0);
});
