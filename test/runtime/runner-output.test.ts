import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createLog } from '../../src/core/index.js';
import { RunnerOutput } from '../../src/runtime/runner-output.js';

let logged: Record<string, unknown>[];
let output: RunnerOutput;
let stream: PassThrough;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  logged = [];
  const log = createLog({}, (line) => logged.push(JSON.parse(line) as Record<string, unknown>));
  output = new RunnerOutput('full', log);
  stream = new PassThrough();
  output.collect(stream);
});
afterEach(() => {
  vi.useRealTimers();
});

/** Everything written so far has been read once the stream has nothing left. */
async function print(...chunks: (string | Buffer)[]): Promise<void> {
  for (const chunk of chunks) if (!stream.write(chunk)) await once(stream, 'drain');
  while (stream.readableLength > 0) await new Promise(setImmediate);
}

it('puts lines together that come in pieces, also in the middle of a character', async () => {
  const euro = Buffer.from('€');
  await print('one\ntw', 'o\n', euro.subarray(0, 1), euro.subarray(1), '\nrest');
  expect(output.lines).toEqual(['one', 'two', '€']);
  expect(logged.map(({ event, runner, line }) => [event, runner, line])).toEqual(
    ['one', 'two', '€'].map((line) => ['runner_output', 'full', line]),
  );
  stream.destroy();
  await once(stream, 'close');
  expect(output.lines.at(-1)).toBe('rest');
});

it('keeps the last 20 lines and logs 20 a second, and says how many it left out', async () => {
  await print(Array.from({ length: 10_000 }, (_, line) => `line ${line}\n`).join(''));
  expect(output.lines).toEqual(Array.from({ length: 20 }, (_, place) => `line ${9_980 + place}`));
  expect(logged).toHaveLength(20);
  vi.advanceTimersByTime(1_000);
  await print('a second later\n');
  expect(logged.slice(20)).toMatchObject([
    { event: 'runner_output_dropped', runner: 'full', lines: 9_980 },
    { event: 'runner_output', line: 'a second later' },
  ]);
});

it('takes no more memory for a line without an end', async () => {
  for (let chunk = 0; chunk < 100; chunk++) await print('x'.repeat(100_000));
  await print('\n');
  expect(output.lines.map((line) => line.length)).toEqual([2_000]);
  expect(logged.map(({ line }) => String(line).length)).toEqual([2_000]);
});

it('lives on when the pipe breaks', async () => {
  await print('last words\n');
  const closed = new Promise((resolve) => stream.once('close', resolve));
  stream.destroy(new Error('EPIPE'));
  await closed;
  expect(output.lines).toEqual(['last words']);
});
