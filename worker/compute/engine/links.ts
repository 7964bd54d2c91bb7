/**
 * Makes tfjs-node-gpu share Lockstep's one copy of tfjs. Node resolves a package from where the requiring file really is, so
 * tfjs-node-gpu's JavaScript is copied (it is small) into a folder whose `node_modules` links to the packages that Lockstep
 * itself uses; the addon and TensorFlow stay where they are. One folder per set of packages, named by their paths: two
 * installations of Lockstep on one machine share an engine and not these links.
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { z } from 'zod';
import { LockstepError } from '../../../src/errors.js';
import { addonPath } from './cache.js';

/** What tfjs-node requires at run time; tfjs-core is the one that Lockstep's tfjs itself uses. */
function linkTargets(from: string): readonly (readonly [string, string])[] {
  const tfjs = packageDirectory('@tensorflow/tfjs', from);
  return [
    ['@tensorflow/tfjs', tfjs],
    ['@tensorflow/tfjs-core', packageDirectory('@tensorflow/tfjs-core', join(tfjs, 'package.json'))],
    ['google-protobuf', packageDirectory('google-protobuf', from)],
    ['progress', packageDirectory('progress', from)],
  ];
}

/** Change it when what is written below changes: old folders are then left alone. */
const layoutVersion = '1';

/**
 * The folder of tfjs-node-gpu, ready to be required; made on first use.
 *
 * @param directory of the engine
 * @param from any file of the installation whose packages are used
 */
export function linkTfjsNode(directory: string, from: string = import.meta.url): string {
  const targets = linkTargets(from);
  const hash = createHash('sha256')
    .update(JSON.stringify([layoutVersion, targets]))
    .digest('hex')
    .slice(0, 16);
  const links = join(directory, 'links', hash);
  if (!existsSync(links)) makeLinks(directory, links, targets);
  return join(links, 'node_modules', '@tensorflow', 'tfjs-node-gpu');
}

function makeLinks(directory: string, links: string, targets: readonly (readonly [string, string])[]): void {
  const aside = `${links}.${randomUUID()}`;
  const modules = join(aside, 'node_modules');
  copyJavaScript(join(directory, 'package'), join(modules, '@tensorflow', 'tfjs-node-gpu'));
  for (const [name, target] of targets) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(target, join(modules, name), 'dir');
  }
  writeAddonFinder(join(modules, '@mapbox', 'node-pre-gyp'), directory);
  moveIntoPlace(aside, links);
}

function copyJavaScript(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  cpSync(join(from, 'package.json'), join(to, 'package.json'));
  cpSync(join(from, 'dist'), join(to, 'dist'), {
    recursive: true,
    filter: (path) => !path.endsWith('.d.ts') && !path.endsWith('_test.js'),
  });
}

/** All that tfjs-node asks of node-pre-gyp at run time is where the addon is. Relative: a cache may be copied elsewhere. */
function writeAddonFinder(finder: string, engine: string): void {
  const addon = JSON.stringify(relative(finder, addonPath(engine)));
  mkdirSync(finder, { recursive: true });
  writeFileSync(join(finder, 'package.json'), '{ "name": "@mapbox/node-pre-gyp", "main": "index.js" }\n');
  writeFileSync(join(finder, 'index.js'), `exports.find = () => require('node:path').join(__dirname, ${addon});\n`);
}

function moveIntoPlace(aside: string, links: string): void {
  try {
    renameSync(aside, links);
  } catch (error) {
    // Another worker of this machine, starting at the same moment, was first; its folder is the same.
    if (!existsSync(links)) throw error;
    rmSync(aside, { recursive: true, force: true });
  }
}

/** The real folder of a package as `from` resolves it, so hoisting and pnpm's stores work alike. */
function packageDirectory(name: string, from: string): string {
  const main = realpathSync(createRequire(from).resolve(name));
  for (let directory = dirname(main); directory !== dirname(directory); directory = dirname(directory)) {
    if (packageName(directory) === name) return directory;
  }
  throw new LockstepError('ERR_ENGINE_MISSING', `${name} resolves to ${main}, which is in no package of that name`);
}

function packageName(directory: string): string | undefined {
  const path = join(directory, 'package.json');
  if (!existsSync(path)) return undefined;
  return z.object({ name: z.string().optional() }).parse(JSON.parse(readFileSync(path, 'utf8'))).name;
}
