/** What a server has answered. */
export interface Response {
  status: number;
  headers: Record<string, string>;
  body: Buffer<ArrayBuffer>;
}

/** A head that is longer is not one of an answer. */
const HEAD_BYTES_MAX = 65_536;
const HEAD_END = Buffer.from('\r\n\r\n');
const NEW_LINE = Buffer.from('\r\n');
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})(?: |$)/;
const EMPTY = Buffer.alloc(0);

/**
 * Reads the answer to one request from the bytes of its connection (HTTP/1.1). A body whose length
 * is known before is read straight into the memory that it is to be in: `place` says where.
 */
export class ResponseReader {
  private room: (bytes: number) => Buffer<ArrayBuffer>;
  private status = 0;
  private headers: Record<string, string> = {};
  /** What has come of a head, or of the line that a chunk begins with. */
  private pending: Buffer = EMPTY;
  private body: Buffer<ArrayBuffer> | undefined;
  private at = 0;
  /** Where the length is not known before: what has come, and how much of a chunk is to come. */
  private chunks: Buffer[] = [];
  private left = 0;
  private state: 'head' | 'body' | 'chunk line' | 'chunk' | 'trailer' | 'to the end' | 'done' =
    'head';

  constructor(room: (bytes: number) => Buffer<ArrayBuffer>) {
    this.room = room;
  }

  get isDone(): boolean {
    return this.state === 'done';
  }

  /** Whether another request may be sent after this one. */
  get isKept(): boolean {
    return this.headers['connection']?.toLowerCase() !== 'close';
  }

  get response(): Response {
    return { status: this.status, headers: this.headers, body: this.body! };
  }

  /** Where the next bytes are to go; undefined where they are to be given to `feed`. */
  place(): Buffer<ArrayBuffer> | undefined {
    return this.state === 'body' ? this.body!.subarray(this.at) : undefined;
  }

  /** So many bytes have come to the place. */
  placed(bytes: number): void {
    this.at += bytes;
    if (this.at === this.body!.byteLength) this.state = 'done';
  }

  /** Takes bytes that are the caller's own again afterwards. Throws for what is no answer. */
  feed(bytes: Buffer): void {
    let rest = bytes;
    while (rest.byteLength > 0) {
      if (this.state === 'done') throw new Error('the server sent more than it was asked for');
      rest = this.take(rest);
    }
  }

  /** The connection has ended. Throws where the answer has not. */
  end(): void {
    if (this.state !== 'to the end') throw new Error('the connection ended before the answer did');
    this.join();
  }

  /** Takes what it can; the rest. */
  private take(bytes: Buffer): Buffer {
    switch (this.state) {
      case 'body': {
        const taken = bytes.copy(this.body!, this.at);
        this.placed(taken);
        return bytes.subarray(taken);
      }
      case 'chunk': {
        const part = bytes.subarray(0, this.left);
        this.chunks.push(Buffer.from(part));
        this.left -= part.byteLength;
        if (this.left === 0) this.state = 'chunk line';
        return bytes.subarray(part.byteLength);
      }
      case 'to the end':
        this.chunks.push(Buffer.from(bytes));
        return EMPTY;
      default:
        return this.takeLines(bytes);
    }
  }

  private takeLines(bytes: Buffer): Buffer {
    const all = this.pending.byteLength === 0 ? bytes : Buffer.concat([this.pending, bytes]);
    const isHead = this.state === 'head';
    const mark = isHead ? HEAD_END : NEW_LINE;
    // The one before a chunk's length ends the chunk before it.
    const end = all.indexOf(mark, this.state === 'chunk line' && this.chunks.length > 0 ? 2 : 0);
    if (end < 0) {
      if (all.byteLength > HEAD_BYTES_MAX) throw new Error('the head of the answer is too long');
      this.pending = Buffer.from(all);
      return EMPTY;
    }
    this.pending = EMPTY;
    const text = all.toString('latin1', 0, end);
    if (isHead) this.readHead(text);
    else if (this.state === 'trailer') {
      if (text === '') this.join();
    } else this.readChunkLine(text.trim());
    return all.subarray(end + mark.byteLength);
  }

  private readHead(text: string): void {
    const [first = '', ...lines] = text.split('\r\n');
    const status = Number(STATUS_LINE.exec(first)?.[1]);
    if (Number.isNaN(status)) throw new Error(`the server does not speak HTTP/1.1: ${first}`);
    // An interim answer; the one that is waited for comes after it.
    if (status < 200) return;
    this.status = status;
    for (const line of lines) {
      const colon = line.indexOf(':');
      this.headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    const length = this.headers['content-length'];
    if (status === 204 || status === 304) {
      this.body = Buffer.alloc(0);
      this.state = 'done';
    } else if (this.headers['transfer-encoding'] !== undefined) this.state = 'chunk line';
    else if (length === '0') {
      this.body = Buffer.alloc(0);
      this.state = 'done';
    } else if (length === undefined) {
      this.headers['connection'] = 'close';
      this.state = 'to the end';
    } else {
      const bytes = Number(length);
      if (!Number.isSafeInteger(bytes) || bytes < 0) throw new Error(`a length of ${length} bytes`);
      this.body = this.room(bytes);
      this.state = 'body';
    }
  }

  private readChunkLine(line: string): void {
    const size = /^[0-9a-f]+/i.exec(line)?.[0];
    if (size === undefined) throw new Error(`a chunk of ${line} bytes`);
    this.left = Number.parseInt(size, 16);
    this.state = this.left === 0 ? 'trailer' : 'chunk';
  }

  /** Into memory of its own: what `Buffer.concat` gives may be shared with other buffers. */
  private join(): void {
    const body = this.room(this.chunks.reduce((sum, { byteLength }) => sum + byteLength, 0));
    let at = 0;
    for (const chunk of this.chunks) at += chunk.copy(body, at);
    this.body = body;
    this.state = 'done';
  }
}
