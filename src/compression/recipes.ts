import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { schemaCheck, toWhittleError, WhittleError } from '../core/index.js';
import type { Pass, PassDefinition } from './pass.js';
import { PASSES } from './passes/index.js';
import type { PassName, RecipeStep } from './passes/index.js';

/** Passes in the order in which they are applied. */
export type Recipe = readonly RecipeStep[];

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
export function createPass({ pass, ...parameters }: RecipeStep): Pass {
  return definitionOf(pass).create(parameters);
}

/** The definition, whose parameters its own schema has checked. */
function definitionOf(pass: PassName): PassDefinition<object> {
  return PASSES[pass] as PassDefinition<object>;
}

function parseStep(value: unknown, number: number): RecipeStep {
  const pass = typeof value === 'object' && value !== null && 'pass' in value ? value.pass : undefined;
  if (typeof pass !== 'string' || !Object.hasOwn(PASSES, pass)) {
    const allowed = Object.keys(PASSES);
    const message = `Recipe step ${number}: field pass is wrong: one of ${allowed.join(', ')}`;
    throw invalid(message, { step: number, field: 'pass', value: pass, allowed });
  }
  const schema = {
    type: 'object',
    properties: { pass: { const: pass }, ...definitionOf(pass).parameters },
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
