/** The wire format, by the examples of https://protobuf.dev/programming-guides/encoding. */
import { expect, test } from 'vitest';
import { Message } from '../../../worker/compute/compiled/wire.js';

const hex = (message: Message) => Buffer.from(message.encode()).toString('hex');

test('writes an integer as a varint', () => {
  expect(hex(new Message().integer(1, 150))).toBe('089601');
});

test('writes a negative integer as ten bytes', () => {
  expect(hex(new Message().integer(1, -2))).toBe('08feffffffffffffffff01');
});

test('writes a string with its length', () => {
  expect(hex(new Message().bytes(2, 'testing'))).toBe('120774657374696e67');
});

test('writes a message inside a message', () => {
  expect(hex(new Message().message(3, new Message().integer(1, 150)))).toBe('1a03089601');
});

test('writes a float as four bytes, least significant first', () => {
  expect(hex(new Message().float(4, 1))).toBe('250000803f');
});
