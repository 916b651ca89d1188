import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sha256, sha256File } from '../../src/core/index.js';

// FIPS 180-4 example messages (NIST, SHA256.pdf) and the empty one.
const golden = [
  ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
  [
    'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
    '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
  ],
] as const;
const millionA = 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-hash-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

test.each(golden)('sha256 of %j, as text and as bytes', (message, digest) => {
  expect(sha256(message)).toBe(digest);
  expect(sha256(new TextEncoder().encode(message))).toBe(digest);
});

test('sha256 sees only the bytes of a view, not its whole buffer', () => {
  const buffer = new TextEncoder().encode('xabcx');
  expect(sha256(buffer.subarray(1, 4))).toBe(golden[1][1]);
});

test('sha256File reads a file that is larger than one chunk', async () => {
  const file = join(folder, 'million');
  await writeFile(file, 'a'.repeat(1_000_000));
  expect(await sha256File(file)).toBe(millionA);
});

test('sha256File of a missing file rejects', async () => {
  await expect(sha256File(join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
});
