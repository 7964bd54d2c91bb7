/** tfjs-node, loaded from an engine in the cache, uses the tfjs of the installation that loads it. */
import { mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { addonPath } from '../../worker/compute/engine/cache.js';
import { linkTfjsNode } from '../../worker/compute/engine/links.js';

let root: string;
let engine: string;

/** What tfjs-node does when it is loaded, in short: it shows its tfjs and its addon. */
const tfjsNode = `
const tf = require('@tensorflow/tfjs');
const addon = require('@mapbox/node-pre-gyp').find('package.json');
module.exports = { tf, core: require('@tensorflow/tfjs-core'), addon: require('node:fs').readFileSync(addon, 'utf8'), others: [require('google-protobuf'), require('progress')] };
`;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'lockstep-links-'));
  engine = join(root, 'engines', 'an-engine');
  await write(
    join(engine, 'package', 'package.json'),
    '{ "name": "@tensorflow/tfjs-node-gpu", "main": "dist/index.js" }',
  );
  await write(join(engine, 'package', 'dist', 'index.js'), tfjsNode);
  await write(addonPath(engine), 'the addon');
});

afterEach(() => rm(root, { recursive: true }));

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

/** An installation of Lockstep with its own packages; `store` is where they really are. */
async function installation(name: string, { store = '' } = {}): Promise<string> {
  const packages = ['@tensorflow/tfjs', '@tensorflow/tfjs-core', 'google-protobuf', 'progress'];
  for (const dependency of packages) {
    const visible = join(root, name, 'node_modules', dependency);
    const real = store === '' ? visible : join(root, store, dependency.replace('/', '+'), 'node_modules', dependency);
    await write(join(real, 'package.json'), JSON.stringify({ name: dependency, main: 'main.js' }));
    await write(
      join(real, 'main.js'),
      `module.exports = { of: ${JSON.stringify(name)}, name: ${JSON.stringify(dependency)} };`,
    );
    await mkdir(dirname(visible), { recursive: true });
    if (store !== '') await symlink(real, visible);
  }
  // As a package manager with a store does, tfjs-core is beside tfjs for tfjs to find.
  if (store !== '')
    await symlink(
      join(root, store, '@tensorflow+tfjs-core', 'node_modules', '@tensorflow', 'tfjs-core'),
      join(root, store, '@tensorflow+tfjs', 'node_modules', '@tensorflow', 'tfjs-core'),
    );
  return join(root, name, 'index.js');
}

interface Shown {
  readonly tf: unknown;
  readonly core: unknown;
  readonly addon: unknown;
}

function load(directory: string, from: string): Shown {
  return createRequire(from)(linkTfjsNode(directory, from)) as Shown;
}

test.each([
  ['with its packages in node_modules', ''],
  ['with its packages in a store', '.store'],
])('tfjs-node shares the tfjs of an installation %s', async (_, store) => {
  const from = await installation('app', { store });
  const shown = load(engine, from);

  // The same module instance, not an equal one.
  expect(shown.tf).toBe(createRequire(from)('@tensorflow/tfjs'));
  expect(shown.core).toEqual({ of: 'app', name: '@tensorflow/tfjs-core' });
});

test('two installations share an engine, and each has its own tfjs', async () => {
  const [one, other] = [await installation('one'), await installation('other')];

  expect(load(engine, one).tf).toMatchObject({ of: 'one' });
  expect(load(engine, other).tf).toMatchObject({ of: 'other' });
  expect(await readdir(join(engine, 'links'))).toHaveLength(2);
});

test('the links of an installation are made once', async () => {
  const from = await installation('app');
  const first = linkTfjsNode(engine, from);
  await writeFile(join(first, 'left-in-place'), '');

  expect(linkTfjsNode(engine, from)).toBe(first);
  expect(await readdir(first)).toContain('left-in-place');
  expect(await readdir(join(engine, 'links'))).toHaveLength(1);
});

test('an engine that was moved with its links still finds its addon', async () => {
  const from = await installation('app');
  linkTfjsNode(engine, from);
  const moved = join(root, 'elsewhere');
  await rename(engine, moved);

  expect(load(moved, from).addon).toBe('the addon');
});
