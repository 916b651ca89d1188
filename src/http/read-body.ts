import type { IncomingMessage } from 'node:http';
import { WhittleError } from '../core/index.js';

/** Pieces that a body may come in. Each costs a few hundred bytes, however small: a million of one byte are 300 MB. */
const MAX_PIECES = 10_000;

type Done = (error: Error | null, body?: Buffer) => void;

/**
 * Reads a body of at most `limitBytes` into one buffer and calls `done` once: with the body, or with INPUT_TOO_LARGE or
 * INPUT_INVALID; the rest of a body that is refused is left unread. `done` is not called for a client that goes away.
 */
export function readBody(payload: IncomingMessage, limitBytes: number, done: Done): void {
  if (Number(payload.headers['content-length'] ?? 0) > limitBytes) {
    done(tooLarge(limitBytes, payload.headers['content-length']));
    return;
  }
  const pieces: Buffer[] = [];
  let bytes = 0;
  const stop = (): void => {
    payload.off('data', take).off('end', finish);
  };
  const take = (piece: Buffer): void => {
    bytes += piece.length;
    pieces.push(piece);
    if (bytes <= limitBytes && pieces.length <= MAX_PIECES) return;
    stop();
    done(bytes > limitBytes ? tooLarge(limitBytes) : tooManyPieces());
  };
  const finish = (): void => {
    stop();
    done(null, Buffer.concat(pieces, bytes));
  };
  payload.on('data', take).on('end', finish);
}

function tooLarge(limitBytes: number, value?: string): WhittleError {
  const allowed = `at most ${limitBytes} bytes`;
  return new WhittleError('INPUT_TOO_LARGE', `The body is too large: allowed is ${allowed}`, {
    field: 'body',
    ...(value === undefined ? {} : { value }),
    allowed,
  });
}

function tooManyPieces(): WhittleError {
  const allowed = `at most ${MAX_PIECES} chunks`;
  return new WhittleError('INPUT_INVALID', `The body comes in too many chunks: allowed is ${allowed}`, {
    field: 'body',
    allowed,
  });
}
