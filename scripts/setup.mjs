/**
 * Sets up what is missing in a checkout, before `npm start` and `npm test`: packages, build, engine. Plain Node and no package,
 * since it runs before there are any. When nothing is missing it looks at files' times and starts no process.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const stampPath = join(root, 'node_modules', '.lockstep-setup.json');
const entry = join(root, 'dist', 'bin', 'lockstep.js');
const sourceTrees = ['bin', 'src', 'coordinator', 'transport', 'worker', 'testing'];
const oldestNode = [20, 19];
const exitMachineLacks = 3;

requireNode();
// No package's install script is needed (bin/lockstep.ts installs the engine), so none is run.
// Not `npm ci`: it refuses a lock file that was written where the registry lacked another platform's optional binaries.
if (!packagesAreCurrent())
  phase('installing packages', 'npm', ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund']);

const done = readStamp();
const sources = fingerprint(sourceFiles());
if (done.sources !== sources || !existsSync(entry)) {
  phase('building', 'npm', ['run', '--silent', 'build']);
  writeStamp({ sources });
}
if (!engineIsCurrent()) installEngine();

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1])) return;
  fail(
    `Lockstep needs Node ${oldestNode.join('.')} or later; this is Node ${process.versions.node}.`,
    exitMachineLacks,
  );
}

/** npm writes its own copy of the lock file when it has installed everything. */
function packagesAreCurrent() {
  return modifiedMs('node_modules/.package-lock.json') >= modifiedMs('package-lock.json');
}

/** A later attempt would fail as the first did: it is made when the sources change, or by hand. */
function installEngine() {
  if (readStamp().engineFailed) return;
  if (timed('installing the engine', process.execPath, [entry, 'engine', 'install', '--if-missing']) === 0) {
    writeStamp({ sources, engine: currentEngine() });
    return;
  }
  say('no engine, for the reasons above: training runs in plain JavaScript until `npx lockstep engine install` works');
  writeStamp({ sources, engineFailed: true });
}

/** Whether the engine is whole is for whoever loads it. A build may come with another addon of our own. */
function engineIsCurrent() {
  if (process.env.LOCKSTEP_ENGINE === 'js') return true;
  const current = currentEngine();
  return current !== null && readStamp().engine === current;
}

/** What says which engine is in use. */
function currentEngine() {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const path = join(cache, 'lockstep', `current-${process.platform}-${process.arch}.json`);
  return existsSync(path) ? `${path} ${readFileSync(path, 'utf8')}` : null;
}

/** A step that the rest needs: its failure ends the set-up. */
function phase(title, command, args) {
  const status = timed(title, command, args);
  if (status !== 0) fail(`set-up: ${title} failed with exit code ${status}; its messages are above`, status);
}

function timed(title, command, args) {
  say(`${title} …`);
  const startedAt = performance.now();
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (error) say(error.message);
  say(`${title} took ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
  return status ?? 1;
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampPath, 'utf8'));
  } catch {
    return {};
  }
}

function writeStamp(stamp) {
  writeFileSync(stampPath, `${JSON.stringify(stamp)}\n`);
}

function sourceFiles() {
  const configs = readdirSync(root).filter((name) => /^tsconfig.*\.json$/.test(name));
  const trees = sourceTrees.filter((tree) => existsSync(join(root, tree)));
  // How it is built counts as what is built.
  const scripts = ['shrink-build', 'trim-types', 'copy-native'].map((name) => `scripts/${name}.mjs`);
  const build = ['package.json', 'package-lock.json', ...scripts];
  return ['index.ts', ...build, ...configs, ...trees.flatMap(filesIn)];
}

function filesIn(tree) {
  const entries = readdirSync(join(root, tree), { recursive: true, withFileTypes: true });
  return entries.filter((file) => file.isFile()).map((file) => join(file.parentPath ?? file.path, file.name));
}

/** Changes when a file is added, removed or written. */
function fingerprint(paths) {
  const lines = paths.sort().map((path) => `${path} ${modifiedMs(path)}`);
  return createHash('sha256').update(lines.join('\n')).digest('hex');
}

function modifiedMs(path) {
  return statSync(resolve(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function say(line) {
  process.stderr.write(`set-up: ${line}\n`);
}

function fail(line, exitCode) {
  process.stderr.write(`${line}\n`);
  process.exit(exitCode);
}
