/** Packs tokens into blocks of one length: each begins with the token that the block before it ended with. */
const writeTokens = 64 * 1024;

export class TokenBlocks {
  readonly #blockTokens: number;
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  /** Whole blocks, and behind them the one that is being filled. */
  readonly #buffer: Int32Array;
  #filled = 0;
  #blockStart = 0;
  #numBlocks = 0;
  #numTokens = 0;

  /** @param blockTokens tokens of a row; a block has one more, which is the last to be predicted */
  constructor(blockTokens: number, write: (bytes: Uint8Array) => Promise<void>) {
    this.#blockTokens = blockTokens;
    this.#write = write;
    this.#buffer = new Int32Array(Math.max(writeTokens, 2 * (blockTokens + 1)));
  }

  get numBlocks(): number {
    return this.#numBlocks;
  }

  /** All that came, in blocks or not. */
  get numTokens(): number {
    return this.#numTokens;
  }

  async add(tokens: ArrayLike<number>): Promise<void> {
    for (let index = 0; index < tokens.length; index++) {
      const token = tokens[index] ?? 0;
      this.#buffer[this.#filled++] = token;
      this.#numTokens++;
      if (this.#filled - this.#blockStart <= this.#blockTokens) continue;
      this.#numBlocks++;
      this.#blockStart = this.#filled;
      if (this.#buffer.length - this.#filled <= this.#blockTokens + 1) await this.flush();
      this.#buffer[this.#filled++] = token;
    }
  }

  /** Writes the blocks that are whole. */
  async flush(): Promise<void> {
    const whole = this.#buffer.subarray(0, this.#blockStart);
    await this.#write(new Uint8Array(whole.buffer, whole.byteOffset, whole.byteLength));
    this.#buffer.copyWithin(0, this.#blockStart, this.#filled);
    this.#filled -= this.#blockStart;
    this.#blockStart = 0;
  }
}
