/**
 * The Python that the peers run in: an environment of its own in Lockstep's cache, made at the first use, or the one that
 * LOCKSTEP_BENCH_VENV names. A peer that cannot be had is skipped, with a line that says why.
 */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { root } from './child.js';

/** Packages by the module that shows that they work: an optional dependency may be missing. */
const packages = {
  torch: 'torch',
  tensorflow: 'tensorflow-cpu',
  safetensors: 'safetensors',
  transformers: 'transformers',
} as const;

const venvTimeoutMs = 120_000;
/** On a slow line there is no peer. */
const installTimeoutMs = 600_000;

export type PythonModule = keyof typeof packages;

export const peersFolder = join(root, 'bench', 'peers');

/** Where words for people go. */
interface Tell {
  readonly say: (line: string) => void;
  /** What is left out, and why. */
  readonly skip: (why: string) => void;
}

export class PeerPython {
  readonly #folder: string;
  readonly #isOurs: boolean;
  readonly #tell: Tell;
  readonly #versions = new Map<PythonModule, string | null>();

  constructor(tell: Tell) {
    const given = process.env['LOCKSTEP_BENCH_VENV'];
    const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
    this.#folder = given ?? join(cache, 'lockstep', 'bench-venv');
    this.#isOurs = given === undefined;
    this.#tell = tell;
  }

  get executable(): string {
    return join(this.#folder, 'bin', 'python');
  }

  /** Of the modules that were asked for and are there. */
  get versions(): Record<string, string> {
    return Object.fromEntries(
      [...this.#versions].flatMap(([module, version]) => (version === null ? [] : [[module, version]])),
    );
  }

  /** The module's version, or null where it cannot be had; installs it first where the environment is ours. */
  async version(module: PythonModule): Promise<string | null> {
    const known = this.#versions.get(module);
    if (known !== undefined) return known;
    let version = await this.#import(module);
    if (version === null && this.#isOurs) {
      const why = await this.#install(module);
      version = await this.#import(module);
      if (version === null) this.#tell.skip(`${packages[module]} cannot be installed: ${why}`);
    } else if (version === null) this.#tell.skip(`${this.executable} has no ${module}`);
    this.#versions.set(module, version);
    return version;
  }

  async #import(module: PythonModule): Promise<string | null> {
    if (!existsSync(this.executable)) return null;
    const program = `import ${module}; print(${module}.__version__)`;
    const { failed, stdout } = await execa(this.executable, ['-c', program], { reject: false });
    return failed ? null : stdout.trim();
  }

  /** What went wrong, in one line; whether it matters, an import will show. */
  async #install(module: PythonModule): Promise<string> {
    this.#tell.say(`installing ${packages[module]} in ${this.#folder} …`);
    if (!existsSync(this.executable)) {
      const made = await execa('python3', ['-m', 'venv', this.#folder], { reject: false, timeout: venvTimeoutMs });
      if (made.failed) return lastLine(made.stderr) || 'python3 -m venv failed';
    }
    const pip = ['-m', 'pip', 'install', '--quiet', '--retries', '0', '--timeout', '10', packages[module]];
    const { stderr, timedOut } = await execa(this.executable, pip, { reject: false, timeout: installTimeoutMs });
    return timedOut ? `it took more than ${installTimeoutMs / 60_000} minutes` : lastLine(stderr);
  }
}

function lastLine(text: string | undefined): string {
  return text?.trim().split('\n').at(-1) ?? '';
}
