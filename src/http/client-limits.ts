import type { Socket } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { ClientLimits } from '../core/index.js';

/** Clients remembered at once; who was not seen for longest is forgotten and starts anew. */
const MAX_CLIENTS = 10_000;
const MAX_NAME_CHARACTERS = 128;
/** Groups of an IPv6 address that name a network: one client has all addresses of a /64. */
const NETWORK_GROUPS = 4;
const GROUPS = 8;

interface Client {
  tokens: number;
  /** Milliseconds, on the limiter's clock. */
  refilledAt: number;
  open: number;
}

/** Whether a request may go on; `release` must be called once when it is over. */
export type Admission =
  | { readonly admitted: true; readonly release: () => void }
  | { readonly admitted: false; readonly retryAfterSeconds: number };

/** Holds each client to its rate (a token bucket) and to its number of open requests. Bounded memory. */
export class ClientLimiter {
  readonly #limits: ClientLimits;
  readonly #now: () => number;
  readonly #clients = new LRUCache<string, Client>({ max: MAX_CLIENTS });

  /** @param now milliseconds of a clock that never goes back. */
  constructor(limits: ClientLimits, now: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#now = now;
  }

  /** Whether there is any limit. */
  get active(): boolean {
    return this.#limits.requestsPerSecond > 0 || this.#limits.maxConcurrent > 0;
  }

  admit(name: string): Admission {
    const { requestsPerSecond, burst, maxConcurrent } = this.#limits;
    const client = this.#client(name);
    if (maxConcurrent > 0 && client.open >= maxConcurrent) return { admitted: false, retryAfterSeconds: 1 };
    if (requestsPerSecond > 0) {
      const now = this.#now();
      const refilled = client.tokens + ((now - client.refilledAt) / 1000) * requestsPerSecond;
      client.tokens = Math.min(burst, refilled);
      client.refilledAt = now;
      if (client.tokens < 1) {
        const seconds = (1 - client.tokens) / requestsPerSecond;
        return { admitted: false, retryAfterSeconds: Math.max(1, Math.ceil(seconds)) };
      }
      client.tokens -= 1;
    }
    client.open += 1;
    return {
      admitted: true,
      release: () => {
        client.open -= 1;
      },
    };
  }

  #client(name: string): Client {
    const known = this.#clients.get(name);
    if (known !== undefined) return known;
    const client = { tokens: this.#limits.burst, refilledAt: this.#now(), open: 0 };
    this.#clients.set(name, client);
    return client;
  }
}

const names = new WeakMap<Socket, string>();

/** Who sent a request: what its header says where one is configured and fits, else its address. */
export function clientOf(
  socket: Socket,
  headers: Readonly<Record<string, string | string[] | undefined>>,
  header: string | undefined,
): string {
  const given = header === undefined ? undefined : headers[header.toLowerCase()];
  if (typeof given === 'string' && given !== '' && given.length <= MAX_NAME_CHARACTERS)
    return `name ${given}`;
  const known = names.get(socket);
  if (known !== undefined) return known;
  const name = networkOf(socket.remoteAddress ?? 'none');
  names.set(socket, name);
  return name;
}

/** An IPv4 address as it is, also where it comes mapped into IPv6; the /64 network of an IPv6 address. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped?.[1] !== undefined) return mapped[1];
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.replace(/%.*$/, '').toLowerCase().split('::');
  const groupsOf = (part: string | undefined): string[] =>
    part === undefined || part === '' ? [] : part.split(':');
  const first = groupsOf(head);
  const last = groupsOf(tail);
  const zeros = Array.from({ length: GROUPS - first.length - last.length }, () => '0');
  const groups = tail === undefined ? first : [...first, ...zeros, ...last];
  const network = groups.slice(0, NETWORK_GROUPS).map((group) => group.replace(/^0+(?=.)/, ''));
  return `${network.join(':')}::/64`;
}
