import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { schemaCheck, toWhittleError, WhittleError } from '../core/index.js';
import { dynamicBatch } from './dynamic-batch.js';
import type { DynamicBatchParameters } from './dynamic-batch.js';
import { lowRank } from './low-rank.js';
import type { LowRankParameters } from './low-rank.js';
import type { Pass } from './pass.js';
import { pruneStructured } from './prune-structured.js';
import type { PruneStructuredParameters } from './prune-structured.js';
import { quantizeDynamic } from './quantize-dynamic.js';
import type { QuantizeDynamicParameters } from './quantize-dynamic.js';

/** A pass by name with its parameters; one that is absent has the pass's default. */
export type RecipeStep =
  | ({ readonly pass: 'quantize-dynamic' } & QuantizeDynamicParameters)
  | ({ readonly pass: 'prune-structured' } & PruneStructuredParameters)
  | ({ readonly pass: 'low-rank' } & LowRankParameters)
  | ({ readonly pass: 'dynamic-batch' } & DynamicBatchParameters);

/** Passes in the order in which they are applied. */
export type Recipe = readonly RecipeStep[];

type PassName = RecipeStep['pass'];

const share = { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 };
const basis = { enum: ['activations', 'weights'] };

/** JSON schema of each pass's parameters. */
const PARAMETERS: Readonly<Record<PassName, Readonly<Record<string, object>>>> = {
  'quantize-dynamic': { minWeights: { type: 'integer', minimum: 0 }, reduceRange: { type: 'boolean' } },
  'prune-structured': { share, basis, ridge: { type: 'number', exclusiveMinimum: 0 } },
  'low-rank': { rankShare: share, retainedEnergy: share, basis },
  'dynamic-batch': { name: { type: 'string', minLength: 1 } },
};

/** Recipes by name, in the order in which a composition applies them: int8 last, for the others cannot read int8. */
const SHORTHANDS: Readonly<Record<string, RecipeStep>> = {
  pruned: { pass: 'prune-structured' },
  lowrank: { pass: 'low-rank' },
  int8: { pass: 'quantize-dynamic' },
};

/**
 * A recipe from a shorthand (`int8`, `pruned`, `lowrank`, or several joined by `+`, applied in the order pruned, lowrank,
 * int8 however they are written) or from the path of a JSON or YAML file.
 * @throws RECIPE_INVALID naming the step and the field; FILE_MISSING.
 */
export async function readRecipe(shorthandOrPath: string): Promise<Recipe> {
  const names = shorthandOrPath.split('+').map((name) => name.trim());
  if (names.every((name) => Object.hasOwn(SHORTHANDS, name)))
    return Object.entries(SHORTHANDS).flatMap(([name, step]) => (names.includes(name) ? [step] : []));
  if (!['.json', '.yaml', '.yml'].includes(extname(shorthandOrPath)))
    throw invalid(`"${shorthandOrPath}" is neither a shorthand nor a .json, .yaml or .yml file`, {
      field: 'recipe',
      value: shorthandOrPath,
      allowed: [...Object.keys(SHORTHANDS), 'several joined by +', 'a file'],
    });
  return parseRecipe(parseText(await readText(shorthandOrPath), shorthandOrPath));
}

/**
 * Checks a recipe: a list of `{ pass, ...parameters }`.
 * @throws RECIPE_INVALID naming the step and the field.
 */
export function parseRecipe(value: unknown): Recipe {
  if (!Array.isArray(value) || value.length === 0)
    throw invalid('A recipe is a list with at least one step', {
      field: 'recipe',
      value,
      allowed: 'a list of steps',
    });
  return value.map((step: unknown, index) => parseStep(step, index + 1));
}

/** The pass of a step. @throws RECIPE_INVALID for parameters that contradict each other. */
export function createPass(step: RecipeStep): Pass {
  switch (step.pass) {
    case 'quantize-dynamic':
      return quantizeDynamic(step);
    case 'prune-structured':
      return pruneStructured(step);
    case 'low-rank':
      return lowRank(step);
    case 'dynamic-batch':
      return dynamicBatch(step);
  }
}

function parseStep(value: unknown, number: number): RecipeStep {
  const pass = typeof value === 'object' && value !== null && 'pass' in value ? value.pass : undefined;
  if (typeof pass !== 'string' || !Object.hasOwn(PARAMETERS, pass)) {
    const allowed = Object.keys(PARAMETERS);
    const message = `Recipe step ${number}: field pass is wrong: one of ${allowed.join(', ')}`;
    throw invalid(message, { step: number, field: 'pass', value: pass, allowed });
  }
  const schema = {
    type: 'object',
    properties: { pass: { const: pass }, ...PARAMETERS[pass as PassName] },
    additionalProperties: false,
  };
  try {
    const step = schemaCheck<RecipeStep>(schema, 'RECIPE_INVALID', `Recipe step ${number} (${pass})`)(value);
    createPass(step);
    return step;
  } catch (thrown) {
    const error = toWhittleError(thrown);
    throw new WhittleError(error.code, error.message, { step: number, pass, ...error.details }, error);
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new WhittleError('FILE_MISSING', `Cannot read the recipe ${path}`, { path }, error);
  }
}

function parseText(text: string, path: string): unknown {
  try {
    // JSON is YAML.
    return parseYaml(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw invalid(`${path} is not valid YAML or JSON: ${reason}`, {
      field: 'recipe',
      path,
      allowed: 'YAML or JSON',
    });
  }
}

function invalid(message: string, details: Readonly<Record<string, unknown>>): WhittleError {
  return new WhittleError('RECIPE_INVALID', message, details);
}
