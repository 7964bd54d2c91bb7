/** Leaves out the declarations that no declaration of the library leads to: tsc writes one for each file that its sources import. */
import { readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';

const dist = resolve(import.meta.dirname, '../dist');
const entries = [join(dist, 'index.d.ts'), join(dist, 'testing', 'index.d.ts')];
const program = ts.createProgram(entries, { module: ts.ModuleKind.NodeNext, noLib: true, types: [] });
const reached = new Set(program.getSourceFiles().map(({ fileName }) => resolve(fileName)));

for (const name of readdirSync(dist, { recursive: true })) {
  const path = join(dist, name);
  if (name.endsWith('.d.ts') && !reached.has(path)) rmSync(path);
}
