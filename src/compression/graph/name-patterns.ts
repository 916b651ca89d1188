import { WhittleError } from '../../core/index.js';

/** JSON schema of a list of names or patterns. */
export const NAME_PATTERNS = { type: 'array', items: { type: 'string', minLength: 1 } };

/** A thing that patterns may name by any of its names, such as a layer by its own or its weights'. */
export type Names = readonly string[];

/** How many names an error lists. */
const LISTED = 20;

/**
 * Says which of `things` the patterns name. `*` stands for any text, also none, and `?` for one character; all else
 * stands for itself.
 * @throws RECIPE_INVALID for a pattern that names nothing, which is a slip of the pen.
 */
export function excludedBy(
  patterns: readonly string[],
  things: readonly Names[],
  pass: string,
): (names: Names) => boolean {
  const expressions = patterns.map(expressionOf);
  const names = things.flat();
  expressions.forEach((expression, index) => {
    if (!names.some((name) => expression.test(name))) throw nothingNamed(patterns[index], names, pass);
  });
  return (own) => expressions.some((expression) => own.some((name) => expression.test(name)));
}

function expressionOf(pattern: string): RegExp {
  const escaped = pattern.replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`, 's');
}

function nothingNamed(pattern: string | undefined, names: Names, pass: string): WhittleError {
  return new WhittleError(
    'RECIPE_INVALID',
    `${pass}: exclude names "${pattern ?? ''}", but no layer or weight has such a name`,
    { pass, field: 'exclude', value: pattern, allowed: [...new Set(names)].slice(0, LISTED) },
  );
}
