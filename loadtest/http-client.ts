import { ERROR_CODES, WhittleError, type ErrorCode } from '../src/core/index.js';

const TIMEOUT_MS = 30_000;

/** Answers the body of a GET as text. @throws the server's code, or NOT_READY where no server answers. */
export async function getText(origin: string, path: string): Promise<string> {
  return (await send(origin, path, { method: 'GET' })).text();
}

/** Answers the JSON body of a GET, in the form that the caller knows the route to have. @throws as {@link getText}. */
export async function getJson<T>(origin: string, path: string): Promise<T> {
  return (await (await send(origin, path, { method: 'GET' })).json()) as T;
}

/** Posts a JSON text and answers the JSON body. @throws as {@link getText}. */
export async function postJson<T>(
  origin: string,
  path: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<T> {
  const init = { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } };
  return (await (await send(origin, path, init)).json()) as T;
}

async function send(origin: string, path: string, init: RequestInit & { method: string }): Promise<Response> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  // A redirect could lead to another machine.
  const response = await fetch(`${origin}${path}`, { ...init, signal, redirect: 'error' }).catch(
    (cause: unknown) => {
      throw new WhittleError('NOT_READY', `No server answers at ${origin}${path}`, { url: origin }, cause);
    },
  );
  if (response.ok) return response;
  const text = await response.text();
  const { code, message } = failureOf(text, response.status);
  throw new WhittleError(code, `${init.method} ${path} was answered ${response.status}: ${message}`, {
    status: response.status,
    path,
  });
}

/** Code and message of an error body; a server that does not speak Whittle's form has only its status. */
function failureOf(text: string, status: number): { code: ErrorCode; message: string } {
  try {
    const { error } = JSON.parse(text) as { error: { code: string; message: string } };
    if (Object.hasOwn(ERROR_CODES, error.code))
      return { code: error.code as ErrorCode, message: error.message };
  } catch {
    // Not our error body: its first characters say more than a parser's complaint.
  }
  return { code: status === 404 ? 'NOT_FOUND' : 'NOT_READY', message: text.slice(0, 200) };
}
