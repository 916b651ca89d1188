import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { schemaCheck, toWhittleError, WhittleError } from '../core/index.js';
import { didYouMean, nearestName } from './nearest-name.js';
import type { Pass, PassDefinition } from './pass.js';
import { PASSES } from './passes/index.js';
import type { PassName, RecipeStep } from './passes/index.js';

/** Passes in the order in which they are applied. */
export type Recipe = readonly RecipeStep[];

/** A recipe of one step by its short name. */
interface Shorthand {
  readonly name: string;
  readonly step: RecipeStep;
  /** What it works on, where two that do the same to it cannot both be asked for. */
  readonly quantizes?: 'dense weights' | 'tables';
}

/**
 * In the order in which a composition applies them, however it is written: first what leaves plain float32 layers for
 * the next, last what turns weights into integers, which nothing after it could read.
 */
const SHORTHANDS: readonly Shorthand[] = [
  { name: 'simplify', step: { pass: 'simplify' } },
  { name: 'heads', step: { pass: 'prune-heads' } },
  { name: 'pruned', step: { pass: 'prune-structured', allocation: 'global', share: 0.6 } },
  { name: 'lowrank', step: { pass: 'low-rank' } },
  { name: 'sparse', step: { pass: 'prune-unstructured' } },
  { name: 'int8tables', step: { pass: 'quantize-tables', bits: 8 }, quantizes: 'tables' },
  { name: 'int4tables', step: { pass: 'quantize-tables', bits: 4 }, quantizes: 'tables' },
  { name: 'static', step: { pass: 'quantize-static' }, quantizes: 'dense weights' },
  { name: 'int8', step: { pass: 'quantize-dynamic' }, quantizes: 'dense weights' },
  { name: 'w8', step: { pass: 'quantize-weights', bits: 8 }, quantizes: 'dense weights' },
  { name: 'w4', step: { pass: 'quantize-weights', bits: 4 }, quantizes: 'dense weights' },
];
const SHORT_NAMES = SHORTHANDS.map(({ name }) => name);

const EXTENSIONS = ['.json', '.yaml', '.yml'];

/**
 * A recipe from shorthands (`int8`, `pruned`, `lowrank` and so on, or several joined by `+`, which are applied in a
 * fixed order however they are written) or from the path of a JSON or YAML file.
 * @throws RECIPE_INVALID naming the step, the field and the nearest known name; FILE_MISSING.
 */
export async function readRecipe(shorthandOrPath: string): Promise<Recipe> {
  if (EXTENSIONS.includes(extname(shorthandOrPath)))
    return parseRecipe(parseText(await readText(shorthandOrPath), shorthandOrPath));
  const names = shorthandOrPath.split('+').map((name) => name.trim());
  for (const name of names) if (!SHORT_NAMES.includes(name)) throw unknownShorthand(name, shorthandOrPath);
  const chosen = SHORTHANDS.filter(({ name }) => names.includes(name));
  refuseTwice(chosen, shorthandOrPath);
  return chosen.map(({ step }) => step);
}

function unknownShorthand(name: string, value: string): WhittleError {
  const nearest = nearestName(name, SHORT_NAMES);
  return invalid(
    `"${name}" is no recipe: one of ${SHORT_NAMES.join(', ')}, several joined by +, or a .json, .yaml or .yml file${didYouMean(nearest)}`,
    { field: 'recipe', value, allowed: [...SHORT_NAMES, 'several joined by +', 'a file'], nearest },
  );
}

/** Weights can be quantized once. */
function refuseTwice(chosen: readonly Shorthand[], value: string): void {
  for (const what of ['dense weights', 'tables'] as const) {
    const names = chosen.filter(({ quantizes }) => quantizes === what).map(({ name }) => name);
    if (names.length > 1)
      throw invalid(`${names.join(' and ')} all quantize ${what}: choose one of them`, {
        field: 'recipe',
        value,
        allowed: names,
      });
  }
}

/**
 * Checks a recipe: a list of `{ pass, ...parameters }`, or an object that has it as `steps` beside a `description`.
 * @throws RECIPE_INVALID naming the step, the field and the nearest known name.
 */
export function parseRecipe(value: unknown): Recipe {
  const steps = Array.isArray(value) ? value : checkForm(value).steps;
  if (steps.length > 0) return steps.map((step: unknown, index) => parseStep(step, index + 1));
  throw invalid('A recipe is a list with at least one step', {
    field: 'recipe',
    value,
    allowed: 'a list of steps',
  });
}

interface RecipeFile {
  readonly steps: readonly unknown[];
}

const FILE_FIELDS = { $schema: { type: 'string' }, description: { type: 'string' } };
const checkForm = schemaCheck<RecipeFile>(
  {
    type: 'object',
    properties: { ...FILE_FIELDS, steps: { type: 'array' } },
    required: ['steps'],
    additionalProperties: false,
  },
  'RECIPE_INVALID',
  'recipe',
);

/** JSON schema of recipe files, for editors. */
export function recipeSchema(): object {
  const steps = { type: 'array', minItems: 1, items: { $ref: '#/definitions/step' } };
  const names = Object.keys(PASSES) as PassName[];
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'A recipe of Whittle: compression passes in the order in which they are applied',
    anyOf: [
      steps,
      {
        type: 'object',
        properties: { ...FILE_FIELDS, steps },
        required: ['steps'],
        additionalProperties: false,
      },
    ],
    definitions: {
      step: {
        anyOf: names.map((pass) => ({ description: definitionOf(pass).summary, ...stepSchema(pass) })),
      },
    },
  };
}

function stepSchema(pass: PassName): object {
  return {
    type: 'object',
    properties: { pass: { const: pass }, ...definitionOf(pass).parameters },
    required: ['pass'],
    additionalProperties: false,
  };
}

/** The pass of a step. @throws RECIPE_INVALID for parameters that contradict each other. */
export function createPass({ pass, ...parameters }: RecipeStep): Pass {
  return definitionOf(pass).create(parameters);
}

/** The definition, whose parameters its own schema has checked. */
function definitionOf(pass: PassName): PassDefinition<object> {
  return PASSES[pass];
}

function parseStep(value: unknown, number: number): RecipeStep {
  const step = typeof value === 'object' && value !== null ? value : {};
  const pass = checkPassName('pass' in step ? step.pass : undefined, number);
  checkParameterNames(pass, Object.keys(step), number);
  try {
    const what = `Recipe step ${number} (${pass})`;
    const checked = schemaCheck<RecipeStep>(stepSchema(pass), 'RECIPE_INVALID', what)(value);
    createPass(checked);
    return checked;
  } catch (thrown) {
    const error = toWhittleError(thrown);
    throw new WhittleError(error.code, error.message, { step: number, pass, ...error.details }, error);
  }
}

function checkPassName(pass: unknown, step: number): PassName {
  if (isPassName(pass)) return pass;
  const allowed = Object.keys(PASSES);
  const nearest = typeof pass === 'string' ? nearestName(pass, allowed) : undefined;
  const found = typeof pass === 'string' ? `"${pass}" is no pass` : 'field pass is missing';
  const message = `Recipe step ${step}: ${found}: one of ${allowed.join(', ')}${didYouMean(nearest)}`;
  throw invalid(message, { step, field: 'pass', value: pass, allowed, nearest });
}

function isPassName(name: unknown): name is PassName {
  return typeof name === 'string' && Object.hasOwn(PASSES, name);
}

function checkParameterNames(pass: PassName, fields: readonly string[], step: number): void {
  const allowed = Object.keys(definitionOf(pass).parameters);
  const field = fields.find((name) => name !== 'pass' && !allowed.includes(name));
  if (field === undefined) return;
  const nearest = nearestName(field, allowed);
  const message = `Recipe step ${step}: ${pass} has no parameter ${field}: one of ${allowed.join(', ')}${didYouMean(nearest)}`;
  throw invalid(message, { step, pass, field, allowed, nearest });
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
