/**
 * What travels as bfloat16, where the job says so, and what as float32. Bits do not depend on who holds which slot:
 *
 *   the partial of one slot   is rounded to bfloat16 wherever it lies, and travels as such
 *   a sum of several          is never rounded, and travels as float32
 *   the sum over all slots    is rounded to bfloat16 for everyone, and travels as such
 *   new weights               are never rounded, and travel as float32
 *
 * Averages, losses and metrics, which are behind a bucket's trainable elements, are never rounded.
 */
export const wireFormats = ['float32', 'bfloat16'] as const;
export type WireFormat = (typeof wireFormats)[number];
