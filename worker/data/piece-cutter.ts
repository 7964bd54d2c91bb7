/**
 * Cuts a text into pieces that can be encoded one after the other, where GPT-2's tokens cannot be other ones for it: between the
 * end of a word and white space. No token of its byte-level BPE lies on both sides.
 */

/** A piece is that long, or shorter; longer only where a single word is. */
export const pieceChars = 64 * 1024;

export class PieceCutter {
  /** What belongs to no piece yet, joined when there is a piece in it: once, however many parts a line or a word comes in. */
  #parts: string[] = [];
  #numChars = 0;
  /** They are a word longer than a piece, that only what comes can end. */
  #isUnended = false;

  /** The pieces that are whole with this. */
  *add(text: string): Generator<string> {
    if (text === '') return;
    const before = this.#parts.at(-1)?.at(-1) ?? '';
    this.#parts.push(text);
    this.#numChars += text.length;
    if (this.#numChars <= pieceChars || (this.#isUnended && !/\S\s/.test(before + text))) return;
    let rest = this.#parts.join('');
    this.#isUnended = false;
    while (rest.length > pieceChars && !this.#isUnended) {
      const end = wordEnd(rest);
      this.#isUnended = end === 0;
      if (end > 0) yield rest.slice(0, end);
      rest = rest.slice(end);
    }
    this.#parts = [rest];
    this.#numChars = rest.length;
  }

  /** What is left, where there is any. */
  *end(): Generator<string> {
    const rest = this.#parts.join('');
    this.#parts = [];
    this.#numChars = 0;
    this.#isUnended = false;
    if (rest !== '') yield rest;
  }
}

/** The last end of a word that makes a piece no longer than it should be, or else the first after it; 0 where there is none yet. */
function wordEnd(text: string): number {
  for (let at = Math.min(pieceChars, text.length - 1); at > 0; at--) if (endsWord(text, at)) return at;
  for (let at = pieceChars + 1; at < text.length; at++) if (endsWord(text, at)) return at;
  return 0;
}

/** Whether white space begins there, after a word. */
function endsWord(text: string, at: number): boolean {
  return isSpace(text, at) && !isSpace(text, at - 1);
}

function isSpace(text: string, at: number): boolean {
  return /\s/.test(text.charAt(at));
}
