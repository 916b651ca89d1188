import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseRecipe, readRecipe, recipeSchema } from '../../src/compression/index.js';
import { schemaCheck } from '../../src/core/index.js';
import { rejectionCode } from '../support/error-code.js';

const pruned = { pass: 'prune-structured', allocation: 'global', share: 0.6 };
const lowrank = { pass: 'low-rank' };
const int8 = { pass: 'quantize-dynamic' };

describe('shorthands', () => {
  it.each([
    ['int8', [int8]],
    ['pruned', [pruned]],
    ['lowrank', [lowrank]],
    ['int8+pruned', [pruned, int8]],
    ['int8 + lowrank + pruned', [pruned, lowrank, int8]],
    [
      'w4+int4tables+sparse+heads+simplify',
      [
        { pass: 'simplify' },
        { pass: 'prune-heads' },
        { pass: 'prune-unstructured' },
        { pass: 'quantize-tables', bits: 4 },
        { pass: 'quantize-weights', bits: 4 },
      ],
    ],
    ['static', [{ pass: 'quantize-static' }]],
    [
      'w8+int8tables',
      [
        { pass: 'quantize-tables', bits: 8 },
        { pass: 'quantize-weights', bits: 8 },
      ],
    ],
  ])('%s', async (name, steps) => {
    expect(await readRecipe(name)).toEqual(steps);
  });

  it.each(['int4', 'int8+', 'int8+tiny', 'constructor', ''])('refuses "%s"', async (name) => {
    const failure = await readRecipe(name).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'RECIPE_INVALID', details: { field: 'recipe', value: name } });
  });

  it.each([
    ['int8+w4', ['int8', 'w4']],
    ['int4tables+pruned+int8tables', ['int8tables', 'int4tables']],
  ])('refuses %s, which would quantize the same weights twice', async (name, allowed) => {
    const failure = await readRecipe(name).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'RECIPE_INVALID', details: { field: 'recipe', allowed } });
  });

  it('names the one that may have been meant', async () => {
    const failure = readRecipe('lowrank+prunde').catch((error: unknown) => error);
    expect(String(await failure)).toContain('"prunde" is no recipe: one of ');
    expect(String(await failure)).toContain('did you mean pruned?');
    expect(await failure).toMatchObject({ details: { nearest: 'pruned' } });
  });
});

describe('files', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'whittle-recipes-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('are YAML or JSON', async () => {
    const steps = [
      { pass: 'prune-structured', share: 0.4, ridge: 0.1, importance: 'magnitude' },
      { pass: 'low-rank', retainedEnergy: 0.95 },
      { pass: 'quantize-dynamic', minWeights: 100, reduceRange: true },
      { pass: 'dynamic-batch', name: 'n' },
    ];
    await writeFile(join(folder, 'a.json'), JSON.stringify(steps));
    await writeFile(join(folder, 'a.yaml'), '- pass: low-rank\n  rankShare: 0.5 # half\n');
    expect(await readRecipe(join(folder, 'a.json'))).toEqual(steps);
    expect(await readRecipe(join(folder, 'a.yaml'))).toEqual([{ pass: 'low-rank', rankShare: 0.5 }]);
  });

  it('may hold a description beside the steps', async () => {
    const file = { $schema: 'recipe.schema.json', description: 'half', steps: [pruned] };
    await writeFile(join(folder, 'b.json'), JSON.stringify(file));
    expect(await readRecipe(join(folder, 'b.json'))).toEqual([pruned]);
  });

  it('that are missing or broken are errors', async () => {
    await writeFile(join(folder, 'broken.yaml'), '- pass: [');
    expect(await rejectionCode(readRecipe(join(folder, 'none.yaml')))).toBe('FILE_MISSING');
    expect(await rejectionCode(readRecipe(join(folder, 'broken.yaml')))).toBe('RECIPE_INVALID');
  });
});

describe('parseRecipe', () => {
  it.each<readonly [unknown, object]>([
    [{}, { field: 'steps' }],
    ['int8', { field: 'recipe' }],
    [{ steps: [] }, { field: 'recipe' }],
    [{ steps: [int8], step: [] }, { field: 'step' }],
    [[{ pass: 'prune-structurd' }], { step: 1, value: 'prune-structurd', nearest: 'prune-structured' }],
    [[{ pass: 'quantise' }], { step: 1, nearest: 'quantize-dynamic' }],
    [[{ ...pruned, shares: 0.5 }], { step: 1, pass: 'prune-structured', field: 'shares', nearest: 'share' }],
    [
      [{ ...lowrank, retained_energy: 0.5 }],
      { step: 1, field: 'retained_energy', nearest: 'retainedEnergy' },
    ],
    [[{ ...int8, zzz: 1 }], { step: 1, field: 'zzz', nearest: undefined }],
    [[], { field: 'recipe' }],
    [[int8, 'int8'], { step: 2, field: 'pass' }],
    [
      [{ pass: 'quantise' }],
      { step: 1, field: 'pass', value: 'quantise', allowed: expect.arrayContaining(['low-rank']) as unknown },
    ],
    [[{ pass: 'toString' }], { step: 1, field: 'pass', value: 'toString' }],
    [[int8, { ...pruned, share: 1 }], { step: 2, pass: 'prune-structured', field: 'share', value: 1 }],
    [[{ ...pruned, importance: 'guess' }], { step: 1, field: 'importance', value: 'guess' }],
    [[{ ...lowrank, rank: 3 }], { step: 1, field: 'rank' }],
    [[{ ...int8, minWeights: '9' }], { step: 1, field: 'minWeights', value: '9' }],
    [
      [int8, { ...lowrank, rankShare: 0.5, retainedEnergy: 0.9 }],
      { step: 2, pass: 'low-rank', field: 'retainedEnergy' },
    ],
  ])('refuses %j', (recipe, details) => {
    let failure: unknown;
    try {
      parseRecipe(recipe);
    } catch (error) {
      failure = error;
    }
    expect(failure).toMatchObject({ code: 'RECIPE_INVALID', details });
  });
});

describe('recipeSchema', () => {
  it('is what docs/recipe.schema.json says; `vitest run test/compression/recipes.test.ts -u` writes it', async () => {
    const text = `${JSON.stringify(recipeSchema(), null, 2)}\n`;
    await expect(text).toMatchFileSnapshot('../../docs/recipe.schema.json');
  });

  const check = schemaCheck(recipeSchema(), 'RECIPE_INVALID', 'recipe');

  it.each([[[pruned, int8]], [{ description: 'both', steps: [pruned, { ...lowrank, rankShare: 0.5 }] }]])(
    'takes %j',
    (recipe) => {
      expect(check(recipe)).toEqual(recipe);
      expect(parseRecipe(recipe).length).toBe(2);
    },
  );

  it.each([[[]], [[{ pass: 'quantise' }]], [[{ ...pruned, share: 2 }]], [[{ share: 0.5 }]], [{ steps: {} }]])(
    'refuses %j',
    (recipe) => {
      expect(() => check(recipe)).toThrow('recipe');
    },
  );
});
