import { mkdtemp, rm, writeFile, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { whittle } from './whittle.js';

let folder = '';
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-refusals-'));
  await writeFile(at('events.csv'), 'customer,sku,ts\na,x,1\na,y,2\n');
  await writeFile(at('typo.yaml'), 'servre: {}\n');
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const COMMANDS = [
  'serve',
  'train',
  'bundle create',
  'inspect',
  'compress',
  'diff',
  'evaluate',
  'demo',
  'audit verify',
];

// Processes that start at the same time share the machine's cores.
describe.concurrent('help', () => {
  test.each(COMMANDS)('of %s shows examples of it', async (command) => {
    const { code, stdout, stderr } = await whittle(...command.split(' '), '--help');
    expect([code, stderr]).toEqual([0, '']);
    const [options = '', examples = ''] = stdout.split('\nExamples:\n');
    expect(options).toContain(`Usage: whittle ${command}`);
    const lines = examples.trim().split('\n');
    expect(lines.length).toBeGreaterThan(1);
    for (const line of lines) {
      expect(line).toMatch(new RegExp(`^ *\\$ whittle ${command}( |$)`));
      // An example that names an option that is not there teaches a mistake.
      for (const [option] of line.matchAll(/--[a-z-]+/g)) expect(options).toContain(`${option} `);
    }
  });

  test('without a command lists them all', async () => {
    const { stdout, stderr, code } = await whittle();
    expect(code).toBe(2);
    for (const command of COMMANDS) expect(stdout + stderr).toContain(`\n  ${command.split(' ')[0] ?? ''} `);
  });

  test('says the version of the package', async () => {
    const { default: manifest } = (await import('../../package.json', { with: { type: 'json' } })) as {
      default: { version: string };
    };
    expect((await whittle('--version')).stdout.trim()).toBe(manifest.version);
  });
});

describe.concurrent('wrong use is exit code 2 with a hint', () => {
  const refused: readonly (readonly [string, string])[] = [
    ['serve --zzz', "unknown option '--zzz'"],
    ['train data --out x --zzz', "unknown option '--zzz'"],
    ['bundle create --model m --out x --zzz', "unknown option '--zzz'"],
    ['compress x --recipe int8 --zzz', "unknown option '--zzz'"],
    ['inspect x --zzz', "unknown option '--zzz'"],
    ['evaluate x --data y --zzz', "unknown option '--zzz'"],
    ['demo --zzz', "unknown option '--zzz'"],
    ['train events.csv', "required option '--out <folder>' not specified"],
    ['train events.csv --out x --dimensions 15', 'even'],
  ];
  test.each(refused)('%s', async (line, hint) => {
    const { code, stdout, stderr } = await whittle(...line.split(' '));
    expect([code, stdout]).toEqual([2, '']);
    const [said = '', more = '', ...rest] = stderr.trimEnd().split('\n');
    expect(said).toContain(hint);
    expect(more).toBe('(add --help for the options and examples)');
    expect(rest).toEqual([]);
  });
});

describe.concurrent('what cannot be done is one line with its code', () => {
  const failures: readonly (readonly [string, number, string, string])[] = [
    ['train @none.csv --out @x', 1, 'DATASET_INVALID', 'none.csv does not exist'],
    ['train @events.csv --out @x', 1, 'DATASET_INVALID', 'lacks the column user, item, time'],
    ['compress @none --recipe int4', 2, 'RECIPE_INVALID', 'int4'],
    ['compress @none --recipe @none.json', 1, 'FILE_MISSING', 'none.json'],
    ['compress @none --recipe int8', 1, 'FILE_MISSING', 'none does not exist'],
    ['evaluate @none --data @events.csv', 1, 'FILE_MISSING', 'none/bundle.json'],
    ['serve @none', 1, 'FILE_MISSING', 'none/bundle.json'],
    ['serve @none --port 70000', 2, 'USAGE_INVALID', '0 to 65535'],
    ['serve --config @typo.yaml', 2, 'CONFIG_INVALID', 'servre'],
  ];
  test.each(failures)('%s', async (line, exitCode, errorCode, names) => {
    const { code, stdout, stderr } = await whittle(
      ...line.split(' ').map((arg) => arg.replace(/^@/, at('/'))),
    );
    expect([code, stdout]).toEqual([exitCode, '']);
    const said = stderr.trimEnd().split('\n').at(-1) ?? '';
    expect(said).toMatch(new RegExp(`^${errorCode}: `));
    expect(said).toContain(names);
    expect(stderr).not.toMatch(/\n {4}at /);
  });

  test('and as JSON for programs', async () => {
    const { code, stderr } = await whittle('train', at('none.csv'), '--out', at('x'), '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toEqual({
      error: {
        code: 'DATASET_INVALID',
        message: `${at('none.csv')} does not exist`,
        details: { path: at('none.csv') },
        retryable: false,
      },
    });
  });
});

test('nothing that failed left anything behind', async () => {
  expect((await readdir(folder)).sort()).toEqual(['events.csv', 'typo.yaml']);
});
