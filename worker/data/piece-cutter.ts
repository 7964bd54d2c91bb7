/**
 * Cuts a text into pieces that can be encoded one after the other, where GPT-2's tokens cannot be other ones for it: between the
 * end of a word and white space. No token of its byte-level BPE lies on both sides.
 */

/** A piece is that long, or shorter; longer only where a single word is. */
export const pieceChars = 64 * 1024;

export class PieceCutter {
  #rest = '';
  /** From here on no word end has been looked for, where there is none before. */
  #from = 1;

  /** The pieces that are whole with this. */
  *add(text: string): Generator<string> {
    this.#rest += text;
    while (this.#rest.length > pieceChars) {
      const end = this.#wordEnd();
      if (end === 0) return;
      yield this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(end);
      this.#from = 1;
    }
  }

  /** What is left, where there is any. */
  *end(): Generator<string> {
    if (this.#rest !== '') yield this.#rest;
    this.#rest = '';
  }

  /** The last end of a word that makes a piece no longer than it should be, or else the first after it; 0 where there is none yet. */
  #wordEnd(): number {
    const rest = this.#rest;
    for (let at = Math.min(pieceChars, rest.length - 1); at >= this.#from; at--) if (endsWord(rest, at)) return at;
    for (let at = Math.max(pieceChars + 1, this.#from); at < rest.length; at++) if (endsWord(rest, at)) return at;
    this.#from = rest.length;
    return 0;
  }
}

/** Whether white space begins there, after a word. */
function endsWord(text: string, at: number): boolean {
  return isSpace(text, at) && !isSpace(text, at - 1);
}

function isSpace(text: string, at: number): boolean {
  return /\s/.test(text.charAt(at));
}
