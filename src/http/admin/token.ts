import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { WhittleError, type AdminConfig } from '../../core/index.js';

const TOKEN_VARIABLE = 'WHITTLE_ADMIN_TOKEN';
const MIN_CHARACTERS = 16;

/**
 * The admin token, from the file that the configuration names, else from the environment; undefined where neither has
 * one, which means that there is no admin interface. The variable is taken out of the environment, so that no child
 * process inherits it.
 * @throws FILE_MISSING; CONFIG_INVALID for a token of fewer than 16 characters or one that every user may read.
 */
export async function readAdminToken(
  { tokenFile }: AdminConfig,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<string | undefined> {
  const fromEnvironment = environment[TOKEN_VARIABLE];
  // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- assigning undefined would set it to the text "undefined"
  delete environment[TOKEN_VARIABLE];
  if (tokenFile !== undefined) return checkToken(await readTokenFile(tokenFile), tokenFile);
  return fromEnvironment === undefined ? undefined : checkToken(fromEnvironment, TOKEN_VARIABLE);
}

async function readTokenFile(path: string): Promise<string> {
  let mode: number;
  let text: string;
  try {
    ({ mode } = await stat(path));
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    throw new WhittleError('FILE_MISSING', `The admin token in ${path} cannot be read`, { path }, thrown);
  }
  if ((mode & 0o007) === 0) return text;
  const advice = `make it private: chmod 600 ${path}`;
  throw new WhittleError('CONFIG_INVALID', `admin.tokenFile: every user may read ${path}; ${advice}`, {
    field: 'admin.tokenFile',
    allowed: 'a file without rights for others',
  });
}

function checkToken(text: string, source: string): string {
  const token = text.trim();
  if (token.length >= MIN_CHARACTERS && /^[\x21-\x7e]+$/.test(token)) return token;
  const allowed = `at least ${MIN_CHARACTERS} visible ASCII characters, no spaces`;
  throw new WhittleError(
    'CONFIG_INVALID',
    `The admin token in ${source} is not usable: allowed is ${allowed}`,
    {
      field: 'admin.tokenFile',
      source,
      allowed,
    },
  );
}

/** Compares with the token in a time that tells nothing about it: digests of equal length, all bytes looked at. */
export function tokenCheck(token: string): (given: string) => boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const expected = digest(token);
  return (given) => timingSafeEqual(digest(given), expected);
}
