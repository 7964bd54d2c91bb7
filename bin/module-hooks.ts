/**
 * Module hooks for job files: a TypeScript file is an ES module, whatever the `type` of the package around it says. tsx
 * would make CommonJS of it in a package without `"type": "module"` (npm's default), which cannot import Lockstep.
 */
import type { LoadHook, ResolveHook } from 'node:module';

const typescript = /\.tsx?(\?|$)/;

export const resolve: ResolveHook = async (specifier, context, next) => {
  const resolved = await next(specifier, context);
  return typescript.test(resolved.url) ? { ...resolved, format: 'module' } : resolved;
};

export const load: LoadHook = (url, context, next) =>
  next(url, typescript.test(url) ? { ...context, format: 'module' } : context);
