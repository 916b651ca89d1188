import { WhittleError } from '../src/core/index.js';

const ALLOWED_HOSTS = ['127.0.0.1', 'localhost'];

/**
 * Answers the origin of a target on this machine: load is never sent to another one.
 *
 * @throws USAGE_INVALID for any other host, another protocol than http, or anything after the port.
 */
export function checkTarget(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:') throw refused(text, 'it is not an http:// URL');
  if (!ALLOWED_HOSTS.includes(url.hostname))
    throw refused(text, `${url.hostname} may be another machine, and a load test is not sent to others`);
  if (url.href !== `${url.origin}/`) throw refused(text, 'it has more than host and port');
  return url.origin;
}

function refused(value: string, reason: string): WhittleError {
  const allowed = ALLOWED_HOSTS.map((host) => `http://${host}:<port>`).join(' or ');
  return new WhittleError('USAGE_INVALID', `--url ${value}: ${reason}; allowed is ${allowed}`, {
    field: 'url',
    value,
    allowed,
  });
}
