/** A temporary folder as a user has it: job files, data files and runs, beside a `node_modules` that has Lockstep. */
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const packageRoot = fileURLToPath(new URL('../..', import.meta.url));

export class JobFolder implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async make(): Promise<JobFolder> {
    const path = await mkdtemp(join(tmpdir(), 'lockstep-test-'));
    await mkdir(join(path, 'node_modules'));
    await symlink(packageRoot, join(path, 'node_modules', 'lockstep'));
    return new JobFolder(path);
  }

  /** A path in this folder. */
  at(...names: readonly string[]): string {
    return join(this.path, ...names);
  }

  /** Returns the file's path. */
  async write(name: string, content: string): Promise<string> {
    await mkdir(dirname(this.at(name)), { recursive: true });
    await writeFile(this.at(name), content);
    return this.at(name);
  }

  async copy(from: string, name: string): Promise<string> {
    await cp(from, this.at(name), { recursive: true });
    return this.at(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}
