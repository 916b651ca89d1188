const C1 = 0xcc9e2d51;
const C2 = 0x1b873593;

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function scramble(block: number): number {
  return Math.imul(rotateLeft(Math.imul(block, C1), 15), C2);
}

/** The last one to three bytes, little-endian; 0 where the length is a multiple of four. */
function tailBlock(bytes: Uint8Array, start: number): number {
  let block = 0;
  for (let index = bytes.length - 1; index >= start; index--) block = (block << 8) | (bytes[index] ?? 0);
  return block;
}

function finalMix(hash: number): number {
  let mixed = hash;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** MurmurHash3_x86_32 (Appleby 2011) of the text's UTF-8 bytes, an unsigned 32-bit integer. */
export function murmur3(text: string, seed = 0): number {
  const bytes = Buffer.from(text, 'utf8');
  const blocksEnd = bytes.length & ~3;
  let hash = seed;
  for (let offset = 0; offset < blocksEnd; offset += 4) {
    hash = rotateLeft(hash ^ scramble(bytes.readInt32LE(offset)), 13);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  hash ^= scramble(tailBlock(bytes, blocksEnd));
  return finalMix(hash ^ bytes.length);
}
