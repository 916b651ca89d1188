/**
 * JSON text that is the same for equal values: keys sorted, no white space, numbers as JavaScript writes them; after
 * RFC 8785. Fields that are undefined are left out. What is hashed or signed must have one spelling.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? sorted(inner) : inner,
  );
}

/** By UTF-16 code units, as RFC 8785 says; a key that is a whole number would come first whatever its place. */
function sorted(value: object): Record<string, unknown> {
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries);
}
