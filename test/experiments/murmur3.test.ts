import { describe, expect, it } from 'vitest';
import { murmur3 } from '../../src/experiments/index.js';

describe('murmur3', () => {
  // Edges of the 32-bit range, seed 0: a wrong sign or a lost carry shows here.
  it.each([
    ['ejOoVL', 0x00000000],
    ['bY9fO-', 0x00000001],
    ['SI7p-', 0x7fffffff],
    ['6LvT0', 0x80000000],
    ['ceQdGm', 0xffffffff],
  ])('hashes %j to the edge %d', (text, expected) => {
    expect(murmur3(text)).toBe(expected);
  });

  // Published vectors of MurmurHash3_x86_32 (SMHasher and the implementations tested against it), every tail length.
  it.each([
    ['', 0, 0],
    ['', 1, 0x514e28b7],
    ['', 0xffffffff, 0x81f16f39],
    ['a', 0x9747b28c, 0x7fa09ea6],
    ['aa', 0x9747b28c, 0x5d211726],
    ['aaa', 0x9747b28c, 0x283e0130],
    ['aaaa', 0x9747b28c, 0x5a97808a],
    ['abc', 0, 0xb3dd93fa],
    ['Hello, world!', 0x9747b28c, 0x24884cba],
    ['ππππππππ', 0x9747b28c, 0xd58063c1],
    ['The quick brown fox jumps over the lazy dog', 0, 0x2e4ff723],
  ])('hashes %j with seed %d', (text, seed, expected) => {
    expect(murmur3(text, seed)).toBe(expected);
  });
});
