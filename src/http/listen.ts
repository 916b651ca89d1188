import type { FastifyInstance } from 'fastify';
import { WhittleError } from '../core/index.js';

/** Where to listen; `section` of the configuration says so. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  readonly section: 'server' | 'admin';
}

/** Starts to listen. @returns the URL. @throws PORT_IN_USE; CONFIG_INVALID for a host or port it may not use. */
export async function listen(app: FastifyInstance, { host, port, section }: ListenAddress): Promise<string> {
  try {
    return await app.listen({ host, port });
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      const advice = `stop the process that listens there or set another ${section}.port`;
      throw new WhittleError(
        'PORT_IN_USE',
        `Port ${port} on ${host} is in use: ${advice}`,
        { host, port },
        thrown,
      );
    }
    throw new WhittleError(
      'CONFIG_INVALID',
      `Cannot listen on ${host}:${port} (${section}.host, ${section}.port): ${String(code)}`,
      { host, port },
      thrown,
    );
  }
}
