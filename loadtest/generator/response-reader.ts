/** What a client of HTTP/1.1 needs of a response; the body is read over. */
export interface ResponseHead {
  readonly status: number;
  readonly hasRetryAfter: boolean;
  /** The server closes the connection after it. */
  readonly closes: boolean;
}

const HEAD_END = '\r\n\r\n';
const MAX_HEAD_CHARACTERS = 65_536;
const NO_BODY = new Set([204, 304]);

/**
 * Reads responses of one connection, one after the other (RFC 9112), with bodies framed by Content-Length or in chunks.
 * Anything else, and bytes that nobody asked for, are `broken`.
 */
export class ResponseReader {
  #headText = '';
  #head: ResponseHead | undefined;
  /** Bytes of the body, or of the chunk and its line end, that are still to come. */
  #remaining = 0;
  #chunks: ChunkReader | undefined;

  /** The response just read. */
  get head(): ResponseHead | undefined {
    return this.#head;
  }

  /** Reads the first `length` bytes of `bytes`. At `done` the next call begins another response. */
  push(bytes: Buffer, length: number): 'more' | 'done' | 'broken' {
    let start = 0;
    if (this.#remaining === 0 && this.#chunks === undefined) {
      const bodyStart = this.#readHead(bytes, length);
      if (bodyStart === undefined) return this.#headText.length > MAX_HEAD_CHARACTERS ? 'broken' : 'more';
      if (bodyStart < 0) return 'broken';
      start = bodyStart;
    }
    return this.#chunks === undefined
      ? this.#readSized(length - start)
      : this.#readChunks(bytes, start, length);
  }

  /** Where the body starts; undefined where the head is not whole yet; -1 where it is not one that can be read. */
  #readHead(bytes: Buffer, length: number): number | undefined {
    const known = this.#headText.length;
    this.#headText += bytes.toString('latin1', 0, length);
    const end = this.#headText.indexOf(HEAD_END, Math.max(0, known - HEAD_END.length));
    if (end === -1) return undefined;
    const text = this.#headText.slice(0, end + 2);
    this.#headText = '';
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? Number.NaN);
    if (Number.isNaN(status)) return -1;
    this.#head = {
      status,
      hasRetryAfter: /\r\nretry-after:/i.test(text),
      closes: /\r\nconnection: *close\r\n/i.test(text),
    };
    const sized = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1];
    if (sized !== undefined) this.#remaining = Number(sized);
    else if (/\r\ntransfer-encoding: *chunked\r\n/i.test(text)) this.#chunks = new ChunkReader();
    else if (!NO_BODY.has(status)) return -1;
    return end + HEAD_END.length - known;
  }

  #readSized(available: number): 'more' | 'done' | 'broken' {
    if (available > this.#remaining) return 'broken';
    this.#remaining -= available;
    return this.#remaining === 0 ? 'done' : 'more';
  }

  #readChunks(bytes: Buffer, start: number, length: number): 'more' | 'done' | 'broken' {
    const state = this.#chunks?.push(bytes.toString('latin1', start, length)) ?? 'broken';
    if (state !== 'more') this.#chunks = undefined;
    return state;
  }
}

/** Reads a chunked body (RFC 9112, section 7.1) as text of one character a byte. */
class ChunkReader {
  #text = '';
  /** Characters of the chunk and its line end that are still to come. */
  #remaining = 0;
  /** The chunk of size 0 was read: lines follow up to an empty one. */
  #last = false;

  push(text: string): 'more' | 'done' | 'broken' {
    this.#text += text;
    for (;;) {
      const read = Math.min(this.#remaining, this.#text.length);
      this.#text = this.#text.slice(read);
      this.#remaining -= read;
      const lineEnd = this.#text.indexOf('\r\n');
      if (this.#remaining > 0 || lineEnd === -1) return 'more';
      const line = this.#text.slice(0, lineEnd);
      this.#text = this.#text.slice(lineEnd + 2);
      if (this.#last && line === '') return this.#text === '' ? 'done' : 'broken';
      if (this.#last) continue;
      const size = /^[\da-f]+/i.exec(line)?.[0];
      if (size === undefined) return 'broken';
      this.#last = /^0+$/.test(size);
      this.#remaining = this.#last ? 0 : Number.parseInt(size, 16) + 2;
    }
  }
}
