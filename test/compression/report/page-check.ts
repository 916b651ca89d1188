/** Elements that never have an end tag. */
const VOID = new Set(['meta', 'br']);

/** Throws where tags do not match each other, attributes are not quoted, or the page would load or run anything. */
export function checkPage(html: string): void {
  const open: string[] = [];
  const body = html.replace(/^<!doctype html>/, '').replace(/<style>[^<]*<\/style>/, '');
  for (const [tag, end, name = '', attributes = '', selfEnd] of body.matchAll(
    /<(\/?)([a-z0-9]+)((?: [^<>]*?)?)(\/?)>/g,
  )) {
    if (!/^( [a-z0-9-]+="[^"<>]*"| [A-Za-z]+="[^"<>]*")*$/.test(attributes))
      throw new Error(`attributes of ${tag}`);
    if (['script', 'link', 'img', 'iframe', 'object'].includes(name)) throw new Error(`${tag} in the page`);
    if (/ (src|href|on\w+)=/.test(attributes)) throw new Error(`${tag} refers to something`);
    if (end === '/') {
      if (open.pop() !== name) throw new Error(`${tag} ends nothing`);
    } else if (selfEnd !== '/' && !VOID.has(name)) open.push(name);
  }
  if (open.length > 0) throw new Error(`${open.join(', ')} not ended`);
  const text = body.replaceAll(/<(\/?)([a-z0-9]+)((?: [^<>]*?)?)(\/?)>/g, '');
  if (/[<>]|&(?!(amp|lt|gt|quot|#39);)/.test(text)) throw new Error('unescaped text');
  if (/@import|url\(/.test(html)) throw new Error('the style sheet loads something');
}

/** The numbers of an attribute of all elements of a class, in the page's order. */
export function numbersOf(html: string, className: string, attribute: string): number[] {
  return [
    ...html.matchAll(new RegExp(`<[a-z]+ class="${className}"[^>]* ${attribute}="([0-9.]+)"`, 'g')),
  ].map(([, value]) => Number(value));
}
