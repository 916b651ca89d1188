import type { FastifySchemaCompiler } from 'fastify';
import { schemaCheck, toWhittleError } from '../core/index.js';

/**
 * Compiles a route's schemas with the checks that Whittle uses everywhere: unknown fields are refused, types are not
 * converted, defaults are filled in, numbers are finite. Only a query string, which is all text, has its numbers read.
 */
export const compileValidator: FastifySchemaCompiler<object> = ({ schema, httpPart }) => {
  const what = httpPart ?? 'request';
  const check = schemaCheck<unknown>(schema, 'INPUT_INVALID', what);
  return (value: unknown) => {
    // A binary body, which only a route with a parser for it gets; its decoder checks it.
    if (Buffer.isBuffer(value)) return { value };
    try {
      return { value: check(what === 'querystring' ? withNumbers(value) : value) };
    } catch (thrown) {
      return { error: toWhittleError(thrown) };
    }
  };
};

function withNumbers(query: unknown): Record<string, unknown> {
  const entries = Object.entries(query as Record<string, unknown>);
  return Object.fromEntries(
    entries.map(([name, value]) => [name, /^-?\d+(\.\d+)?$/.test(String(value)) ? Number(value) : value]),
  );
}
