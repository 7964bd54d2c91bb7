import { expect, test } from 'vitest';
import { ChecksumStream } from '../../src/kernels/checksum-stream.js';
import { checksum } from '../../src/kernels/checksum.js';

const bytes = Uint8Array.from({ length: 2_300_000 }, (_, i) => (i * 2_654_435_761) >>> 11);

test.each([[0], [1], [127], [128], [129], [1 << 20], [(1 << 20) + 64], [2_300_000]])(
  'a stream of %i bytes has the checksum of all of them, however they are cut',
  (length) => {
    const stream = new ChecksumStream();
    const expected = checksum(bytes.subarray(0, length)).toString(16).padStart(8, '0');
    for (const cut of [length || 1, 64, 100_003]) {
      for (let at = 0; at < length; at += cut) stream.update(bytes.subarray(at, Math.min(at + cut, length)));
      expect(stream.take()).toBe(expected);
    }
  },
);
