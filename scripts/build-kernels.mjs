/**
 * Compiles the kernels (src/kernels/assembly, AssemblyScript) to WebAssembly, as base64 in src/kernels/binary.ts. The
 * same compiler version gives the same bytes wherever it runs. `--check` compares with the file, and writes nothing.
 */
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const root = fileURLToPath(new URL('..', import.meta.url));
const entry = 'src/kernels/assembly/index.ts';
const output = 'src/kernels/binary.ts';

const options = [
  ...['--runtime', 'stub', '--noExportMemory', '--noAssert', '--optimizeLevel', '3', '--converge'],
  ...['--enable', 'simd', '--enable', 'threads'],
  // The memory belongs to the caller, who makes it as large as the segment needs: at most 65536 pages, 4 GiB.
  ...['--importMemory', '--sharedMemory', '--initialMemory', '0', '--maximumMemory', '65536'],
];

/**
 * The kernels as WebAssembly.
 *
 * @returns {Promise<Uint8Array>}
 */
async function compile() {
  /** @type {Uint8Array | undefined} */
  let binary;
  const { error, stderr } = await asc.main([entry, '--outFile', 'kernels.wasm', ...options], {
    readFile: (name) => readTextIfThere(join(root, name)),
    writeFile: (_name, contents) => {
      binary = /** @type {Uint8Array} */ (contents);
    },
  });
  if (error !== null || binary === undefined) {
    throw new Error(`The kernels do not compile:\n${stderr.toString()}`, { cause: error });
  }
  return binary;
}

/** asc asks for files that may not exist, and takes null for "not there". */
function readTextIfThere(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return null;
    throw error;
  }
}

function compilerVersion() {
  return createRequire(import.meta.url)('assemblyscript/package.json').version;
}

/** The text of src/kernels/binary.ts. */
export async function render() {
  const lines = Buffer.from(await compile())
    .toString('base64')
    .match(/.{1,110}/g)
    .map((line) => `  '${line}'`);
  return `/**
 * Generated from src/kernels/assembly by scripts/build-kernels.mjs (\`npm run kernels\`) with AssemblyScript
 * ${compilerVersion()}. Do not edit.
 */

/** The kernels' WebAssembly module, base64. */
export const kernelsBase64 =
${lines.join(' +\n')};
`;
}

async function main() {
  const rendered = await render();
  const path = join(root, output);
  if (!process.argv.includes('--check')) {
    await writeFile(path, rendered);
    return;
  }
  if ((await readFile(path, 'utf8')) !== rendered) {
    console.error(`${output} is not what src/kernels/assembly compiles to. Run \`npm run kernels\`.`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
