/**
 * The part of the WebAssembly JavaScript interface (https://www.w3.org/TR/wasm-js-api-2/ and the threads proposal) that
 * Lockstep uses. TypeScript has it only in its DOM library, which would let browser globals into Node code.
 */
declare namespace WebAssembly {
  class Memory {
    constructor(descriptor: { readonly initial: number; readonly maximum: number; readonly shared: true });
    readonly buffer: SharedArrayBuffer;
  }

  class Module {
    constructor(bytes: Uint8Array);
  }

  class Instance {
    constructor(module: Module, imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>);
    readonly exports: Readonly<Record<string, unknown>>;
  }
}
